"""Where webhooks may go: judged by address, in every form an address can hide in."""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from payments.errors import Busy, InvalidRequest
from payments.webhooks import names, targets
from payments.webhooks.faults import Deadline, NameFault

REFUSED = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::a00:1
64:ff9b::169.254.169.254 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1::1 2001:db8::1 2002:7f00:1::1
2002:a9fe:a9fe::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%1 fec0::1 ff02::1
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.0.1.1 193.0.0.1
223.255.255.255 168.63.129.17 2606:4700::1111 2a00:1450::1 2001:4860:4860::8888
::ffff:8.8.8.8 64:ff9b::808:808
""".split()

MERCHANT = "mer_1"

production = pytest.mark.usefixtures("in_production")


@pytest.fixture
def in_production(make_app):
    """The guard as it stands in production."""
    with make_app(WEBHOOK_ALLOW_PRIVATE_TARGETS="false").app_context():
        yield


pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
def resolve(monkeypatch):
    """`resolve("name", "1.2.3.4", ...)`: what the resolver says of the name from here on."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look(host, port, **more):
        if host not in known:
            return real(host, port, **more)
        found = []
        for text in known[host]:
            found += real(text, port, **more)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return lambda name, *addresses: known.__setitem__(name, list(addresses))


def refusal(url: str) -> str:
    with pytest.raises(InvalidRequest) as refused:
        targets.check(url, MERCHANT)
    (fault,) = refused.value.faults
    assert fault.pointer == "/url"
    return fault.detail


@pytest.mark.parametrize("text", REFUSED)
def test_an_address_that_is_not_public(text, database_kind):
    assert not targets.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_that_is_public(text, database_kind):
    assert targets.is_public(ipaddress.ip_address(text))


@production
@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]:8443/",
        "https://localhost/x",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_a_private_host_is_refused_in_every_spelling(url):
    assert "public" in refusal(url)


@production
def test_every_address_of_a_name_is_judged(resolve):
    resolve("two.example", "1.1.1.1", "10.0.0.7")
    assert "public" in refusal("https://two.example/x")
    resolve("two.example", "10.0.0.7", "1.1.1.1")
    assert "public" in refusal("https://two.example/x")
    resolve("two.example", "1.1.1.1", "2606:4700::1111")
    targets.check("https://two.example/x", MERCHANT)


@production
def test_a_public_address_is_taken_as_it_stands():
    targets.check("https://1.1.1.1:8443/hook?x=1", MERCHANT)
    targets.check("https://[2606:4700::1111]/hook", MERCHANT)


@production
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://shop.example/x", "begin with https://"),
        ("ftp://shop.example/x", "begin with https://"),
        ("//shop.example/x", "begin with https://"),
        ("shop.example", "begin with https://"),
        ("https://user@shop.example/", "user or password"),
        ("https://user:pass@shop.example/", "user or password"),
        ("https://shop.example/#part", "fragment"),
        ("https://shop.example/x#", "fragment"),
        ("https://shop.example:0/", "port"),
        ("https://shop.example:22/", "port"),
        ("https://shop.example:80/", "port"),
        ("https://shop.example:1023/", "port"),
        ("https://shop.example:65536/", "not a URL"),
        ("https://shop.example:port/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https:///x", "host name"),
        ("https://[v1.x]/", "host name"),
        ("https://[127.0.0.1]/", "URL"),
        ("https://[1:2]/", "URL"),
        ("https://[fe80::1%251]/", "host name"),
        ("https://sh op.example/", "printable ASCII"),
        ("https://shop.example\\@evil.example/", "printable ASCII"),
        ("https://käse.example/", "printable ASCII"),
        ("https://shop.example/\x00", "printable ASCII"),
        ("https://-shop.example/", "host name"),
        ("https://shop..example/", "host name"),
        (f"https://{'a' * 64}.example/", "host name"),
        ("https://" + ".".join(["a" * 60] * 5) + "/", "host name"),
        ("https://shop.example/" + "x" * 2048, "2048"),
    ],
)
def test_a_url_in_bad_form_is_refused(url, why):
    assert why in refusal(url)


@production
def test_a_name_that_does_not_resolve_is_refused():
    assert "does not resolve" in refusal("https://nowhere.invalid/x")


@pytest.fixture
def hanging(monkeypatch) -> Iterator[list[str]]:
    """Names under `slow.example` do not resolve until the test is over; all that were asked for."""
    over = threading.Event()
    asked: list[str] = []
    real = socket.getaddrinfo

    def look(host, port, **more):
        asked.append(host)
        if host.endswith("slow.example"):
            over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real("1.1.1.1", port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(targets, "_saves", targets.Saves())
    yield asked
    over.set()


def put_off(merchant_id: str, name: str = "slow.example") -> float:
    """How long it took to be told to come back."""
    begun = time.monotonic()
    with pytest.raises(Busy) as told:
        targets.check(f"https://{name}/x", merchant_id)
    assert told.value.retry_after_s == 5
    return time.monotonic() - begun


@production
def test_a_name_that_resolves_slowly_is_waited_for_a_second(hanging):
    assert 0.9 < put_off(MERCHANT) < 2


@production
def test_a_merchant_looks_up_one_name_at_a_time_until_the_resolver_has_given_up(
    hanging, monkeypatch
):
    monkeypatch.setattr(targets, "SAVE_LIMIT_S", 0.05)
    put_off(MERCHANT)
    assert put_off(MERCHANT, "well.example") < 0.05
    assert hanging == ["slow.example"]
    targets.check("https://well.example/x", "mer_2")
    targets.check("https://well.example/x", "mer_2")
    targets.check("https://1.1.1.1/x", MERCHANT)  # no name, no turn


@production
def test_a_process_looks_up_a_few_names_at_a_time(hanging, monkeypatch):
    monkeypatch.setattr(targets, "SAVE_LIMIT_S", 0.05)
    for number in range(targets.SAVES):
        put_off(f"mer_{number}", f"{number}.slow.example")
    assert put_off("mer_other", "well.example") < 0.05
    assert "well.example" not in hanging


@production
def test_what_is_saved_takes_no_slot_of_what_is_sent(hanging, monkeypatch):
    monkeypatch.setattr(targets, "SAVE_LIMIT_S", 0.05)
    monkeypatch.setattr(names, "_slots", threading.BoundedSemaphore(1))
    put_off(MERCHANT)
    assert names.lookup("well.example", 443, Deadline(5))
    with pytest.raises(NameFault, match="in time"):
        names.lookup("slow.example", 443, Deadline(0.05))
    targets.check("https://well.example/x", "mer_2")


@production
def test_a_turn_is_given_back(resolve):
    resolve("two.example", "1.1.1.1", "10.0.0.7")
    for _ in range(2):
        assert "public" in refusal("https://two.example/x")
        assert "does not resolve" in refusal("https://nowhere.invalid/x")


@production
def test_without_a_thread_to_spare_it_is_put_off(monkeypatch):
    monkeypatch.setattr(targets, "_saves", targets.Saves())

    def none(_thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    put_off(MERCHANT)
    monkeypatch.undo()
    targets._saves.begin(MERCHANT)
    targets._saves.end(MERCHANT)


def test_in_development_loopback_and_http_are_fine(make_app):
    with make_app().app_context():
        targets.check("http://localhost:1/x", MERCHANT)
        targets.check("http://127.0.0.1:80/x", MERCHANT)
        targets.check("http://[::1]:8080/x", MERCHANT)
        targets.check("https://shop.example:22/x", MERCHANT)
        assert "begin with https:// or http://" in refusal("ftp://shop.example/x")


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "\ud800.example"])
def test_a_host_that_is_none_is_a_name_that_does_not_resolve(host, database_kind):
    with pytest.raises(NameFault, match="not resolve|not a host name"):
        names.lookup(host, 443, Deadline(5))


def test_a_name_without_addresses_is_a_fault(monkeypatch, database_kind):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(socket.AF_UNIX, 1, 0, "", "/x")])
    with pytest.raises(NameFault, match="no address"):
        names.lookup("shop.example", 443, Deadline(5))


def test_lookups_are_bounded(monkeypatch, database_kind):
    over = threading.Event()
    monkeypatch.setattr(names, "_slots", threading.BoundedSemaphore(1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    with pytest.raises(NameFault, match="in time"):
        names.lookup("slow.example", 443, Deadline(0.1))
    with pytest.raises(NameFault, match="at once"):
        names.lookup("other.example", 443, Deadline(0.1))
    over.set()
    assert names._slots.acquire(timeout=5), "the slot of a lookup that ended is free again"


def test_no_time_left_is_a_fault_of_the_name(database_kind):
    with pytest.raises(NameFault, match="was over"):
        names.lookup("shop.example", 443, Deadline(0))
    ended = threading.Event()
    with pytest.raises(NameFault, match="was over"):
        names.resolve("nowhere.invalid", 443, Deadline(0), ended.set)
    assert ended.wait(30)
