"""`ops/secrets/ROTATION.md`, done to two web servers and a worker under load: nobody is refused.

The steps and commands are read from the document itself.
"""

import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from payments import unsafe
from tests import databases
from tests.children import ROOT, wait_until
from tests.databases import SECRETS
from tests.processes import Web, Worker, service_environ, web, worker
from tests.receivers import Receiver
from tests.servers import Addresses
from tests.stories import people
from tests.stories.rotation import Balancer, Load, signed
from tests.stories.test_readme import SHOWN_BY, run

pytestmark = pytest.mark.slow

DOCUMENT = (ROOT / "ops/secrets/ROTATION.md").read_text()
STEPS = re.findall(r"^\d\. `([A-Z,]+)`", DOCUMENT, re.MULTILINE)
COMMANDS = [
    re.sub(r"\s{2,}#.*", "", line)
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines()
]
NAMED = ("INTERNAL_API_SECRET", "ADMIN_TOKEN")
OLD = SECRETS | {"METRICS_TOKEN": "tests-metrics-0123456789abcdef0123456789ab"}


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> dict[str, str]:
    """A new entry for each list, made by the document's own commands, under the old one's name."""
    folder = tmp_path_factory.mktemp("new")
    made = {}
    for variable, old in OLD.items():
        command = COMMANDS[1 if variable == "ENCRYPTION_KEY" else 0]
        name = old.partition(":")[0] + ":" if variable in NAMED else ""
        made[variable] = name + run(command, folder).strip()
    return made


def step(text: str, new: dict[str, str]) -> dict[str, str]:
    """The variables as a step of the document has them."""
    return {
        variable: ",".join({"OLD": OLD, "NEW": new}[word][variable] for word in text.split(","))
        for variable in OLD
    }


@dataclass
class Held:
    """What the callers hold, and change while they call."""

    internal: str
    admin: str
    metrics: str
    access: str = ""
    refresh: str = ""
    key: str = ""
    phone: str = field(default_factory=people.new_phone)
    hook: str = ""
    hooks: list[str] = field(default_factory=list)
    refreshing: threading.Lock = field(default_factory=threading.Lock)


def bare(entry: str) -> str:
    """An entry without its name."""
    return entry.rpartition(":")[2]


class Host:
    """Two web servers of one process each and a worker, restarted one by one."""

    def __init__(self, stack: ExitStack, environ: dict[str, str], folder: Path) -> None:
        self._stack, self._environ, self._folder = stack, environ, folder
        self.balancer = Balancer()
        self._worker: Worker | None = None

    def restart(self, **secrets: str) -> None:
        """One server, then the other, then the worker."""
        environ = self._environ | secrets
        olds: list[Web | None] = [*self.balancer.each()] or [None, None]
        for old in olds:
            fresh = self._stack.enter_context(web(environ, self._folder, workers=1))
            self.balancer.replace([old] if old else [], [fresh])
            if old is not None:
                assert old.terminate(group=False) == 0, old.log()
        if self._worker is not None:
            self._worker.terminate()
        self._worker = self._stack.enter_context(worker(environ, self._folder))

    def run(self, command: str, **secrets: str) -> str:
        """What a command of the document prints, run with the service's environment."""
        done = subprocess.run(
            command.replace(".venv/bin/python", sys.executable, 1),
            shell=True, cwd=ROOT, env=service_environ(self._environ | secrets, self._folder),
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def old_uses(self, token: str) -> dict[str, float]:
        """How often an old secret was used, by the servers that serve now."""
        uses: dict[str, float] = {}
        for server in self.balancer.each():
            with people.calling(server.url()) as api:
                text = api.send("GET", "/metrics", Authorization=f"Bearer {token}").text
            for name, value in re.findall(
                r'^payments_old_secret_uses_total\{secret="(\w+)"\} (\S+)', text, re.M
            ):
                uses[name] = uses.get(name, 0) + float(value)
        return uses


@contextmanager
def hosted(redis_url: str, servers: Addresses, folder: Path) -> Iterator[Host]:
    """The host, on a Postgres database of its own; nothing runs yet."""
    with ExitStack() as stack:
        url = stack.enter_context(databases.fresh_postgres(servers))
        environ = databases.environ_for(
            url, folder, REDIS_URL=redis_url, MERCHANT_AUTO_APPROVE="true",
            RATE_LIMIT_PER_MINUTE="100000", WEBHOOK_ALLOW_PRIVATE_TARGETS="true",
        )  # fmt: skip
        yield Host(stack, environ, folder)


def open_shop(host: Host, receiver: Receiver, folder: Path) -> Held:
    """A customer with money who owns a shop with a key and an endpoint."""
    held = Held(
        internal=bare(OLD["INTERNAL_API_SECRET"]),
        admin=bare(OLD["ADMIN_TOKEN"]),
        metrics=OLD["METRICS_TOKEN"],
    )
    codes = people.codes_from(folder / "instance" / "sms.log")
    call = host.balancer.call
    challenge = call("POST", "/v1/auth/otp", {"phone": held.phone})["challenge_id"]
    shown = {"challenge_id": challenge, "code": codes(held.phone)}
    tokens = call("POST", "/v1/auth/token", shown)
    held.access, held.refresh = f"Bearer {tokens['access_token']}", tokens["refresh_token"]
    shop = call("POST", "/v1/merchants", {"name": "Corner"}, Authorization=held.access)
    held.key = make_key(host.balancer, held, shop["id"])
    hook = {"url": receiver.url(), "events": ["*"]}
    made = call("POST", "/v1/webhook_endpoints", hook, Authorization=held.key)
    held.hook, held.hooks = made["id"], [made["secret"]]
    return held


def make_key(balancer: Balancer, held: Held, shop: str) -> str:
    wanted = {"name": "till", "scopes": ["*"], "merchant": shop}
    answer = balancer.call("POST", "/v1/api_keys", wanted, Authorization=held.access)
    return f"Bearer {answer['secret']}"


def callers(balancer: Balancer, held: Held) -> dict[str, Callable[[], None]]:
    """Everybody who comes with something that is rotated."""

    def refreshes() -> None:
        with held.refreshing:
            old = held.refresh
            first = balancer.call("POST", "/v1/auth/refresh", {"refresh_token": old})
            # An answer that was lost: asked of another server, the same successor comes.
            again = balancer.call("POST", "/v1/auth/refresh", {"refresh_token": old})
            assert again["refresh_token"] == first["refresh_token"]
            held.refresh = first["refresh_token"]
            held.access = f"Bearer {first['access_token']}"

    def pays() -> None:
        wanted = {"amount": 1, "currency": "EUR"}
        payment = balancer.call("POST", "/v1/payments", wanted, Authorization=held.key)
        path = f"/v1/payments/{payment['id']}/confirm"
        assert balancer.call("POST", path, {}, Authorization=held.access)["status"] == "succeeded"

    def turns_pages() -> None:
        page = balancer.call("GET", "/v1/events?limit=1", Authorization=held.key)
        if page["next_cursor"]:
            path = f"/v1/events?limit=1&cursor={page['next_cursor']}"
            balancer.call("GET", path, Authorization=held.key)

    def deposits(by_signature: bool) -> None:
        facts = {"phone": held.phone, "amount": 100, "currency": "EUR"}
        facts["external_reference"] = key = uuid.uuid4().hex
        path = "/internal/deposits"
        shown = (
            signed(held.internal, "POST", path, key, facts)
            if by_signature
            else {"X_Internal_Secret": held.internal}
        )
        balancer.call("POST", path, facts, **shown)

    def reads_the_trail() -> None:
        balancer.call("GET", "/admin/audit?limit=1", X_Admin_Token=held.admin)

    def scrapes() -> None:
        balancer.call("GET", "/metrics", Authorization=f"Bearer {held.metrics}")

    return {
        "customer": refreshes,
        "payer": pays,
        "merchant": turns_pages,
        "sister": partial(deposits, False),
        "signing sister": partial(deposits, True),
        "operator": reads_the_trail,
        "prometheus": scrapes,
    }


def all_arrive(receiver: Receiver, secrets: list[str], more: int = 2) -> None:
    """Deliveries go on, and every one is signed by each of the secrets."""
    before = len(receiver.received())
    wait_until(lambda: len(receiver.received()) >= before + more, "deliveries", 60)
    for got in receiver.received()[before:]:
        for secret in secrets:
            Webhook(secret).verify(got.body, dict(got.headers))


def test_the_document_has_the_steps_and_commands_that_are_run_here(tmp_path):
    assert STEPS == ["OLD,NEW", "NEW,OLD", "NEW"]
    assert len(COMMANDS) == 3 and set(COMMANDS) <= set(SHOWN_BY)
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", DOCUMENT, re.MULTILINE))
    environ = databases.environ_for("sqlite:////nowhere.db", tmp_path)
    lists = unsafe.secret_lists(databases.settings_for(environ, tmp_path))
    assert named == set(lists) == set(OLD)


def test_three_restarts_refuse_nobody(servers, redis_url, new, tmp_path):
    with Receiver() as receiver, hosted(redis_url, servers, tmp_path) as host:
        host.restart(**OLD)
        held = open_shop(host, receiver, tmp_path)
        load = Load(callers(host.balancer, held))
        with load.running():
            load.each_calls()
            all_arrive(receiver, held.hooks)
            host.restart(**step(STEPS[0], new))
            load.each_calls()
            turned = rotate_the_merchants_own(host, held, load)
            all_arrive(receiver, turned)
            host.restart(**step(STEPS[1], new))
            load.each_calls()
            change_over(host, held, load, new)
            said = host.run(COMMANDS[2], **step(STEPS[1], new))
            assert "webhook_endpoints.secret_sealed: 1 sealed anew" in said
            assert " 0 that no key opens" in said
            host.restart(**step(STEPS[2], new))
            load.each_calls()
            all_arrive(receiver, turned)
        assert load.faults == []
        refuses_the_old(host, held)


def rotate_the_merchants_own(host: Host, held: Held, load: Load) -> list[str]:
    """A new API key, both, then the old one gone; a new webhook secret beside the old one."""
    balancer, old = host.balancer, held.key
    shop = balancer.call("GET", "/v1/merchant", Authorization=old)["id"]
    fresh = make_key(balancer, held, shop)
    for both in (old, fresh):
        balancer.call("GET", "/v1/balance", Authorization=both)
    held.key = fresh
    load.each_calls()  # what began with the old one is over
    keys = balancer.call("GET", "/v1/api_keys", Authorization=fresh)["data"]
    first = min(keys, key=lambda key: key["created_at"])
    balancer.call("DELETE", f"/v1/api_keys/{first['id']}", Authorization=fresh)
    assert balancer.send("GET", "/v1/balance", Authorization=old).status_code == 401
    path = f"/v1/webhook_endpoints/{held.hook}/rotate_secret"
    turned = balancer.call("POST", path, {}, Authorization=fresh)["secret"]
    return [*held.hooks, turned]


def change_over(host: Host, held: Held, load: Load, new: dict[str, str]) -> None:
    """Who has the old one takes the new one; then the old ones' uses stand still."""
    token = new["METRICS_TOKEN"]
    assert host.old_uses(token)["INTERNAL_API_SECRET"] > 0
    held.internal = bare(new["INTERNAL_API_SECRET"])
    held.admin = bare(new["ADMIN_TOKEN"])
    held.metrics = token
    load.each_calls()  # the customer has a fresh access token by then
    before = host.old_uses(token)
    load.each_calls()
    after = host.old_uses(token)
    for variable in ("INTERNAL_API_SECRET", "ADMIN_TOKEN", "METRICS_TOKEN", "JWT_SECRET"):
        assert after[variable] == before[variable], variable


def refuses_the_old(host: Host, held: Held) -> None:
    """After the third restart the old ones are nobody's."""
    send = host.balancer.send
    old = {variable: bare(entry) for variable, entry in OLD.items()}
    refused = [
        send("GET", "/metrics", Authorization=f"Bearer {old['METRICS_TOKEN']}"),
        send("GET", "/admin/audit", X_Admin_Token=old["ADMIN_TOKEN"]),
        send(
            "GET", f"/internal/wallets?phone=%2B{held.phone[1:]}",
            X_Internal_Secret=old["INTERNAL_API_SECRET"],
        ),
    ]  # fmt: skip
    assert [answer.status_code for answer in refused] == [401, 401, 401]
