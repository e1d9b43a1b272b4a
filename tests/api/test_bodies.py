"""From bytes to typed input: what is no JSON is a 400, what is wrong is a 422 that says where."""

import json

import pytest

from tests.api import echo

JSON = {"Content-Type": "application/json"}


def send(client, raw: bytes, **headers: str):
    return client.post("/v1/things", data=raw, headers=JSON | headers)


def refusal(answer) -> tuple[int, str, list[str]]:
    pointers = [fault["pointer"] for fault in answer.json.get("errors", [])]
    return answer.status_code, answer.json["code"], pointers


@pytest.fixture
def client(echo_client, echo_app):
    yield echo_client
    assert echo.effects(echo_app) == 0, "a refused body had an effect"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"amount=5",
        b'{"amount": 5',
        b'{"amount": 5}}',
        b"{'amount': 5}",
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": -Infinity}',
        b'{"amount": 05}',
        b'{"amount": +5}',
        b'{"amount": 5,}',
        b'\xff{"amount": 5}',
        b'\xef\xbb\xbf{"amount": 5}',
        '{"amount": 5}'.encode("utf-16"),
        '{"amount": 5}'.encode("utf-32"),
        b'{"note": "\xc3("}',
        b'{"note": "\xed\xa0\x80"}',
        b'{"note": "raw \x00 here"}',
        b"[" * 60_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"metadata":' * 17 + b"1" + b"}" * 17,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)  # fmt: skip
def test_what_is_no_json_is_a_400(client, raw):
    assert refusal(send(client, raw)) == (400, "malformed_json", [])


@pytest.mark.parametrize("raw", [b"[]", b"null", b"5", b'"x"', b"true", b'[{"amount": 5}]'])
def test_json_that_is_no_object_is_a_422(client, raw):
    assert refusal(send(client, raw)) == (422, "invalid_request", [""])


@pytest.mark.parametrize(
    "value",
    ["5.0", "5.5", '"5"', "true", "false", "null", "[]", "{}", "0", "-1", "-0.0", "1e2", "1e400",
     "1000000000000001", "1" + "0" * 30, "1" + "0" * 5000, "-1" + "0" * 5000],
)  # fmt: skip
def test_an_amount_is_an_integer_from_1_to_10_to_the_15(client, value):
    answer = send(client, b'{"amount": %s}' % value.encode())
    assert refusal(answer) == (422, "invalid_request", ["/amount"])


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"currency": "eur"}, "/currency"),
        ({"currency": "XXX"}, "/currency"),
        ({"currency": "EU"}, "/currency"),
        ({"currency": ""}, "/currency"),
        ({"currency": 978}, "/currency"),
        ({"currency": None}, "/currency"),
        ({"at": "2026-03-01T09:00:00"}, "/at"),
        ({"at": "2026-03-01"}, "/at"),
        ({"at": "2026-13-01T09:00:00Z"}, "/at"),
        ({"at": 1767225600}, "/at"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "/at"),
        ({"name": ""}, "/name"),
        ({"name": "  "}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": "x" * 256}, "/name"),
        ({"name": "bell\x07"}, "/name"),
        ({"name": 5}, "/name"),
        ({"note": "x" * 1001}, "/note"),
        ({"note": "esc\x1b[31m"}, "/note"),
        ({"reference": ""}, "/reference"),
        ({"phone": "1"}, "/phone"),
        ({"phone": "+49" + "1" * 40}, "/phone"),
        ({"metadata": []}, "/metadata"),
        ({"metadata": {"a": 1.5}}, "/metadata"),
        ({"metadata": {"a": None}}, "/metadata"),
        ({"metadata": {"a": {}}}, "/metadata"),
        ({"metadata": {"": "x"}}, "/metadata"),
        ({"metadata": {"k" * 65: "x"}}, "/metadata"),
        ({"metadata": {"a": 2**53 + 1}}, "/metadata"),
        ({"metadata": {f"k{n}": "x" * 200 for n in range(90)}}, "/metadata"),
        ({"surprise": 1}, "/surprise"),
        ({"Amount": 1}, "/Amount"),
    ],
)
def test_a_wrong_field_is_named(client, fields, pointer):
    answer = send(client, json.dumps({"amount": 5, **fields}).encode())
    assert refusal(answer) == (422, "invalid_request", [pointer])


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"amount": 5, "note": "a\\u0000b"}', "/note"),
        (b'{"amount": 5, "note": "half \\ud83d"}', "/note"),
        (b'{"amount": 5, "note": "\\ude00\\ud83d"}', "/note"),
        (b'{"amount": 5, "metadata": {"k": "\\u0000"}}', "/metadata/k"),
        (b'{"amount": 5, "metadata": {"k\\u0000": "x"}}', "/metadata"),
        (b'{"amount": 5, "metadata": ["\\u0000"]}', "/metadata/0"),
        (b'{"\\u0000": 5}', ""),
    ],
)
def test_text_that_can_not_be_stored_is_refused(client, raw, pointer):
    assert refusal(send(client, raw)) == (422, "invalid_request", [pointer])


def test_a_member_named_twice_is_refused_at_any_depth(client):
    for raw in (b'{"amount": 5, "amount": 5}', b'{"amount": 5, "metadata": {"a": 1, "a": 2}}'):
        answer = send(client, raw)
        assert refusal(answer) == (422, "invalid_request", [""])
        assert "twice" in answer.json["errors"][0]["detail"]


def test_every_fault_is_listed_at_once(client):
    answer = send(client, b'{"currency": "X", "name": 5, "more": 1}')
    assert refusal(answer)[2] == ["/amount", "/currency", "/name", "/more"]


def test_what_was_sent_is_never_echoed(client):
    answer = send(client, b'{"amount": "hush-1", "name": ["hush-2"], "note": 5, "currency": "HUS"}')
    assert answer.status_code == 422
    assert "hush" not in answer.text.lower()
    assert "HUS" not in answer.text


def test_unknown_names_are_cut_and_made_harmless(client):
    name = "n" * 500 + "\u202e"
    answer = send(client, json.dumps({"amount": 5, name: 1, "a~/b\n": 2}).encode())
    assert refusal(answer)[2] == ["/" + "n" * 64, "/a~0~1b?"]


def test_a_thousand_faults_make_a_short_answer(client):
    answer = send(client, json.dumps({f"k{n}": n for n in range(4000)}).encode())
    assert answer.status_code == 422
    assert len(answer.json["errors"]) <= 20


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx",
     "application/merge-patch+json", "text/json", "application/json; charset=latin-1",
     "multipart/form-data; boundary=x"],
)  # fmt: skip
def test_another_media_type_is_a_415(client, kind):
    answer = client.post("/v1/things", data=b'{"amount": 5}', content_type=kind)
    assert refusal(answer) == (415, "unsupported_media_type", [])


@pytest.mark.parametrize("length", [65_537, 1_048_576])
def test_a_body_over_64_kib_is_a_413(client, length):
    assert refusal(send(client, b" " * length)) == (413, "body_too_large", [])


def test_a_body_that_does_not_say_its_length_is_cut_off_at_64_kib(client):
    answer = client.post(
        "/v1/things",
        data=b'{"amount": 5' + b" " * 70_000 + b"}",
        headers=JSON,
        environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    )
    assert refusal(answer) == (413, "body_too_large", [])


@pytest.mark.parametrize(
    "query",
    ["x=1", "limit=5", "amount=5", "%00=1", "a=1&a=2", "="],
)
def test_a_query_on_a_call_without_one_is_refused(client, query):
    answer = client.post(f"/v1/things?{query}", data=b'{"amount": 5}', headers=JSON)
    assert refusal(answer)[:2] == (422, "invalid_request")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=5.0", "/limit"),
        ("limit=+5", "/limit"),
        ("limit=%205", "/limit"),
        ("limit=", "/limit"),
        ("limit=1_0", "/limit"),
        ("limit=٥", "/limit"),
        ("limit=1" + "0" * 5000, "/limit"),
        ("limit=5&limit=5", "/limit"),
        ("reference=%00", "/reference"),
        ("Limit=5", "/Limit"),
        ("cursor=" + "x" * 1025, "/cursor"),
    ],
)
def test_a_wrong_query_parameter_is_named(operator, query, pointer):
    answer = operator.get(f"/admin/things?{query}")
    assert refusal(answer) == (422, "invalid_request", [pointer])


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": 10**15},
        {"amount": 5, "currency": "KWD"},
        {"amount": 5, "at": "2026-03-01T09:00:00.123456789+05:45"},
        {"amount": 5, "name": "x" * 255, "note": "two\nlines\tand more", "reference": "№ 5 / α"},
        {"amount": 5, "name": "Ωλ 漢字 😀 ‏עברית", "phone": "+49 (151) 123-456"},
        {"amount": 5, "metadata": {"a": "😀", "b": 2**53, "c": True, "d": ""}},
        {"amount": 5, "metadata": {}},
        {"amount": 5, "at": None, "metadata": None},
    ],
)
def test_what_is_right_is_taken(echo_client, fields):
    raw = json.dumps(fields, ensure_ascii=False).encode()
    assert send(echo_client, raw).status_code == 202
    assert send(echo_client, json.dumps(fields).encode()).status_code == 202


@pytest.mark.parametrize(
    "kind",
    ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"],
)
def test_json_may_be_declared_with_its_charset(echo_client, kind):
    answer = echo_client.post("/v1/things", data=b'{"amount": 5}', content_type=kind)
    assert answer.status_code == 202


def test_a_body_without_a_length_is_read_whole(echo_client):
    answer = echo_client.post(
        "/v1/things",
        data=b'{"amount": 5}',
        headers=JSON,
        environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    )
    assert answer.status_code == 202


def test_nesting_of_16_is_still_read(client):
    raw = b'{"amount": 5, "metadata": ' + b"[" * 15 + b"]" * 15 + b"}"
    assert refusal(send(client, raw)) == (422, "invalid_request", ["/metadata"])
    raw = b'{"amount": 5, "metadata": ' + b"[" * 16 + b"]" * 16 + b"}"
    assert refusal(send(client, raw)) == (400, "malformed_json", [])
