"""Logs: one line a fact, as JSON or plain, on stderr. Secrets are taken out here and only here.

A line bears time, level, logger, message, what was bound to the context (`bind`), and the call's
`extra`. Write a constant sentence and facts as fields. Redaction covers the message with its
arguments, every field at any depth, and the text of exceptions; it is the last thing before
the line is written, so no logger can go round it.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS, LogData
from pythonjsonlogger.json import JsonFormatter

from payments import clock
from payments.config import Settings

REDACTED = "[redacted]"
MAX_DEPTH = 6

_bound: ContextVar[Mapping[str, object]] = ContextVar("log_fields")

# A field by one of these names is taken out whole; ids, times and counts of such things may stay.
_SECRET_FIELD = re.compile(
    r"secret|token|password|passwd|authorization|cookie|phone|otp|api_?key|credential|signature",
    re.IGNORECASE,
)
_HARMLESS_FIELD = re.compile(r"_(id|at|s|ms|count|type|name|hour)$", re.IGNORECASE)

# Patterns that give themselves away, wherever they stand. Order: the longer forms first.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?"), REDACTED),  # a JWT
    (re.compile(r"\b(sk|rt|whsec)_[A-Za-z0-9+/=_-]{4,}"), rf"\1_{REDACTED}"),
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"(://)[^/\s@]+@"), rf"\1{REDACTED}@"),  # a password in a URL
    (re.compile(r"(?<!\w)(\+|%2B|00)[1-9]([ ().-]{0,2}\d){6,14}(?!\d)", re.IGNORECASE), REDACTED),
    (re.compile(r"(?<![\w.-])0[1-9]\d{6,12}(?![\w-])"), REDACTED),  # a phone as dialled at home
    # A one-time code: six digits that stand alone. Gunicorn's process ids may have six as well.
    (re.compile(r"(?<![\w.:-])(?<!pid: )\d{6}(?![\w-])(?!\.\d)"), REDACTED),
)

# What all of the patterns need: most texts have nothing of it, and one look is enough.
_SUSPECT = re.compile(
    r"eyJ|(?:sk|rt|whsec)_|bearer|basic|://|\d(?:[ ().-]{0,2}\d){5}", re.IGNORECASE
)

# An id of ours, as it is or behind the kind of caller it names: letters, then the hex of a UUID.
# Every line has some, and their digits would send each through all of the patterns.
_OUR_ID = re.compile(r"(?:[a-z]+:)?(?!whsec)[a-z]{3,5}_[0-9a-f]{12}7[0-9a-f]{19}", re.ASCII)
CLEAN_TEXTS, CLEAN_LENGTH = 1024, 36
"""So many texts, shorter than an id, in which nothing was found are known again: levels, routes."""


@lru_cache(maxsize=1024)
def _names_a_secret(field: str) -> bool:
    return bool(_SECRET_FIELD.search(field)) and not _HARMLESS_FIELD.search(field)


class Redactor:
    """Takes secrets, codes, tokens and phones out of what is about to be written."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        # A secret of a few characters (development only) would take half of every line with it.
        known = sorted({text for text in secrets if len(text) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._clean: set[str] = set()

    def text(self, text: str) -> str:
        """The text without what is secret."""
        if text in self._clean:
            return text
        found = self._redacted(text)
        if found == text and len(text) < CLEAN_LENGTH and len(self._clean) < CLEAN_TEXTS:
            self._clean.add(text)
        return found

    def _redacted(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if _SUSPECT.search(text) is not None and _OUR_ID.fullmatch(text) is None:
            for pattern, instead in _PATTERNS:
                text = pattern.sub(instead, text)
        return text

    def field(self, name: str, value: object, depth: int = 0) -> object:
        """A field's value without what is secret; objects that JSON does not know become text."""
        if value is not None and not isinstance(value, bool) and _names_a_secret(name):
            return REDACTED
        return self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, datetime) and value.tzinfo is not None:
            return clock.to_rfc3339(value)
        if depth >= MAX_DEPTH:
            return "..."
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): self.field(str(key), inner, depth + 1)
                for key, inner in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._value(inner, depth + 1) for inner in value]
        return self.text(value if isinstance(value, str) else str(value))


class JsonLines(JsonFormatter):
    """One JSON object a line."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            reserved_attrs=[*RESERVED_ATTRS, "taskName", "color_message"],
        )
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The line. The time is the record's, in UTC."""
        moment = datetime.fromtimestamp(record.created, UTC)
        self._time = clock.to_rfc3339(moment)
        return super().format(record)

    def process_log_record(self, log_data: LogData) -> LogData:
        """The fields in their order, bound ones included, all of them redacted."""
        first = {name: log_data.pop(name) for name in ("level", "logger", "message")}
        whole = {**first, **_bound.get({}), **log_data, **first}
        line: LogData = {"time": self._time}  # ours: nothing in it to redact
        line |= {
            name: self._redactor.field(name, value)
            for name, value in whole.items()
            if name != "time"
        }
        return line

    def jsonify_log_record(self, log_data: LogData) -> str:
        """JSON without spaces and without escapes for letters that are not ASCII."""
        return json.dumps(log_data, ensure_ascii=False, separators=(",", ":"))


class PlainLines(JsonLines):
    """One readable line, for a person at a terminal; a traceback follows on its own lines."""

    def jsonify_log_record(self, log_data: LogData) -> str:
        """`time LEVEL logger: message field=value`, control characters escaped."""
        exception = log_data.pop("exception", None)
        head = [str(log_data.pop(name)) for name in ("time", "level", "logger", "message")]
        fields = "".join(f" {name}={value}" for name, value in log_data.items())
        line = _one_line("{} {:7} {}: {}".format(*head) + fields)
        return line if exception is None else f"{line}\n{exception}"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class Handler(logging.StreamHandler[TextIO]):
    """Writes to stderr. The library's way of reporting a broken call would show its arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Say where the broken call is, and nothing of what it was given."""
        _, error, _ = sys.exc_info()
        fault = {
            "level": "ERROR",
            "logger": __name__,
            "message": "a log line could not be written",
            "at": f"{record.pathname}:{record.lineno}",
            "error": type(error).__name__,
        }
        sys.stderr.write(json.dumps(fault) + "\n")


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send every logger's lines to stderr, once: a second call replaces the first.

    LOG_FORMAT `auto` is plain where a terminal reads, JSON elsewhere. stream: instead of stderr.
    """
    out = stream if stream is not None else sys.stderr
    plain = settings.log_format == "plain" or (settings.log_format == "auto" and out.isatty())
    redactor = Redactor(settings.secret_texts())
    handler = Handler(out)
    handler.setFormatter(PlainLines(redactor) if plain else JsonLines(redactor))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)


def bind(**fields: object) -> None:
    """Put these fields on every further line of this context (a request, a job)."""
    _bound.set({**_bound.get({}), **fields})


def clear() -> None:
    """Forget what was bound: a thread that serves one request after another starts each so."""
    _bound.set({})


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """These fields on every line inside, then as before."""
    token = _bound.set({**_bound.get({}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)
