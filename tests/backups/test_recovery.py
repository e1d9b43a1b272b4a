"""A base backup and archived WAL bring a cluster back to any moment, where it takes no writes."""

import shutil
import time
from datetime import timedelta

import pytest

from payments import clock, db
from payments.checkout import payments
from payments.errors import ReadOnly
from payments.ledger import invariants
from payments.operations import restoring
from scripts import backup, restore
from scripts.backups import wal
from tests import databases
from tests.backups import clusters, stock
from tests.backups.clusters import DATABASE
from tests.checkout import world
from tests.servers import new_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trail(tmp_path_factory):
    """A cluster with a base and a trail: `before`, the moment `between`, `after`; killed."""
    keys = tmp_path_factory.mktemp("keys")
    folder = tmp_path_factory.mktemp("service")
    with clusters.vault(keys) as kept:
        with clusters.archiving(kept) as server:
            databases.migrate(server.url(DATABASE), folder)
            with stock.service(server.url(DATABASE), folder):
                filled = stock.fill()
            made = stock.run(
                backup.main, "base", "--dir", kept.place, "--recipients", kept.keys.recipients,
                DB_URL=server.url(DATABASE),
            )  # fmt: skip
            assert made.code == 0, made.err
            with stock.service(server.url(DATABASE), folder):
                before = pay(filled)
                clusters.archive_all(server)
                between = clock.now()
                time.sleep(0.05)
                after = pay(filled)
            clusters.archive_all(server)
            server.kill()
        yield {"kept": kept, "stock": filled, "before": before, "between": between, "after": after}


def pay(filled: stock.Stock) -> str:
    asked = world.asks(filled.merchant, 1_00)
    db.in_unit(lambda: payments.confirm(asked.id, filled.customer))
    return str(asked.id)


@pytest.fixture
def fresh():
    """A folder that Postgres's user may pass through."""
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


def recover(trail, data, *more):
    kept = trail["kept"]
    return stock.run(
        restore.main, "pitr", "--dir", kept.place, "--wal", kept.archive, "--data", data,
        "--identity", kept.keys.identity, "--database", DATABASE, *more,
    )  # fmt: skip


def paid_in(server) -> set[str]:
    rows = server.execute("SELECT id FROM payments WHERE status = 'succeeded'", DATABASE)
    return {row[0] for row in rows}


def test_everything_archived_comes_back_and_nothing_is_written(trail, tmp_path):
    with clusters.second() as server:
        done = recover(trail, server.folder / "data", "--json")
        assert done.code == 0, done.err
        server.start()
        assert {trail["before"], trail["after"]} < paid_in(server)
        with stock.service(server.url(DATABASE), tmp_path):
            assert invariants.check() == []
            with pytest.raises(ReadOnly):
                pay(trail["stock"])
            restored = restoring.restored()
        assert restored is not None and restored.backup.endswith(done.json["backup"][-4:])
        assert trail["between"] < restored.data_until <= clock.now()
        assert server.execute("SHOW archive_command")[0][0] == "(disabled)"


def test_a_moment_of_the_past_comes_back(trail, tmp_path):
    with clusters.second() as server:
        moment = clock.to_rfc3339(trail["between"])
        done = recover(trail, server.folder / "data", "--to-time", moment)
        assert done.code == 0, done.err
        server.start()
        assert trail["before"] in paid_in(server)
        assert trail["after"] not in paid_in(server)
        with stock.service(server.url(DATABASE), tmp_path):
            restored = restoring.restored()
            assert restored is not None and restored.data_until <= trail["between"]
            _, done = restoring.prepare()
            assert done is not None and done.sessions_ended == 1


def test_a_moment_that_the_archive_does_not_reach_is_refused(trail, fresh):
    future = clock.to_rfc3339(clock.now() + timedelta(days=1))
    told = recover(trail, fresh / "data", "--to-time", future)
    assert told.code == 3
    assert "recovery ended before configured recovery target was reached" in told.err
    past = clock.to_rfc3339(clock.now() - timedelta(days=1))
    early = recover(trail, fresh / "early", "--to-time", past)
    assert (early.code, "take an earlier one" in early.err) == (3, True)


def test_a_hole_or_harm_in_the_archive_is_never_taken_for_its_end(trail, fresh):
    """The recovery stops, or says that it ended too early; it never quietly gives less."""
    kept = trail["kept"]
    names = sorted(wal.segments(kept.archive))
    path = wal.segments(kept.archive)[names[-2]]
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-20])
        harmed = recover(trail, fresh / "harmed")
        assert (harmed.code, "the recovery failed" in harmed.err) == (3, True)
        assert "failed to decrypt" in harmed.err
        path.unlink()
        missing = recover(trail, fresh / "missing")
        assert (missing.code, "the archive's newest segment" in missing.err) == (3, True)
    finally:
        path.write_bytes(whole)
        path.chmod(0o644)


def test_what_is_half_restored_is_not_left_under_its_name(trail, fresh):
    """Recovered, and open for writes: the switch could not be set in a database that is not there.

    Nothing of it runs on, either.
    """
    told = recover(trail, fresh / "data", "--database", "nope")
    assert (told.code, 'database "nope" does not exist' in told.err) == (3, True)
    (left,) = fresh.iterdir()
    assert left.name.startswith("data.half-restored-")
    assert not (left / "postmaster.pid").exists()


def test_a_data_folder_with_anything_in_it_is_refused(trail, tmp_path):
    (tmp_path / "PG_VERSION").touch()
    told = recover(trail, tmp_path)
    assert (told.code, "is not empty" in told.err) == (3, True)


def test_a_base_without_an_archive_is_refused(postgres, keys, tmp_path):
    told = stock.run(
        backup.main, "base", "--dir", tmp_path, "--recipients", keys.recipients, DB_URL=postgres
    )
    assert (told.code, "archive_mode is off" in told.err) == (3, True)
