"""Runtime settings: what operators change while the service runs, as rows that every process reads.

A setting's value is the environment's, under what was set for good, under an overlay with an end.
An overlay reverts by itself: nobody has to be there. Each process re-reads the rows within a second
(`FRESH_S`); the switch of read-only is read by every unit of work itself, with its BEGIN.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy.orm import Mapped, mapped_column

from payments import audit, clock, config, db, origin
from payments.config import Settings
from payments.db import Long, Row, Sql, Store, UtcDateTime, Version
from payments.errors import Busy

log = logging.getLogger(__name__)

FRESH_S = 1.0
"""How old what a process knows of the rows may be."""
READ_ONLY = "read_only"
"""The row that stops writes while it has a value."""


class RuntimeSetting(db.db.Model):  # type: ignore[name-defined]
    """A setting that was changed at run time. value, overlay: JSON of the changed fields, or null.

    Of `read_only` a value means that writes are stopped; it says since when, and why.
    """

    __tablename__ = "runtime_settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value_json: Mapped[str | None] = mapped_column(Long)
    overlay_json: Mapped[str | None] = mapped_column(Long)
    overlay_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[Version]
    updated_by: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Calls a minute for each address; auth_boost: so many times as many for a verified caller.

    exempt_otp: one-time codes stand outside this budget, never outside their own limits.
    """

    NAME: ClassVar[str] = "rate_limit"

    per_minute: int
    auth_boost: int
    exempt_otp: bool

    @classmethod
    def of_environment(cls, settings: Settings) -> "RateLimit":
        """As the process was started."""
        return cls(settings.rate_limit_per_minute, settings.rate_limit_auth_boost, False)


@dataclass(frozen=True, slots=True)
class Otp:
    """How many one-time codes an hour: by phone, by address, and overall."""

    NAME: ClassVar[str] = "otp"

    per_phone_hour: int
    per_address_hour: int
    per_hour: int

    @classmethod
    def of_environment(cls, settings: Settings) -> "Otp":
        """As the process was started."""
        return cls(
            settings.otp_per_phone_hour, settings.otp_per_address_hour, settings.otp_per_hour
        )


@dataclass(frozen=True, slots=True)
class Fees:
    """The fee's terms of payments to come: basis points, and a fixed part in minor units."""

    NAME: ClassVar[str] = "fees"

    bps: int
    fixed_minor: int

    @classmethod
    def of_environment(cls, settings: Settings) -> "Fees":
        """As the process was started."""
        return cls(settings.fee_bps, settings.fee_fixed_minor)


Kind = TypeVar("Kind", RateLimit, Otp, Fees)


@dataclass(frozen=True, slots=True)
class Standing:
    """A setting as it is now. source: `environment`, `permanent` or `overlay`, the topmost.

    until: when an overlay ends. version, updated_*: of the last change, 0 and None where none was.
    """

    value: RateLimit | Otp | Fees
    source: str
    until: datetime | None
    version: int
    updated_by: str | None
    updated_at: datetime | None


_SELECT = (
    "SELECT name, value_json, overlay_json, overlay_until, version, updated_by, updated_at"
    " FROM runtime_settings"
)
_ALL = Sql(_SELECT)
_GET = Sql(f"{_SELECT} WHERE name = :name")
_MAKE = Sql(
    "INSERT INTO runtime_settings (name, version, updated_by, updated_at)"
    " VALUES (:name, 0, :by, :now) ON CONFLICT (name) DO NOTHING"
)
_LOCK = Sql(f"{_SELECT} WHERE name = :name FOR UPDATE")
_WRITE = Sql(
    "UPDATE runtime_settings SET value_json = :value, overlay_json = :overlay,"
    " overlay_until = :until, version = version + 1, updated_by = :by, updated_at = :now"
    " WHERE name = :name"
)


@dataclass
class _Seen:
    rows: Mapping[str, Row]
    read_at: float


_seen: WeakKeyDictionary[Store, _Seen] = WeakKeyDictionary()
_reading = threading.Lock()


def current(kind: type[Kind]) -> Kind:
    """The setting as it is in force here: `settings.current(RateLimit).per_minute`."""
    return standing(kind).value  # type: ignore[return-value]


def standing(kind: type[Kind], row: Row | None = None) -> Standing:
    """The setting, and where its value comes from. row: instead of what this process knows."""
    base = kind.of_environment(config.current())
    row = row if row is not None else _rows().get(kind.NAME)
    if row is None:
        return Standing(base, "environment", None, 0, None, None)
    changed, source, until = {}, "environment", None
    if row.value_json is not None:
        changed, source = json.loads(row.value_json), "permanent"
    if row.overlay_json is not None and row.overlay_until > clock.now():
        changed |= json.loads(row.overlay_json)
        source, until = "overlay", row.overlay_until
    values = {one.name: changed.get(one.name, getattr(base, one.name)) for one in fields(base)}
    return Standing(kind(**values), source, until, row.version, row.updated_by, row.updated_at)


def read(kind: type[Kind]) -> Standing:
    """The setting as the rows say now, not as they said a second ago."""
    return standing(kind, read_row(kind.NAME))


def change(kind: type[Kind], given: Mapping[str, Any], expires_in_s: int | None = None) -> Standing:
    """Set these fields: until so many seconds from now as an overlay, else for good.

    A change for good takes an overlay away: what was asked for last is in force. In the open unit
    of work, with its line in the audit trail. Gives the setting as it will be.
    """

    def changed(row: Row) -> tuple[str | None, str | None, datetime | None]:
        if expires_in_s is not None:
            until = db.unit().now + timedelta(seconds=expires_in_s)
            return row.value_json, json.dumps(dict(given)), until
        before = json.loads(row.value_json) if row.value_json is not None else {}
        return json.dumps(before | dict(given)), None, None

    return _rewrite(kind, f"{kind.NAME}.change", changed)


def revert(kind: type[Kind]) -> Standing:
    """Take the overlay away; where none is in force, go back to the environment's values."""

    def changed(row: Row) -> tuple[str | None, str | None, datetime | None]:
        in_force = row.overlay_json is not None and row.overlay_until > db.unit().now
        return (row.value_json if in_force else None), None, None

    return _rewrite(kind, f"{kind.NAME}.revert", changed)


def _rewrite(kind: type[Kind], action: str, changed: Any) -> Standing:
    row = lock(kind.NAME)
    before = standing(kind, row)
    value, overlay, until = changed(row)
    after = standing(kind, write(kind.NAME, value, overlay, until))
    who = origin.current()
    audit.record(
        who.actor,
        action,
        kind.NAME,
        before=_facts(before),
        after=_facts(after),
        request_id=who.request_id,
    )
    return after


def read_row(name: str) -> Row | None:
    """The setting's row, read now; None where it was never changed."""
    return _GET.one(name=name)


def lock(name: str) -> Row:
    """The setting's row, made where there was none, locked until the unit ends."""
    _MAKE.run(name=name, by=origin.current().actor)
    return _LOCK.one(name=name)


def write(
    name: str, value: str | None, overlay: str | None = None, until: datetime | None = None
) -> Row:
    """Replace what a locked row says; this process knows it once the unit is committed."""
    _WRITE.run(name=name, value=value, overlay=overlay, until=until, by=origin.current().actor)
    store = db.current_store()
    db.after_commit(lambda: _seen.pop(store, None))
    return _LOCK.one(name=name)


def is_read_only() -> bool:
    """Whether writes are stopped, by the environment or by an operator, as far as is known here.

    For who would begin something; a unit of work looks by itself, and is refused.
    """
    if config.current().read_only:
        return True
    row = _rows().get(READ_ONLY)
    return row is not None and row.value_json is not None


def _facts(standing: Standing) -> dict[str, Any]:
    facts = {one.name: getattr(standing.value, one.name) for one in fields(standing.value)}
    until = clock.to_rfc3339(standing.until) if standing.until is not None else None
    return facts | {"source": standing.source, "until": until}


def _rows() -> Mapping[str, Row]:
    """The rows, at most `FRESH_S` old. While the database can't say, what was known goes on."""
    store = db.current_store()
    seen = _seen.get(store)
    if seen is not None and (db.is_in_unit() or time.monotonic() - seen.read_at < FRESH_S):
        return seen.rows  # in a unit: what it sees may be its own, or of another moment
    if seen is not None and not _reading.acquire(blocking=False):
        return seen.rows  # another thread of this process is at it
    try:
        return _read(store, seen)
    finally:
        if seen is not None:
            _reading.release()


def _read(store: Store, seen: _Seen | None) -> Mapping[str, Row]:
    try:
        rows = {row.name: row for row in _ALL.all()}
    except Busy:
        if seen is None:
            raise
        log.warning("runtime settings can't be read; those known go on")
        rows = dict(seen.rows)
    if not db.is_in_unit():
        _seen[store] = _Seen(rows, time.monotonic())
    return rows
