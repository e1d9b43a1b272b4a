"""The whole list at one moment: all is counted, some of it shown, and the end is written down."""

import json

import pytest
from flask import Flask

from payments import clock, db, successes
from payments.ledger import folding, holds, invariants, reconciliation
from payments.ledger.invariants import Invariant
from tests.ledger import raw, world
from tests.ledger.load import busy


def test_a_running_service_causes_no_false_alarm(postgres_app: Flask) -> None:
    wallet, shop = world.wallet("cus_1", 1_000), world.shop("mer_1", 1_000, hot=True)

    def captures() -> None:
        hold = holds.place(wallet, 2, "x_1", None)
        holds.capture(hold, "moved", {wallet: -1, shop: 1})

    works = (
        lambda: world.posting.post("moved", "x_1", {wallet: -2, shop: 2}),
        lambda: world.posting.post("moved", "x_1", {shop: -3, wallet: 3}),
        lambda: folding.fold(shop),
        captures,
    )
    with busy(postgres_app, *works):
        found = [reconciliation.run().broken() for _ in range(20)]
    assert found == [{}] * 20


@pytest.mark.usefixtures("app_context")
def test_a_sound_ledger_has_no_findings() -> None:
    world.wallet("cus_1", 100)
    report = reconciliation.run()
    assert [each.invariant for each in report.checked] == invariants.INVARIANTS
    assert (report.findings, report.broken()) == (0, {})


@pytest.mark.usefixtures("app_context")
def test_all_findings_are_counted_and_the_first_are_shown(database: str) -> None:
    for number in range(5):
        world.wallet(f"cus_{number}", 100)
    raw.execute(database, "UPDATE accounts SET held = held + 7 WHERE kind = 'customer'")
    report = reconciliation.run(shown=2)
    assert report.broken() == {"held_is_sum_of_live_holds": 5}
    (held,) = [each for each in report.checked if each.count]
    assert [(facts["held"], facts["live"]) for facts in held.shown] == [(7, 0), (7, 0)]
    json.dumps([each.shown for each in report.checked])


@pytest.mark.usefixtures("app_context")
def test_what_is_shown_is_plain_json(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.wallet("cus_1", 100)
    raw.execute(database, "UPDATE accounts SET balance = balance + 1 WHERE kind = 'customer'")
    monkeypatch.setattr(
        invariants,
        "INVARIANTS",
        [
            *invariants.LEDGER,
            Invariant("dated", "X.", "SELECT created_at FROM accounts WHERE kind = 'customer'"),
        ],
    )
    shown = {each.invariant.name: each.shown for each in reconciliation.run().checked if each.count}
    assert shown["currency_sums_to_zero"] == [{"currency": "EUR", "total": 1}]
    assert clock.parse_rfc3339(shown["dated"][0]["created_at"]) < db.now()


@pytest.mark.usefixtures("app_context")
def test_who_waits_is_told_how_far_it_is() -> None:
    told: list[tuple[int, int, str]] = []
    reconciliation.run(began=lambda place, count, each: told.append((place, count, each.name)))
    every = invariants.INVARIANTS
    assert told == [(n, len(every), each.name) for n, each in enumerate(every, start=1)]


@pytest.mark.usefixtures("app_context")
def test_the_end_is_written_down_for_the_metrics(database: str) -> None:
    world.wallet("cus_1", 100)
    raw.execute(database, "UPDATE accounts SET held = 7 WHERE kind = 'customer'")
    report = reconciliation.run()
    world.did(lambda: reconciliation.note(report, repaired=0))
    row = successes.last("reconcile")
    assert row is not None
    assert row.findings == 1
    assert row.succeeded_at >= report.at
    assert json.loads(row.detail_json) == {
        "at": clock.to_rfc3339(report.at),
        "invariants": len(invariants.INVARIANTS),
        "broken": {"held_is_sum_of_live_holds": 1},
        "repaired": 0,
    }
