"""A dump comes back whole into an empty database, where nothing is written until it is allowed."""

import shutil

import pytest
import redis

from payments import db
from payments.checkout import payments
from payments.errors import ReadOnly
from payments.ledger import invariants
from payments.operations import read_only, restoring
from scripts import backup, restore
from scripts.backups import folder, programs
from tests import databases
from tests.backups import stock
from tests.checkout import world
from tests.migrations import catalog
from tests.redis_server import address


@pytest.fixture
def place(postgres, redis_url, redis_client, stocked, keys, tmp_path):
    """A folder with one backup of the stocked stores."""
    redis_client.config_set("repl-diskless-sync-delay", 0)
    redis_client.set("plain", "kept")
    redis_client.set("short", "lived", px=600_000)
    redis_client.zadd("window", {"a": 1.5, "b": 2})
    made = stock.run(
        backup.main, "create", "--dir", tmp_path / "to", "--recipients", keys.recipients,
        DB_URL=postgres, REDIS_URL=redis_url,
    )  # fmt: skip
    assert made.code == 0, made.err
    return tmp_path / "to"


@pytest.fixture
def target(servers):
    """An empty database to restore into."""
    with databases.empty_postgres(servers) as url:
        yield url


@pytest.fixture
def other_redis(servers, worker_number):
    """Another numbered database than the one that was backed up."""
    url = address(servers.redis_port, 32 + worker_number)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.set("stale", "by what was there")
        yield url


def bring_back(place, keys, target, *more, **variables):
    arguments = ("dump", "--dir", place, "--identity", keys.identity, *more)
    return stock.run(restore.main, *arguments, DB_URL=target, **variables)


def test_all_of_it_comes_back(place, keys, target, postgres, stocked, tmp_path):
    done = bring_back(place, keys, target)
    assert done.code == 0, done.err
    before, after = catalog.read(postgres), catalog.read(target)
    # A dump writes `IN` another way than the migration did; it means the same.
    rules = [[row[:2] for row in found.pop("constraints")] for found in (before, after)]
    assert (after, rules[1]) == (before, rules[0])
    for table in ("accounts", "entries", "postings", "payments", "events", "sessions", "api_keys"):
        everything = f"SELECT * FROM {table} ORDER BY id"
        assert stock.rows(target, everything) == stock.rows(postgres, everything) != []
    with stock.service(target, tmp_path):
        assert invariants.check() == []


def test_nothing_is_written_in_it_until_it_is_allowed(place, keys, target, stocked, tmp_path):
    bring_back(place, keys, target)
    with stock.service(target, tmp_path):
        with pytest.raises(ReadOnly):
            world.asks(stocked.merchant, 1_00)
        assert read_only.state().reason == "restored: scripts/after_restore.py comes before traffic"
        restored = restoring.restored()
        (made,) = folder.every(place)
        assert restored is not None
        assert (restored.backup, restored.data_until) == (made.manifest.id, made.manifest.until)
        db.in_unit(lambda: read_only.switch(False, "done"), in_read_only=True)
        paid = world.asks(stocked.merchant, 1_00)
        db.in_unit(lambda: payments.confirm(paid.id, stocked.customer))
        assert invariants.check() == []


def test_writes_are_stopped_before_the_first_row_is_there(
    place, keys, target, stocked, tmp_path, monkeypatch
):
    """A process that connects in the middle of a restore finds tables, and may not write."""
    monkeypatch.setattr("scripts.backups.restoring._fill", _fails)
    failed = bring_back(place, keys, target)
    assert (failed.code, "in the middle" in failed.err) == (3, True)
    assert stock.rows(target, "SELECT count(*) FROM accounts") == [(0,)]
    with stock.service(target, tmp_path), pytest.raises(ReadOnly):
        world.customer("+4915177777777")


def _fails(*_arguments: object) -> None:
    raise programs.Failed("lost in the middle")


def test_a_database_with_anything_in_it_is_refused(place, keys, target, postgres):
    assert bring_back(place, keys, target).code == 0
    for url in (target, postgres):
        again = bring_back(place, keys, url)
        assert again.code == 3
        assert "is not empty: restore into a new one" in again.err


def test_a_harmed_backup_is_refused_before_anything_is_made(place, keys, target):
    (made,) = folder.every(place)
    path = made.path / "database.dump.age"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused = bring_back(place, keys, target)
    assert (refused.code, "checksum differs" in refused.err) == (3, True)
    assert stock.rows(target, "SELECT 1 FROM pg_class WHERE relname = 'accounts'") == []


def test_without_the_right_identity_nothing_is_restored(place, keys, target, tmp_path):
    other = stock.new_keys(tmp_path / "other")
    assert bring_back(place, other, target).code == 3
    told = stock.run(restore.main, "dump", "--dir", place, DB_URL=target)
    assert told.code == 3 and "give --identity FILE" in told.err
    assert bring_back(place, keys, target).code == 0


def test_redis_is_emptied(place, keys, target, other_redis):
    done = bring_back(place, keys, target, REDIS_URL=other_redis)
    assert "Redis: emptied" in done.out
    with redis.Redis.from_url(other_redis) as client:
        assert client.keys("*") == []


def test_redis_gets_its_snapshot_back_where_that_is_asked_for(place, keys, target, other_redis):
    done = bring_back(place, keys, target, "--redis-snapshot", REDIS_URL=other_redis)
    assert (done.code, "snapshot of 3 keys put back" in done.out) == (0, True), done.err
    with redis.Redis.from_url(other_redis) as client:
        assert sorted(client.keys("*")) == [b"plain", b"short", b"window"]
        assert client.get("plain") == b"kept"
        assert 0 < client.pttl("short") <= 600_000
        assert client.pttl("plain") == -1
        assert client.zrange("window", 0, -1, withscores=True) == [(b"a", 1.5), (b"b", 2.0)]


def test_redis_stays_as_it_is_where_nobody_says_which_or_it_is_left_out(
    place, keys, target, other_redis
):
    no_redis = bring_back(place, keys, target, "--redis-snapshot")
    assert (no_redis.code, "which Redis?" in no_redis.err) == (3, True)
    left = bring_back(place, keys, target, "--without-redis", REDIS_URL=other_redis)
    assert left.code == 0
    with redis.Redis.from_url(other_redis) as client:
        assert client.get("stale") == b"by what was there"


def test_nothing_readable_is_left_behind(place, keys, target, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    assert bring_back(place, keys, target, "--work", work).code == 0
    assert list(work.iterdir()) == []


def test_a_plain_backup_comes_back_as_well(postgres, stocked, target, tmp_path):
    place = tmp_path / "plain"
    made = stock.run(backup.main, "create", "--dir", place, "--plain", DB_URL=postgres)
    assert made.code == 0
    assert stock.run(restore.main, "dump", "--dir", place, DB_URL=target).code == 0
    assert len(stock.rows(target, "SELECT id FROM payments")) == 1
    shutil.rmtree(place)
    gone = stock.run(restore.main, "dump", "--dir", place, DB_URL=target)
    assert (gone.code, "there is no backup" in gone.err) == (3, True)
