"""Posting on SQLite and on Postgres: the same lines, refused and done alike, to the last row."""

from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments.ledger import accounts, posting
from tests.ledger.places import NAMES, OWNED, opened
from tests.ledger.twin import Names, Step, Twin, lines_of

EUROS = ["ann", "bob", "agent", "shop", "stall", "fees", "bank"]
AMOUNT = st.integers(-30, 30)


@st.composite
def balanced(draw: st.DrawFn) -> dict[str, int]:
    """Lines in one currency that sum to 0, whether or not anybody has that much."""
    lines = draw(st.dictionaries(st.sampled_from(EUROS), AMOUNT, min_size=1, max_size=5))
    last = draw(st.sampled_from(EUROS))
    return {**lines, last: lines.get(last, 0) - sum(lines.values())}


LINES = st.one_of(
    balanced(),
    balanced(),
    balanced(),
    st.dictionaries(st.sampled_from([*NAMES, "nobody"]), AMOUNT, max_size=4),
)
UNITS = st.lists(st.lists(LINES, min_size=1, max_size=3), min_size=1, max_size=12)


def post(lines: dict[str, int]) -> Step:
    """A step that moves money, and says the balance when it can't."""
    return lambda names: posting.post("moved", "x_1", lines_of(names, lines), reveal=True)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    start=st.dictionaries(st.sampled_from(EUROS[:5]), st.integers(1, 60)),
    hot=st.sets(st.sampled_from(OWNED)),
    units=UNITS,
)
def test_both_write_and_refuse_the_same(
    twin_apps: tuple[Flask, ...],
    start: dict[str, int],
    hot: set[str],
    units: list[list[dict[str, int]]],
) -> None:
    twin = Twin(*twin_apps)
    model = opened(twin)

    def mark(names: Names) -> None:
        for name in sorted(hot):
            accounts.mark_hot(names[name], True)

    twin.unit(mark)
    for name, amount in start.items():
        model.post({"bank": -amount, name: amount})
        twin.unit(post({"bank": -amount, name: amount}))
    for unit in units:
        expected = [model.post(lines) for lines in unit]
        assert [how for how, _message in twin.unit(*map(post, unit))] == expected
    assert twin.purses(NAMES) == {
        name: (purse.balance, purse.held, purse.available) for name, purse in model.purses.items()
    }
    twin.same_content(NAMES)
