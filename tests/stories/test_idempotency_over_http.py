"""One intent, sent fifty times at once, and again by other credentials, to real web processes."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests

from tests import databases, redis_server
from tests.processes import web
from tests.servers import Addresses
from tests.stories import people
from tests.stories.people import Api, Codes

pytestmark = pytest.mark.slow

AT_ONCE = 50
START = 100_00
ASKED = {"amount": 20_00, "currency": "EUR", "description": "Two breakfasts"}


@dataclass
class Scene:
    """A running service with a customer who has START, and a shop. customer, owner, shop: headers
    by which they call.
    """

    api: Api
    base: str
    codes: Codes
    phone: str
    customer: str
    owner: str
    merchant_id: str
    shop: str

    def asks(self) -> str:
        """The id of a payment that waits."""
        key = uuid.uuid4().hex
        return str(
            self.api.call("POST", "/v1/payments", ASKED, key=key, Authorization=self.shop)["id"]
        )

    def payments(self) -> list[str]:
        """The ids of all payments."""
        listed = self.api.call("GET", "/v1/payments?limit=100", Authorization=self.shop)
        return [payment["id"] for payment in listed["data"]]

    def statement(self) -> list[int]:
        """The amounts of the customer's statement, newest first."""
        (wallet,) = self.api.call("GET", "/v1/wallets", Authorization=self.customer)["data"]
        path = f"/v1/wallets/{wallet['id']}/statement"
        lines = self.api.call("GET", path, Authorization=self.customer)["data"]
        assert wallet["balance"] == sum(line["amount"] for line in lines)
        return [line["amount"] for line in lines]


@pytest.fixture(scope="module")
def service(
    servers: Addresses, worker_number: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Codes]]:
    """Its address, and the codes it sends. Each test brings its own people."""
    folder = tmp_path_factory.mktemp("service")
    redis = {"REDIS_URL": redis_server.address(servers.redis_port, worker_number)}
    with databases.fresh_postgres(servers) as url:
        environ = databases.environ_for(url, folder, RATE_LIMIT_PER_MINUTE="100000", **redis)
        with web(environ, folder, workers=2) as running:
            yield running.url(), people.codes_from(folder / "instance" / "sms.log")


@pytest.fixture
def scene(service: tuple[str, Codes]) -> Iterator[Scene]:
    base, codes = service
    phone, owner_phone = people.new_phone(), people.new_phone()
    with people.calling(base) as api:
        owner = people.sign_in(api, owner_phone, codes)
        merchant = api.call("POST", "/v1/merchants", {"name": "Corner"}, Authorization=owner)
        people.deposit(api, phone, START)
        yield Scene(
            api,
            base,
            codes,
            phone=phone,
            customer=people.sign_in(api, phone, codes),
            owner=owner,
            merchant_id=merchant["id"],
            shop=people.new_key(api, owner, merchant["id"]),
        )


def fifty(base: str, send: Callable[[Api], requests.Response]) -> list[requests.Response]:
    """The answers of fifty callers who begin together, each repeated while it is 409."""
    barrier = threading.Barrier(AT_ONCE)

    def one(_number: int) -> requests.Response:
        with people.calling(base) as api:
            barrier.wait(30)
            return people.until_settled(lambda: send(api))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def assert_equal_and_one_fresh(answers: list[requests.Response], status: int) -> None:
    assert {answer.status_code for answer in answers} == {status}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert sorted(map(str, replayed)) == ["None", *["true"] * (AT_ONCE - 1)]


def test_fifty_equal_payments_at_once_are_one(scene):
    answers = fifty(
        scene.base,
        lambda api: api.send(
            "POST", "/v1/payments", ASKED, key="order-7", Authorization=scene.shop
        ),
    )
    assert_equal_and_one_fresh(answers, 201)
    assert scene.payments() == [answers[0].json()["id"]]


def test_fifty_equal_confirms_at_once_pay_once(scene):
    payment_id = scene.asks()
    answers = fifty(
        scene.base,
        lambda api: api.send(
            "POST",
            f"/v1/payments/{payment_id}/confirm",
            {},
            key="pay-7",
            Authorization=scene.customer,
        ),
    )
    assert_equal_and_one_fresh(answers, 200)
    assert answers[0].json()["status"] == "succeeded"
    assert scene.statement() == [-20_00, START]
    balance = scene.api.call("GET", "/v1/balance", Authorization=scene.shop)
    assert [line["balance"] for line in balance["balances"]] == [20_00]


def test_a_retry_under_the_merchants_next_key_is_the_same_intent(scene):
    def send(key: str) -> requests.Response:
        return scene.api.send("POST", "/v1/payments", ASKED, key="order-8", Authorization=key)

    first = send(scene.shop)
    next_key = people.new_key(scene.api, scene.owner, scene.merchant_id)
    again = send(next_key)
    listed = scene.api.call("GET", "/v1/api_keys", Authorization=next_key)["data"]
    for old in listed[1:]:
        scene.api.call("DELETE", f"/v1/api_keys/{old['id']}", Authorization=scene.owner)
    assert send(scene.shop).json()["code"] == "key_revoked"
    last = send(next_key)
    assert (first.status_code, again.status_code, last.status_code) == (201, 201, 201)
    assert first.content == again.content == last.content
    replays = [answer.headers.get("Idempotent-Replayed") for answer in (first, again, last)]
    assert replays == [None, "true", "true"]
    scene.shop = next_key
    assert scene.payments() == [first.json()["id"]]


def test_a_retry_in_the_customers_next_session_is_the_same_intent(scene):
    path = f"/v1/payments/{scene.asks()}/confirm"
    first = scene.api.send("POST", path, {}, key="pay-8", Authorization=scene.customer)
    scene.api.call("POST", "/v1/auth/logout", {}, Authorization=scene.customer)
    scene.customer = people.sign_in(scene.api, scene.phone, scene.codes)
    again = scene.api.send("POST", path, {}, key="pay-8", Authorization=scene.customer)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert scene.statement() == [-20_00, START]
