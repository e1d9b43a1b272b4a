"""The name that a sister service's secret goes by is part of who it is: it does not change.

Idempotency keys and external references are unique for each name. Were a name given to a secret
that had none (`secret` -> `taxi:secret`, until then `default`), or another one, then whoever
repeats a deposit across that restart would be somebody new, and the money would arrive twice. So
the name under which a secret was first used is kept, and the secret under another one is refused
until somebody decides: either the old name is written out (`default:secret`), or the service gets a
new secret for its new name once none of its calls is left to be repeated.
"""

import logging
from weakref import WeakKeyDictionary

from payments import config, db, sealing, settings
from payments.config import NamedSecret
from payments.db import Sql, Store
from payments.errors import Busy
from payments.origin import SisterService

log = logging.getLogger(__name__)

VARIABLE = "INTERNAL_API_SECRET"
RETRY_AFTER_S = 60

_NAME = Sql("SELECT name FROM service_secrets WHERE fingerprint = :fingerprint")
_KEEP = Sql(
    "INSERT INTO service_secrets (fingerprint, name, created_at)"
    " VALUES (:fingerprint, :name, :now) ON CONFLICT (fingerprint) DO NOTHING"
)

# What this process has found to be so; it stays so, since rows are never changed.
_settled: WeakKeyDictionary[Store, set[NamedSecret]] = WeakKeyDictionary()


def settle(entry: NamedSecret) -> SisterService:
    """The service whose secret was shown. The name is kept at the first use, in a unit of its own.

    Raises Busy where the secret is known under another name: nothing was done, and the service's
    retry with the same key is right once an operator has settled it.
    """
    settled = _settled.setdefault(db.current_store(), set())
    if entry not in settled:
        known = _known(entry)
        if known is None and not settings.is_read_only():
            known = db.in_unit(lambda: _kept(entry))
        if known not in (None, entry.name):
            log.error(
                "a service's secret has another name than before",
                extra={"variable": VARIABLE, "service": entry.name, "before": known},
            )
            raise Busy(
                "The name that this service goes by was changed on our side, which an operator has"
                " to settle. Nothing was done: try again with the same Idempotency-Key.",
                retry_after_s=RETRY_AFTER_S,
            )
        if known is not None:
            settled.add(entry)
    return SisterService(entry.name)


def faults() -> list[str]:
    """Entries of the settings that are known under another name, one line each, for who deploys."""
    entries = config.current().internal_api_secret
    return [
        f"{VARIABLE}: entry {place} was used under the name {known} and is {entry.name} now, so"
        " what it has deposited could be deposited again: write"
        f" {known}:secret, or take a new secret for {entry.name}"
        for place, entry in enumerate(entries, start=1)
        if (known := _known(entry)) not in (None, entry.name)
    ]


def _known(entry: NamedSecret) -> str | None:
    found = _NAME.scalar(fingerprint=sealing.digest(entry.secret))
    return None if found is None else str(found)


def _kept(entry: NamedSecret) -> str | None:
    """The name that the secret has from now on: this one, or that of who came first."""
    _KEEP.run(fingerprint=sealing.digest(entry.secret), name=entry.name)
    return _known(entry)
