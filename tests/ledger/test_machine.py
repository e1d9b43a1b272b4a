"""Any order of steps, on SQLite and Postgres side by side, against a model of the ledger."""

import itertools
from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from payments.ledger import accounts, folding, holds, invariants, posting
from tests.ledger.places import NAMES, OWNED, opened
from tests.ledger.twin import Names, Step, Twin, lines_of

Given = str | MultipleResults[str]
AMOUNTS = st.one_of(st.integers(1, 9), st.integers(1, 90))
PARTS = st.lists(st.tuples(st.sampled_from(["ann", "shop", "fees"]), AMOUNTS), max_size=3)
ANY_LINES = st.dictionaries(
    st.sampled_from([*NAMES, "nobody"]), st.integers(-40, 40), min_size=1, max_size=4
)


def post(lines: Mapping[str, int]) -> Step:
    """A step that moves money."""
    return lambda names: posting.post("moved", "x_1", lines_of(names, lines), reveal=True)


def between(*parts: tuple[str, int]) -> dict[str, int]:
    """Lines from parts that may name an account twice."""
    lines: dict[str, int] = {}
    for name, amount in parts:
        lines[name] = lines.get(name, 0) + amount
    return lines


class Ledger(RuleBasedStateMachine):
    """Seven accounts with a floor, three without; any number of holds."""

    placed: Bundle[str] = Bundle("placed")
    owned = st.sampled_from(OWNED)

    def __init__(self, apps: tuple[Flask, ...]) -> None:
        super().__init__()
        self.twin = Twin(*apps)
        self.numbers = itertools.count()

    @initialize()
    def open(self) -> None:
        self.model = opened(self.twin)

    def _does(self, expected: str, step: Step, gives: str | None = None) -> bool:
        """Both do the step and end it as the model does."""
        ((ended, _message),) = self.twin.unit(step, gives=gives)
        assert ended == expected
        return ended == "done"

    @rule(who=owned, amount=AMOUNTS)
    def money_arrives(self, who: str, amount: int) -> None:
        source = "branch" if self.model.purses[who].currency == "USD" else "bank"
        self._post({source: -amount, who: amount})

    @rule(
        payer=st.sampled_from(["ann", "bob", "agent"]),
        payee=st.sampled_from(["ann", "bob", "shop", "stall"]),
        amount=AMOUNTS,
        fee=st.integers(0, 3),
    )
    def pay(self, payer: str, payee: str, amount: int, fee: int) -> None:
        self._post(between((payer, -amount), (payee, amount - fee), ("fees", fee)))

    @rule(lines=ANY_LINES)
    def anything(self, lines: dict[str, int]) -> None:
        self._post(lines)

    def _post(self, lines: Mapping[str, int]) -> None:
        self._does(self.model.post(lines), post(lines))

    @rule(one=ANY_LINES, payer=st.sampled_from(["ann", "shop"]), amount=AMOUNTS)
    def two_in_one_unit(self, one: dict[str, int], payer: str, amount: int) -> None:
        two = {payer: -amount, "bob": amount}
        expected = [self.model.post(lines) for lines in (one, two)]
        ended = self.twin.unit(post(one), post(two))
        assert [how for how, _message in ended] == expected

    @rule(target=placed, who=st.one_of(owned, st.just("bank")), amount=AMOUNTS)
    def place(self, who: str, amount: int) -> Given:
        hold = f"hold {next(self.numbers)}"

        def step(names: Names) -> str:
            return holds.place(names[who], amount, "x_1", None, reveal=True)

        done = self._does(self.model.place(who, amount, hold=hold), step, hold)
        return hold if done else multiple()

    @rule(hold=placed, share=st.integers(1, 10), parts=PARTS)
    def capture(self, hold: str, share: int, parts: list[tuple[str, int]]) -> None:
        held = self.model.holds[hold]
        amount = max(1, held.amount * share // 10)
        rest = amount - sum(part for _name, part in parts)
        taker = "till" if self.model.purses[held.account].currency == "USD" else "stall"
        lines = between((held.account, -amount), (taker, rest), *parts)

        def step(names: Names) -> posting.Posted:
            return holds.capture(names[hold], "moved", lines_of(names, lines))

        self._does(self.model.capture(hold, lines), step)

    @rule(hold=placed, status=st.sampled_from(["released", "expired"]))
    def release(self, hold: str, status: str) -> None:
        expected = self.model.release(hold, status)
        self._does(expected, lambda names: holds.release(names[hold], status=status))

    @rule(who=owned, on=st.booleans())
    def mark_hot(self, who: str, on: bool) -> None:
        self._does("done", lambda names: accounts.mark_hot(names[who], on))

    @rule(who=st.sampled_from(NAMES))
    def fold(self, who: str) -> None:
        self._does("done", lambda names: folding.fold(names[who]))

    @rule(who=owned)
    def freeze(self, who: str) -> None:
        self._switch(accounts.freeze, who, True)

    @rule(who=owned)
    def unfreeze(self, who: str) -> None:
        self._switch(accounts.unfreeze, who, False)

    def _switch(self, change: Callable[[str], bool], who: str, frozen: bool) -> None:
        purse = self.model.purses[who]
        changed: list[bool] = []
        self._does("done", lambda names: changed.append(change(names[who])))
        assert changed == [purse.frozen is not frozen] * len(self.twin.sides)
        purse.frozen = frozen

    @invariant()
    def purses_are_the_models(self) -> None:
        assert self.twin.purses(NAMES) == {
            name: (purse.balance, purse.held, purse.available)
            for name, purse in self.model.purses.items()
        }

    @invariant()
    def every_invariant_holds(self) -> None:
        assert self.twin.read(lambda _names: invariants.check()) == []

    def teardown(self) -> None:
        """At the end of each run: all content is the same, on both."""
        self.twin.same_content(NAMES)


def test_any_order_of_steps_does_as_the_model_on_both_databases(
    twin_apps: tuple[Flask, ...],
) -> None:
    run_state_machine_as_test(
        partial(Ledger, twin_apps),  # type: ignore[arg-type]
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
