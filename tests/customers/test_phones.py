"""Phone numbers: however they are typed, one number is one customer."""

import pytest

from payments import config
from payments.customers import phones
from payments.errors import InvalidRequest
from tests.databases import environ_for, settings_for


@pytest.fixture
def region(tmp_path):
    """`region("DE")`: settings with that default region are in use."""
    tokens = []

    def use(code: str) -> None:
        environ = environ_for("sqlite:///unused.db", tmp_path, DEFAULT_REGION=code)
        tokens.append(config.use(settings_for(environ, tmp_path)))

    yield use
    for token in reversed(tokens):
        token.var.reset(token)


@pytest.mark.parametrize(
    "typed",
    [
        "+4915112345678",
        "0151 12345678",
        "0151/123-45678",
        "(0151) 1234.5678",
        "+49 (0)151 12345678",
        "0049 151 12345678",
        "+٤٩١٥١١٢٣٤٥٦٧٨",
        "+49151 1234\u20115678",
    ],
)
def test_one_number_typed_in_many_ways_is_one_number(region, typed):
    region("DE")
    assert phones.parse(typed) == "+4915112345678"


def test_the_region_says_what_a_national_number_means(region):
    region("SY")
    assert phones.parse("0944 567 890") == "+963944567890"
    region("DE")
    assert phones.parse("0944 567 890") == "+49944567890"


def test_without_a_region_a_national_number_means_nothing(region, tmp_path):
    region("")
    assert phones.parse("+963 944 567 890") == "+963944567890"
    with pytest.raises(InvalidRequest):
        phones.parse("0944 567 890")


@pytest.mark.parametrize(
    "typed",
    [
        "12",
        "+",
        "hello",
        "+49151",
        "+49151123456789012",
        "+999123456789",
        "0151 12345678 ext. 5",
        "0151-FLOWERS",
        "tel:+4915112345678",
        "+4915112345678;ext=5",
        "+4915112345678 or so",
        "++4915112345678",
        "110",
    ],
)
def test_what_is_no_number_is_refused_where_it_stands(region, typed):
    region("DE")
    with pytest.raises(InvalidRequest) as refused:
        phones.parse(typed, pointer="/to_phone")
    (fault,) = refused.value.faults
    assert fault.pointer == "/to_phone"
    assert fault.detail == (
        "must be a phone number in E.164, such as +4915112345678, or a number as dialled in DE"
    )


@pytest.mark.parametrize(
    "typed",
    [
        "+449098790000",  # premium rate
        "+491805000000",  # shared cost
        "+4916412345",  # a pager
        "+447012345678",  # a personal number, which costs like a premium one
        "+18005550199",  # toll-free
    ],
)
def test_a_number_that_takes_no_text_messages_gets_no_code(person, typed):
    refused = person.calls("POST", "/v1/auth/otp", {"phone": typed})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
    assert refused.json["errors"][0]["pointer"] == "/phone"
    assert "takes text messages" in refused.json["errors"][0]["detail"]
    assert person.calls("POST", "/v1/auth/otp", {"phone": "+447700900123"}).status_code == 202


def test_over_http_the_fault_is_listed(person):
    refused = person.calls("POST", "/v1/auth/otp", {"phone": "12345"})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
    assert refused.json["errors"][0]["pointer"] == "/phone"
    assert "as dialled in DE" in refused.json["errors"][0]["detail"]


def test_two_ways_of_typing_reach_the_same_customer(person, make_person):
    person.signs_in()
    me = person.calls("GET", "/v1/me").json
    national = make_person(person.phone)
    national.phone = "0151 12345678"
    challenge_id = national.asks().json["challenge_id"]
    national.tokens = person.tries(challenge_id, person.messages()[-1]).json
    assert national.calls("GET", "/v1/me").json["id"] == me["id"]
    assert me["phone"] == "+4915112345678"


def test_in_a_query_a_bare_plus_is_refused_with_how_to_write_it(region):
    region("DE")
    for typed in (" 4915112345678", " 963944567890"):
        with pytest.raises(InvalidRequest) as refused:
            phones.parse_query(typed)
        assert "in a query its + is written %2B" in refused.value.faults[0].detail
    assert phones.parse_query("+4915112345678") == "+4915112345678"
    assert phones.parse_query("0151 12345678") == "+4915112345678"
