"""The accounts that steps on both databases move money between, in the order of their locks."""

import itertools
from functools import partial
from typing import NamedTuple

from payments.ledger import accounts
from tests.ledger.model import Model, Purse
from tests.ledger.twin import Names, Twin


class Place(NamedTuple):
    """An account to open: what steps call it, and what it is."""

    name: str
    kind: str
    currency: str
    floor: int | None


PLACES = (
    Place("ann", "customer", "EUR", 0),
    Place("bob", "customer", "EUR", 0),
    Place("dollars", "customer", "USD", 0),
    Place("agent", "agent", "EUR", -50),
    Place("shop", "merchant", "EUR", 0),
    Place("stall", "merchant", "EUR", 0),
    Place("till", "merchant", "USD", 0),
    Place("fees", "fees", "EUR", None),
    Place("bank", "external:bank", "EUR", None),
    Place("branch", "external:bank", "USD", None),
)
NAMES = [place.name for place in PLACES]
OWNED = [place.name for place in PLACES if place.floor is not None]

_runs = itertools.count()


def opened(twin: Twin) -> Model:
    """The model of fresh accounts on both; the system's are as earlier runs left them."""
    run = next(_runs)
    for place in PLACES:
        twin.unit(partial(_open, place, f"{place.name} {run}"), gives=place.name)
    standing = twin.purses(NAMES)
    return Model(
        {
            place.name: Purse(
                number, place.kind, place.currency, place.floor, *standing[place.name][:2]
            )
            for number, place in enumerate(PLACES)
        }
    )


def _open(place: Place, owner: str, _names: Names) -> str:
    if place.floor is None:
        return accounts.ensure_system(place.kind, place.currency)
    return accounts.open_account(owner, place.kind, place.currency, place.floor)
