"""Long tables as CSV (RFC 4180), sent row by row from one moment of the database.

No `ETag`: it would be a hash of what is not there yet when the head is sent, and nobody keeps these
answers anyway (`no-store`).

A cell of text that a spreadsheet would run as a formula is led by an apostrophe (OWASP, "CSV
Injection"); numbers stay as they are.
"""

import csv
import io
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context

from flask import Response

from payments import db
from payments.api import requests
from payments.errors import Busy

MEDIA_TYPE = "text/csv"
ROWS_AT_ONCE = 200
AT_ONCE = 2
"""How many of a process's threads may be sending tables: the others are there for what is short."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | int | None

_free = threading.BoundedSemaphore(AT_ONCE)


def wanted() -> bool:
    """Whether the present request would rather have CSV than JSON."""
    return (
        requests.current().accept_mimetypes.best_match(["application/json", MEDIA_TYPE])
        == MEDIA_TYPE
    )


def answer(
    name: str, columns: Sequence[str], rows: Callable[[], Iterable[Sequence[Cell]]]
) -> Response:
    """The rows as an attachment of that name, under a head of column names.

    rows: called once, inside `db.snapshot()`. What it raises before its first row is a problem
    like any other; later the answer breaks off, since its status is sent by then. Raises Busy while
    this process sends as many as it may.
    """
    body = _Steps(_parts(columns, rows))
    response = Response(body, mimetype=MEDIA_TYPE)
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}.csv")
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Accept")
    return response


def line(cells: Sequence[Cell]) -> str:
    """One line of CSV, its end included."""
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _parts(
    columns: Sequence[str], rows: Callable[[], Iterable[Sequence[Cell]]]
) -> Generator[bytes]:
    part = [line(columns)]
    with _one_of_few():
        with db.snapshot():
            for row in rows():
                part.append(line(row))
                if len(part) >= ROWS_AT_ONCE:
                    yield "".join(part).encode()
                    part = []
        yield "".join(part).encode()  # the connection is back already, however slow the client


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not _free.acquire(blocking=False):
        raise Busy("As many tables as are sent at a time are being sent. Ask again.")
    try:
        yield
    finally:
        _free.release()


class _Steps:
    """The parts, each made in the context that the first was made in.

    A server asks for a part after the request's own context is gone, and closes when it likes. In
    a context of its own the snapshot is neither lost nor left behind for the next request.
    """

    def __init__(self, parts: Generator[bytes]) -> None:
        self._parts = parts
        self._context = copy_context()
        self._first: bytes | None = self._next()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part, self._first = self._first, None
        if part is None:
            part = self._next()
        if part is None:
            raise StopIteration
        return part

    def close(self) -> None:
        """Give the connection back, read to the end or not."""
        self._context.run(self._parts.close)

    def _next(self) -> bytes | None:
        return self._context.run(next, self._parts, None)
