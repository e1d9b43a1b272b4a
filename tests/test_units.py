"""The unit of work on both databases: what travels with its BEGIN and its COMMIT."""

from datetime import UTC, datetime

import psycopg
import pytest

from payments import db
from payments.db import Sql
from payments.drivers import ConnectionLost, Duplicate

pytestmark = pytest.mark.usefixtures("app_context")

ECHO = Sql(
    "SELECT CAST(:text AS text) AS said, CAST(:number AS bigint) AS number, 7 % 4 AS rest,"
    " ':text' AS colon, '100 %' AS percent",
    sqlite="SELECT :text AS said, :number AS number, 7 % 4 AS rest, ':text' AS colon,"
    " '100 %' AS percent",
)
NONCE = Sql(
    "INSERT INTO internal_nonces (service, nonce, expires_at) VALUES ('taxi', :nonce, :at)"
    " RETURNING nonce AS name"
)
NONCES = Sql("SELECT nonce FROM internal_nonces ORDER BY nonce")
AT = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
HOSTILE = [
    "",
    "'; DROP TABLE accounts; --",
    "\\'; DROP TABLE accounts; --",
    "\\",
    "%s %(text)s %% {0}",
    ":text :now",
    "$1 $$ $body$",
    "käse\n\r\t\x7f\x01🧀",
    "E'\\x27'",
]


def nonces() -> list[str]:
    return [row.nonce for row in NONCES.all()]


@pytest.mark.parametrize("text", [*HOSTILE, None])
@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, -(2**63), None])
def test_values_arrive_as_they_were_sent(text: str | None, number: int | None) -> None:
    with db.unit_of_work() as unit:
        asked = [ECHO.given(text=text, number=number)] * 2
        with_begin = db.together(*asked)
        within = db.together(*asked)
        later: list[db.Row] = []
        unit.at_commit(asked[0], later.extend)
    alone = ECHO.one(text=text, number=number)
    assert alone == (text, number, 3, ":text", "100 %")
    assert [*with_begin, *within, later] == [[alone]] * 5


def test_times_arrive_as_they_were_sent() -> None:
    with db.unit_of_work():
        ((made,),) = db.together(NONCE.given(nonce="a", at=AT))
        db.at_commit(NONCE.given(nonce="b", at=AT))
    assert made.name == "a"
    times = Sql("SELECT expires_at FROM internal_nonces").all()
    assert [row.expires_at for row in times] == [AT, AT]
    with pytest.raises(ValueError, match="no moment|not a moment"), db.unit_of_work():
        db.together(NONCE.given(nonce="c", at=AT.replace(tzinfo=None)))


def test_what_waits_for_the_commit_runs_before_the_next_statement() -> None:
    with db.unit_of_work() as unit:
        said: list[str] = []
        unit.at_commit(NONCE.given(nonce="a", at=AT), lambda rows: said.append(rows[0].name))
        assert said == []
        assert nonces() == ["a"]
        assert said == ["a"]
        unit.at_commit(NONCE.given(nonce="b", at=AT), lambda rows: said.append(rows[0].name))
    assert said == ["a", "b"]
    assert nonces() == ["a", "b"]


def test_a_refusal_at_the_commit_undoes_everything() -> None:
    effects: list[str] = []
    with pytest.raises(Duplicate), db.unit_of_work() as unit:
        NONCE.one(nonce="a", at=AT)
        unit.at_commit(NONCE.given(nonce="b", at=AT))
        unit.at_commit(NONCE.given(nonce="a", at=AT))
        unit.after_commit(lambda: effects.append("told"))
    assert (nonces(), effects) == ([], [])


def test_a_refusal_with_the_begin_undoes_everything_and_leaves_the_connection_usable() -> None:
    with pytest.raises(Duplicate), db.unit_of_work():
        db.together(NONCE.given(nonce="a", at=AT), NONCE.given(nonce="a", at=AT))
    assert nonces() == []
    with db.unit_of_work():
        NONCE.one(nonce="a", at=AT)
    assert nonces() == ["a"]


def test_an_exception_drops_what_waits() -> None:
    with pytest.raises(ZeroDivisionError), db.unit_of_work() as unit:
        unit.at_commit(NONCE.given(nonce="a", at=AT))
        raise ZeroDivisionError
    assert nonces() == []


def test_a_unit_that_asks_nothing_takes_no_connection() -> None:
    store = db.current_store()
    with db.unit_of_work() as unit:
        assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert unit.now.tzinfo is not None
        assert store.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_what_is_no_value_for_a_literal_is_refused(database_kind: str) -> None:
    if database_kind == "sqlite":
        return
    with pytest.raises(TypeError), db.unit_of_work():
        db.together(ECHO.given(text=["a"], number=1))
    with pytest.raises(TypeError), db.unit_of_work():
        db.together(ECHO.given(text="a", number=True))
    with pytest.raises(psycopg.DataError), db.unit_of_work():
        db.together(ECHO.given(text="a\0b", number=1))
    assert nonces() == []


def test_a_dead_connection_is_replaced_at_the_begin_and_reported_later(
    database_kind: str, database: str
) -> None:
    if database_kind == "sqlite":
        return

    def cut() -> None:
        with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    assert nonces() == []
    cut()
    with db.unit_of_work():
        db.together(NONCE.given(nonce="a", at=AT))
    assert nonces() == ["a"]
    with pytest.raises(ConnectionLost), db.unit_of_work() as unit:
        NONCE.one(nonce="b", at=AT)
        cut()
        unit.at_commit(NONCE.given(nonce="c", at=AT))
    assert nonces() == ["a"]


def test_a_unit_whose_waiting_statements_failed_commits_nothing() -> None:
    """Even where somebody makes nothing of it: what had waited would be missing."""
    with pytest.raises(RuntimeError, match="can't be committed"), db.unit_of_work() as unit:
        NONCE.one(nonce="a", at=AT)
        unit.at_commit(NONCE.given(nonce="b", at=AT))
        unit.at_commit(NONCE.given(nonce="a", at=AT))
        with pytest.raises(Duplicate):
            nonces()
    assert nonces() == []


def test_a_transaction_left_open_does_not_go_back_to_the_pool(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver = db.current_store().driver

    def interrupted(connection: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(driver, "rollback", interrupted)
        with pytest.raises(KeyboardInterrupt), db.unit_of_work():
            NONCE.one(nonce="a", at=AT)
            raise ZeroDivisionError
    assert "left open" in caplog.text
    with db.unit_of_work():
        NONCE.one(nonce="b", at=AT)
    assert nonces() == ["b"]


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
def test_what_ctrl_c_left_under_way_goes_with_its_connection_and_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = db.current_store().engine.pool
    with pytest.raises(KeyboardInterrupt), db.unit_of_work() as unit:
        NONCE.one(nonce="a", at=AT)
        unit.connection.pgconn.send_query(b"SELECT pg_sleep(30)")
        raise KeyboardInterrupt
    assert caplog.text == ""
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    with db.unit_of_work():
        NONCE.one(nonce="a", at=AT)  # it was undone
