"""A segment is kept once, whole, and given back as it was, or Postgres is told that it was not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import wal_archive
from tests.backups import stock
from tests.children import ROOT

NAME = "000000010000000000000003"


@pytest.fixture
def segment(tmp_path):
    path = tmp_path / "pg_wal" / NAME
    path.parent.mkdir()
    path.write_bytes(os.urandom(100_000))
    return path


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def put(segment: Path, archive: Path, *more: object) -> stock.Ran:
    return stock.run(wal_archive.main, "put", segment, segment.name, "--dir", archive, *more)


def get(target: Path, archive: Path, *more: object, name: str = NAME) -> stock.Ran:
    return stock.run(wal_archive.main, "get", name, target, "--dir", archive, *more)


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_segment_is_given_back_as_it_was(segment, archive, keys, tmp_path, encrypted):
    how = ("--recipients", keys.recipients) if encrypted else ()
    assert put(segment, archive, *how).code == 0
    (kept,) = archive.iterdir()
    assert (kept.read_bytes() != segment.read_bytes()) is encrypted
    target = tmp_path / "RECOVERYXLOG"
    assert get(target, archive, *(("--identity", keys.identity) if encrypted else ())).code == 0
    assert target.read_bytes() == segment.read_bytes()


def test_the_same_one_again_is_no_fault_and_another_is_refused(segment, archive, keys):
    for _ in range(2):  # Postgres asks again after a crash
        assert put(segment, archive, "--recipients", keys.recipients).code == 0
    (kept,) = archive.iterdir()
    before = kept.read_bytes()
    segment.write_bytes(b"of another cluster")
    refused = put(segment, archive, "--recipients", keys.recipients)
    assert (refused.code, "and is not the same" in refused.err) == (3, True)
    assert [path.read_bytes() for path in archive.iterdir()] == [before]


def test_what_is_not_there_ends_a_recovery(archive, tmp_path):
    assert get(tmp_path / "x", archive).code == 1
    assert get(tmp_path / "x", archive, name="00000002.history").code == 1


@pytest.mark.parametrize("harm", ["flip", "wrong key", "no key", "no archive", "twice"])
def test_what_is_there_and_can_not_be_given_back_stops_a_recovery(
    segment, archive, keys, tmp_path, harm
):
    """Postgres takes an exit up to 125 for the end of the archive, and would go on without."""
    put(segment, archive, "--recipients", keys.recipients)
    (kept,) = archive.iterdir()
    identity = keys.identity
    if harm == "flip":
        kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    elif harm == "wrong key":
        identity = stock.new_keys(tmp_path / "other").identity
    elif harm == "twice":
        (archive / f"{NAME}-{'0' * 64}").touch()
    where = tmp_path / "gone" if harm == "no archive" else archive
    given = () if harm == "no key" else ("--identity", identity)
    told = get(tmp_path / "x", where, *given)
    assert (told.code, told.err.startswith("wal_archive get")) == (255, True)


def test_a_plain_one_that_was_harmed_is_not_given_back(segment, archive, tmp_path):
    put(segment, archive)
    (kept,) = archive.iterdir()
    kept.write_bytes(b"harmed")
    assert get(tmp_path / "x", archive).code == 255
    assert not (tmp_path / "x").exists()


def test_nothing_half_written_is_ever_kept(segment, archive, tmp_path):
    missing = put(segment, archive, "--recipients", tmp_path / "nobody")
    assert (missing.code, list(archive.iterdir())) == (3, [])
    (archive / f".partial-{NAME}-1").write_bytes(b"of a killed run")
    assert get(tmp_path / "x", archive).code == 1
    assert put(segment, archive).code == 0


def test_a_failed_upload_is_tried_again(segment, archive, tmp_path):
    failed = put(segment, archive, "--upload", "false")
    assert (failed.code, "the upload ended with 1" in failed.err) == (3, True)
    there = tmp_path / "there"
    there.mkdir()
    assert put(segment, archive, "--upload", f"cp -t {there}").code == 0
    assert [path.name for path in there.iterdir()] == [path.name for path in archive.iterdir()]


@pytest.mark.parametrize("name", ["../../etc/passwd", "00000001", "x" * 24])
def test_only_names_of_segments_are_taken(archive, tmp_path, name):
    with pytest.raises(SystemExit) as refused:
        get(tmp_path / "x", archive, name=name)
    assert refused.value.code == 2


@pytest.mark.slow
def test_it_stands_alone(segment, archive, tmp_path):
    """Postgres runs it where nothing else of the repository is, in isolated mode."""
    alone = tmp_path / "alone.py"
    alone.write_bytes((ROOT / "scripts" / "wal_archive.py").read_bytes())
    command = [sys.executable, "-I", "-S", alone, "put", segment, NAME, "--dir", archive]
    subprocess.run(command, env={"PATH": os.defpath}, cwd="/", check=True)
    assert len(list(archive.iterdir())) == 1
