"""Bodies and queries, from bytes to typed input: media type, size, JSON, then the model.

Not JSON is a 400; JSON that is wrong is a 422 that lists each fault with its pointer, in words of
ours, and never repeats what was sent. Base of all models: `Body`. The tree that the model sees is
the one whose fingerprint idempotency takes, so the two can't differ.
"""

import json
import re
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from payments import clock
from payments.api.requests import ApiRequest
from payments.errors import (
    BodyTooLarge,
    Fault,
    InvalidRequest,
    MalformedJson,
    UnsupportedMediaType,
)
from payments.money import MAX_AMOUNT, is_currency

MAX_BODY = 64 * 1024
MAX_DEPTH = 16
MAX_FAULTS = 20
MAX_METADATA = 16 * 1024
MAX_DIGITS = 30

JSON_TYPE = "application/json"


class Body(BaseModel):
    """Base of inputs and answers: types are strict, unknown fields refused, instances frozen.

    What it validates is parsed JSON, so a list is a `list` and a time a `UtcTime`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Empty(Body):
    """`{}`: an action that needs nothing said beyond its URL."""


M = TypeVar("M", bound=BaseModel)


def _currency(code: str) -> str:
    if not is_currency(code):
        raise ValueError("must be an ISO 4217 currency in upper case, such as EUR")
    return code


def _time(text: object) -> object:
    if not isinstance(text, str):
        raise ValueError("must be an RFC 3339 time with an offset, such as 2026-03-01T09:00:00Z")
    try:
        return clock.parse_rfc3339(text)
    except ValueError:
        raise ValueError(
            "must be an RFC 3339 time with an offset, such as 2026-03-01T09:00:00Z"
        ) from None


# Control characters, line separators, overrides of the writing direction (text looks like other
# text), and what is no character. Joiners and marks stay: emoji, Persian and Hebrew need them.
_UNFIT = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff"
_UNFIT_IN_LINES = re.compile(f"[{_UNFIT}]")
_UNFIT_IN_A_LINE = re.compile(f"[{_UNFIT}\t\n]")


def _one_line(text: str) -> str:
    if not text.strip() or _UNFIT_IN_A_LINE.search(text):
        raise ValueError("must be one line of text, not blank, without control characters")
    return text


def _lines(text: str) -> str:
    if not text.strip() or _UNFIT_IN_LINES.search(text):
        raise ValueError("must be text, not blank, without control characters")
    return text


def _metadata(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    for key, inner in value.items():
        if not 1 <= len(key) <= 64 or _UNFIT_IN_A_LINE.search(key):
            raise ValueError("must have names of 1 to 64 characters, no control characters")
        if not isinstance(inner, str | int | bool):
            raise ValueError("must have strings, integers, true or false as values")
        if isinstance(inner, int) and abs(inner) > 2**53:
            raise ValueError("must have integers of at most 2^53, which every JSON reader keeps")
    if len(json.dumps(value, ensure_ascii=False).encode()) > MAX_METADATA:
        raise ValueError("must be at most 16 KiB as JSON")
    return value


def _whole_number(text: object) -> object:
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        return int(text)
    if isinstance(text, int) and not isinstance(text, bool):
        return text  # a default, or a test's own value
    raise ValueError("must be a whole number in decimal digits")


Amount = Annotated[
    int, Field(ge=1, le=MAX_AMOUNT, description="Minor units of `currency`, 1 to 10^15.")
]
Currency = Annotated[
    str,
    AfterValidator(_currency),
    Field(
        description="ISO 4217, upper case.",
        json_schema_extra={"pattern": "^[A-Z]{3}$", "examples": ["EUR"]},
    ),
]
UtcTime = Annotated[
    Any,
    BeforeValidator(_time),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "description": "RFC 3339 with an offset."}
    ),
]
"""A moment: RFC 3339 text with an offset in, an aware `datetime` in UTC out."""
ShortText = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_one_line)]
Note = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_lines)]
Reference = Annotated[
    str,
    Field(min_length=1, max_length=255, description="The caller's own name for it."),
    AfterValidator(_one_line),
]
Phone = Annotated[
    str,
    Field(
        min_length=3,
        max_length=32,
        description="A phone number, E.164 or as dialled in the default region.",
        json_schema_extra={"examples": ["+4915112345678"]},
    ),
    AfterValidator(_one_line),
]
"""Text that may be a phone number: `customers.phones.parse` says whether it is one."""
Metadata = Annotated[
    dict[str, Any],
    BeforeValidator(_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": ["string", "integer", "boolean"]},
            "description": "The caller's own facts; at most 16 KiB as JSON.",
        }
    ),
]
WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
"""An integer of a query string."""


def read(request: ApiRequest, model: type[M]) -> tuple[M, Any]:
    """The body as the model, and as parsed JSON.

    Raises UnsupportedMediaType, BodyTooLarge, MalformedJson, InvalidRequest.
    """
    _require_json(request)
    tree = parse(raw(request))
    return validate(model, tree), tree


def _require_json(request: ApiRequest) -> None:
    declared = request.environ.get("CONTENT_TYPE", "")
    if declared == JSON_TYPE:
        return
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != JSON_TYPE or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("Send the body as `application/json`, in UTF-8.")


def raw(request: ApiRequest) -> bytes:
    """The body's bytes, read once. Raises BodyTooLarge, MalformedJson for one that broke off.

    A body that does not say its length is read up to one byte past the limit (MAX_CONTENT_LENGTH,
    where werkzeug stops without a word), so that a longer one is told from one that fits.
    """
    announced = request.content_length
    if (announced or 0) <= MAX_BODY:
        body = request.get_data()
        if announced is not None and len(body) < announced:
            raise MalformedJson("The body broke off before its Content-Length.")
        if len(body) <= MAX_BODY:
            return body
    raise BodyTooLarge("The body is over 64 KiB.")


class _Duplicate(Exception):
    """An object that names a member twice."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Duplicate
    return members


def _no_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def _integer(text: str) -> Any:
    # Python refuses to read integers past 4,300 digits. No field of ours takes more than 16, so
    # a number that passes no bound stands in for them, and the model names the fault.
    return int(text) if len(text) <= MAX_DIGITS else 10**MAX_DIGITS


_decoder = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant, parse_int=_integer
)


def parse(raw: bytes) -> Any:
    """The JSON value in the bytes.

    Raises MalformedJson for what RFC 8259 calls none (NaN, a missing body, other encodings, more
    nesting than 16), InvalidRequest for a member named twice and for text that can't be stored.
    """
    try:
        tree = _decoder.decode(raw.decode("utf-8"))
    except _Duplicate:
        raise InvalidRequest(Fault("", "an object names a member twice")) from None
    except (ValueError, RecursionError):
        what = "The body is not JSON." if raw else "There is no body: send a JSON object."
        raise MalformedJson(what) from None
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(tree) > MAX_DEPTH:
        raise MalformedJson(f"The body is nested more than {MAX_DEPTH} deep.")
    if b"\\u" in raw:
        _refuse_unstorable(tree, "")
    return tree


def _depth(tree: Any) -> int:
    """How many objects and arrays lie in one another; what is past the bound is not counted out."""
    deepest, level = 0, [tree]
    while level := [value for value in level if isinstance(value, dict | list)]:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return deepest


def _refuse_unstorable(tree: Any, pointer: str) -> None:
    """Raise InvalidRequest for NUL and for half of a surrogate pair: the database takes neither.

    Both can only come as escapes, so bodies without `\\u` are not walked.
    """
    if isinstance(tree, str):
        if not storable(tree):
            raise InvalidRequest(Fault(pointer, "must not have NUL or half a surrogate pair"))
    elif isinstance(tree, dict):
        for key, inner in tree.items():
            _refuse_unstorable(key, pointer)
            _refuse_unstorable(inner, f"{pointer}/{_token(key)}")
    elif isinstance(tree, list):
        for index, inner in enumerate(tree):
            _refuse_unstorable(inner, f"{pointer}/{index}")


def storable(text: str) -> bool:
    """Whether the text can be stored: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def validate(model: type[M], tree: Any) -> M:
    """The tree as the model. Raises InvalidRequest with each fault."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise InvalidRequest(*_faults(error, "field")) from None


def query(request: ApiRequest, model: type[M] | None) -> M | None:
    """The query string as the model. Raises InvalidRequest; without a model any name is unknown."""
    if not request.environ.get("QUERY_STRING"):
        return None if model is None else _no_query(model) or validate(model, {})
    values: dict[str, str] = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            raise InvalidRequest(Fault(f"/{_token(name)}", "query parameter given twice"))
        if not storable(given[0]):
            raise InvalidRequest(Fault(f"/{_token(name)}", "must not have NUL"))
        values[name] = given[0]
    try:
        return (model or Empty).model_validate(values)  # type: ignore[return-value]
    except ValidationError as error:
        raise InvalidRequest(*_faults(error, "query parameter")) from None


@lru_cache(maxsize=256)
def _no_query(model: type[M]) -> M | None:
    """The model of an empty query, made once; None where a parameter is required."""
    try:
        return model.model_validate({})
    except ValidationError:
        return None


def _faults(error: ValidationError, what: str) -> list[Fault]:
    """The faults of a validation, each once, in words of ours."""
    found: dict[str, Fault] = {}
    for item in error.errors(include_url=False, include_input=False)[:MAX_FAULTS]:
        pointer = "".join(f"/{_token(part)}" for part in item["loc"])
        found.setdefault(pointer, Fault(pointer, _words(item, what)))
    return list(found.values())


def _token(part: object) -> str:
    """One step of a JSON pointer (RFC 6901); a name that was sent is cut and made printable."""
    text = str(part)[:64].replace("~", "~0").replace("/", "~1")
    return "".join(char if char.isprintable() else "?" for char in text)


_WORDS = {
    "missing": "is required",
    "int_type": "must be an integer: no quotes, no decimal point",
    "int_from_float": "must be an integer: no quotes, no decimal point",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "does not have the form this field takes",
}


def _words(item: Any, what: str) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return f"is not a known {what}"
    context = item.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])  # a validator of ours
    return _WORDS.get(kind, "is not valid").format_map(context)
