"""The script of a rotation: what it says, and by which exit code."""

import json
import subprocess
import sys
from contextvars import copy_context

import pytest
from cryptography.fernet import Fernet

from payments.db import Sql
from scripts import reseal
from tests.checkout import world
from tests.children import ROOT, plain_environ
from tests.databases import SECRETS
from tests.webhooks import world as hooks

OLD, NEW = SECRETS["ENCRYPTION_KEY"], Fernet.generate_key().decode()
SEALED = Sql("SELECT secret_sealed FROM webhook_endpoints")


@pytest.fixture
def endpoint(app_context) -> str:
    """An endpoint whose secret is sealed under the old key."""
    return hooks.endpoint(world.merchant())


@pytest.fixture
def run(environ, monkeypatch, capsys):
    """`run("--json", ENCRYPTION_KEY=...)`: the exit code, stdout and stderr."""

    def call(*options: str, **more: str) -> tuple[int, str, str]:
        for name, value in {**environ, **more}.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        # In a context of its own, as a process has: it makes its database the present one.
        code = copy_context().run(reseal.main, list(options))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_it_seals_anew_once_and_says_what_it_found(run, endpoint):
    code, out, _ = run(ENCRYPTION_KEY=f"{NEW},{OLD}")
    assert code == reseal.FINE
    assert (
        "webhook_endpoints.secret_sealed: 1 sealed anew, 0 left as they were, 0 that no key opens"
    ) in out.splitlines()
    code, out, _ = run(ENCRYPTION_KEY=f"{NEW},{OLD}")
    assert code == reseal.FINE
    assert "webhook_endpoints.secret_sealed: 0 sealed anew, 1 left as they were" in out
    assert Fernet(NEW).decrypt(SEALED.scalar().encode()).decode() == hooks.SECRET


def test_what_no_key_opens_is_found_and_named(run, endpoint):
    code, out, _ = run(ENCRYPTION_KEY=NEW)
    assert code == reseal.FOUND
    assert f"  can't be opened: {endpoint}\n" in out
    code, out, _ = run("--json", ENCRYPTION_KEY=NEW)
    told = json.loads(out)
    (column,) = [each for each in told["columns"] if each["column"] == "secret_sealed"]
    assert (code, told["object"]) == (reseal.FOUND, "reseal")
    assert column == {
        "table": "webhook_endpoints",
        "column": "secret_sealed",
        "seen": 1,
        "resealed": 0,
        "unopened": [endpoint],
    }


def test_only_ten_of_many_are_named(run, app_context):
    shop = world.merchant()
    for _ in range(12):
        hooks.endpoint(shop)
    _, out, _ = run(ENCRYPTION_KEY=NEW)
    assert out.count("can't be opened") == 10
    assert "  and 2 more\n" in out


def test_what_it_can_not_do_it_says(run, endpoint, tmp_path):
    code, out, err = run(READ_ONLY="true", ENCRYPTION_KEY=f"{NEW},{OLD}")
    assert (code, out) == (reseal.NOT_RUN, "")
    assert "run it again" in err
    code, out, err = run(READ_ONLY="false", DB_URL=f"sqlite:///{tmp_path}/none.db")
    assert (code, out) == (reseal.NOT_RUN, "")
    assert err.startswith("The database can't be used: ")
    code, out, err = run(ENCRYPTION_KEY="nonsense")
    assert (code, out) == (reseal.NOT_RUN, "")
    assert "ENCRYPTION_KEY: entry 1 is not a Fernet key" in err


def test_an_option_that_is_none_is_a_fault_of_usage(run):
    with pytest.raises(SystemExit) as ended:
        run("--jsn")
    assert ended.value.code == 2


@pytest.mark.slow
def test_the_script_as_typed_after_a_rotation(environ, endpoint, tmp_path):
    done = subprocess.run(
        [sys.executable, "scripts/reseal.py"],
        cwd=ROOT,
        env=plain_environ(tmp_path) | environ | {"ENCRYPTION_KEY": f"{NEW},{OLD}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "webhook_endpoints.secret_sealed: 1 sealed anew" in done.stdout
