"""Codes: hard to guess, easy to type."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.checkout import codes
from payments.errors import NotFound


def test_a_code_has_eighty_bits_and_no_letter_that_looks_like_a_digit():
    assert len(codes.ALPHABET) ** codes.LENGTH >= 2**80
    assert len(set(codes.ALPHABET)) == len(codes.ALPHABET)
    assert not set("OIL") & set(codes.ALPHABET)
    made = [codes.new() for _ in range(1_000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"([0-9A-Z]{4}-){3}[0-9A-Z]{4}", code) for code in made)
    assert set("".join(made)) == {*codes.ALPHABET, "-"}


@given(st.data())
def test_a_code_is_read_however_it_is_typed(data):
    code = codes.new()
    typed = code.replace("-", data.draw(st.sampled_from(["", "-", " ", " - "])))
    typed = typed.replace("0", data.draw(st.sampled_from("0Oo")))
    typed = typed.replace("1", data.draw(st.sampled_from("1IiLl")))
    typed = data.draw(st.sampled_from([typed, typed.lower()]))
    assert codes.parse(typed) == code


@pytest.mark.parametrize(
    "text",
    ["", "7Q2M", "7Q2M-W9XK-04TB-HZ5", "7Q2M-W9XK-04TB-HZ5CC", "7Q2M-W9XK-04TB-HZ5U", "ß" * 8],
)
def test_what_cannot_be_a_code_is_not_found(text):
    with pytest.raises(NotFound):
        codes.parse(text)


@given(st.text(max_size=40))
def test_no_text_is_more_than_not_found(text):
    try:
        read = codes.parse(text)
    except NotFound:
        return
    assert codes.parse(read) == read
