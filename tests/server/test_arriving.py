"""When a request is whole, however its bytes are cut up on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.server.arriving import CHUNK_LINE_BYTES, HEAD_BYTES, Arriving

LIMIT = 1000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", *fields, "", ""]).encode() + body


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    parts = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return post("Transfer-Encoding: chunked", body=parts + b"0\r\n" + trailers + b"\r\n")


bodies = st.binary(max_size=200)
requests_ = st.one_of(
    st.just(GET),
    bodies.map(lambda body: post(f"content-length:{len(body)} ", body=body)),
    st.builds(
        lambda chunks, trailers: chunked(*chunks, trailers=trailers),
        st.lists(st.binary(min_size=1, max_size=60), max_size=5),
        st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nZ: w\r\n"]),
    ),
)


@given(requests_, st.binary(max_size=50), st.data())
def test_a_request_ends_where_it_ends_wherever_it_was_cut(request_, behind, data):
    arriving = Arriving(LIMIT)
    sent = request_ + behind
    while not arriving.is_whole:
        assert len(arriving) < len(request_), "it was whole before"
        count = data.draw(st.integers(1, len(sent)))
        arriving.add(sent[:count])
        sent = sent[count:]
    assert not arriving.is_cut
    assert arriving.request() == request_
    assert arriving.rest() + sent == behind


@given(requests_)
def test_nothing_less_than_the_whole_is_whole(request_):
    for length in range(len(request_)):
        assert not Arriving(LIMIT, request_[:length]).is_whole
    assert Arriving(LIMIT, request_).is_whole


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (post(f"Content-Length: {LIMIT + 1}"), None),
        (post("Content-Length: -5"), None),
        (post("Content-Length: 1, 2"), None),
        (post("Content-Length: " + "9" * 30), None),
        (b"x" * (HEAD_BYTES + 1), "head"),
        (post("Transfer-Encoding: chunked", body=b"%x\r\n" % (LIMIT + 1)), "body"),
        (chunked(*[b"y" * 300] * 4), "body"),
        (chunked(*[b"y"] * LIMIT), "body"),
        (post("Transfer-Encoding: chunked", body=b"-1\r\n"), None),
        (post("Transfer-Encoding: chunked", body=b"\r\n"), None),
        (post("Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n"), None),
        (post("Transfer-Encoding: chunked", body=b"x" * (CHUNK_LINE_BYTES - 7)), None),
    ],
)
def test_what_is_too_long_or_broken_is_handed_on_to_be_refused(sent, fault):
    arriving = Arriving(10_000 if b"xxxxxx" in sent else LIMIT, sent)
    if not arriving.is_whole:
        arriving.add(b"x" * 10)
    assert arriving.is_whole and arriving.is_cut
    assert arriving.fault == fault
    assert arriving.rest() == b"" and arriving.request().startswith(sent)


def test_the_client_may_stop():
    arriving = Arriving(LIMIT, GET[:-1])
    arriving.end()
    assert arriving.is_whole and arriving.fault == "end"
    whole = Arriving(LIMIT, GET)
    whole.end()
    assert whole.fault is None and not whole.is_cut


@pytest.mark.parametrize(
    ("sent", "waits"),
    [
        (post("Expect: 100-Continue", "Content-Length: 5"), True),
        (post("Expect: 100-continue", "Content-Length: 5", body=b"hello"), False),
        (post("Expect: 100-continue", f"Content-Length: {LIMIT + 1}"), False),
        (post("Expect: 100-continue", "Transfer-Encoding: chunked"), True),
        (post("Expect: a wonder", "Content-Length: 5"), False),
        (post("Content-Length: 5"), False),
    ],
)
def test_who_waits_to_be_asked_for_the_body(sent, waits):
    assert Arriving(LIMIT, sent).wants_continue is waits
