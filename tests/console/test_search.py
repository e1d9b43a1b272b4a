"""One search box: whatever of a story is sought, its page shows all of it, in time order."""

import re

import pytest

from payments import db, ids, origin
from payments.customers import sessions
from payments.db import Sql
from payments.operations import freezing
from payments.settlement import payouts
from payments.tracing import rows, seeking, stories
from payments.transfers import transfers
from payments.webhooks import endpoints, troubles
from tests.api.calls import session_of
from tests.checkout import world as rooms
from tests.console import desk as desks
from tests.console.desk import HOSTILE, PHONE, Desk, shown
from tests.webhooks import world as hooks

SEARCH = "/admin/console/search"
ENTRIES = Sql("SELECT id FROM entries WHERE subject_id = :id")
EVENTS = Sql("SELECT id FROM events WHERE object_id = :id ORDER BY created_at, id")
HASHES = Sql("SELECT code_hash FROM otp_challenges")


def parts(app, world) -> dict[str, str]:
    """One id of each kind that is part of the payment's story."""
    with app.app_context():
        return {
            "payment": world.payment,
            "refund": world.refund,
            "event": EVENTS.all(id=world.payment)[0].id,
            "delivery": world.failed[0],
            "attempt": world.attempts[0],
            "entry": ENTRIES.scalar(id=world.refund),
            "request": world.request_id,
        }


@pytest.mark.parametrize(
    "sought", ["payment", "refund", "event", "delivery", "attempt", "entry", "request"]
)
def test_everything_tied_to_it_is_on_one_page_in_time_order(app, desk, world, sought):
    found = parts(app, world)
    answer = desk.sends(SEARCH, q=f"  {found[sought]} ")
    assert answer.headers["Location"] == f"{SEARCH}?q={found[sought]}"
    page = desk.get(answer.headers["Location"])
    assert page.status_code == 200
    for kind, part in found.items():
        if kind != "attempt":
            assert part in page.text, kind
    for told in ("payment.created", "payment.succeeded", "refund.succeeded", "money moved: payment",
                 "money moved: refund", "attempt 1: 503", "20.00 EUR", "-5.00 EUR"):  # fmt: skip
        assert told in shown(page), told
    times = re.findall(r'<time datetime="([^"]+)" class="hint">', page.text)
    assert len(times) > 8 and times == sorted(times)
    if sought not in ("payment", "refund"):
        assert "what you sought" in page.text


def test_who_looked_stands_in_the_trail(desk, world):
    desk.get(f"{SEARCH}?q={world.payment}")
    line = desk.trail(action="console.search")[0]
    assert (line["actor"], line["subject"]) == ("operator:ann", world.payment)
    assert line["outcome"] == "done"
    assert "console.search" not in desk.get(f"{SEARCH}?q={world.payment}").text


def test_a_phone_leads_to_its_customer_and_stands_nowhere_whole(app, desk, world):
    desk.client.post("/v1/auth/otp", json={"phone": PHONE})
    answer = desk.sends(SEARCH, q="+49 151 1234 5678")
    assert answer.headers["Location"] == f"{SEARCH}?q={world.customer}"
    page = desk.get(answer.headers["Location"])
    text = shown(page)
    for told in ("Customer", "Wallet", "one-time code asked for", "payment", "deposit", "+49"):
        assert told in text
    assert world.payment in page.text
    assert PHONE not in page.text
    with app.app_context():
        hashes = [row.code_hash for row in HASHES.all()]
    assert hashes and not any(code in page.text for code in hashes)


def test_a_phone_without_a_customer_shows_what_was_asked_of_it(app, desk, world):
    phone = "+4915112340001"
    with app.app_context():
        rooms.asks(world.merchant, 3_00, customer_phone=phone)
    page = desk.sends(SEARCH, q=phone)
    assert page.status_code == 200
    assert "no customer yet" in shown(page) and "3.00 EUR" in shown(page)
    assert phone not in page.text
    line = desk.trail(action="console.search")[0]
    assert (line["subject"], line["after"]["for"]) == (None, "phone")
    assert phone not in str(line) and line["after"]["what"].endswith("001")


def test_a_phone_in_a_link_is_not_sought(desk):
    before = len(desk.trail(action="console.search"))
    page = desk.get(f"{SEARCH}?q=%2B4915112345678")
    assert "Search for one of these" in shown(page)
    assert len(desk.trail(action="console.search")) == before


NUMBERS = ("015112345678", "004915112345678", "4915112345678", "0151-12345678", "0151.123456789")


TEXTS = (*NUMBERS, "Mustermann", "erika.mustermann", "0151-12345678x")


def test_what_may_be_a_person_stands_in_no_url_and_not_in_the_trail(other):
    desk = Desk(other(DEFAULT_REGION=""))
    desk.sign_in()
    for text in TEXTS:
        page = desk.sends(SEARCH, q=text)
        assert page.status_code == 404, text
        assert "Location" not in page.headers
        assert "Nothing is tied to" in shown(page)
        assert (f"<code>{text}<" in page.text) == (text not in NUMBERS)
        line = desk.trail(action="console.search")[0]
        assert line["outcome"] == "not_found"
        assert text not in str(line)
        assert line["after"]["what"].startswith(text[:3] + "•" if text in NUMBERS else "hmac:")
    before = len(desk.trail(action="console.search"))
    for text in NUMBERS:
        assert "Search for one of these" in shown(desk.get(f"{SEARCH}?q={text}"))
    assert len(desk.trail(action="console.search")) == before


def test_a_request_whose_id_is_digits_is_found_by_the_form_alone(app, desk, world):
    with app.app_context(), origin.acting("operator:ann", "20260301120000000001"):
        asked = rooms.asks(world.merchant, 4_00)
    page = desk.sends(SEARCH, q="20260301120000000001")
    assert page.status_code == 200
    assert asked.id in page.text and "what you sought" in page.text
    assert "q=20260301" not in page.text
    assert desk.trail(action="console.search")[0]["after"]["what"] == "202••••••••••••••001"


def test_a_request_that_its_caller_named(app, desk, world):
    with app.app_context(), origin.acting("operator:ann", "checkout-7f3a.17"):
        asked = rooms.asks(world.merchant, 4_00)
    page = desk.get(f"{SEARCH}?q=checkout-7f3a.17")
    assert asked.id in page.text and "4.00 EUR" in shown(page)


def test_a_payment_by_its_code(app, desk, world):
    with app.app_context():
        code = rooms.raw(world.payment).code
    assert world.payment in desk.get(f"{SEARCH}?q={code.lower()}").text


def test_merchants_endpoints_wallets_holds_and_movements(app, desk, world):
    with app.app_context():
        held = rooms.asks(world.merchant, 6_00, customer_phone=PHONE, capture="manual")
        rooms.confirms(world.customer, held.id)
        hold = rooms.hold(held.id)
        rooms.cancels(world.merchant, held.id)
        wallet = rooms.accounts.of_owner(world.customer, "customer")[0].id
        ping = rooms.did(lambda: endpoints.ping(world.merchant, world.endpoint))
        (orphan,) = hooks.happen(world.merchant)  # of a payment that is not there
        (deposit,) = [row.id for row in rows.DEPOSITS.all(id=world.customer)][:1]
    for sought, told in {
        world.merchant: "Merchant",
        world.endpoint: "Its health and last answers",
        wallet: "money moved: deposit",
        hold.id: "hold released",
        deposit: "money moved: deposit",
        ping: "ping",
        orphan: "payment.succeeded",
    }.items():
        page = desk.get(f"{SEARCH}?q={sought}")
        assert page.status_code == 200, sought
        assert told in shown(page), (sought, shown(page))
        assert "<script>alert" not in page.text and "onerror=alert(2)>" not in page.text


def test_the_whole_of_what_a_customer_did(app, desk, world):
    phone, other = "+4915112340077", "+4915112340078"
    with app.app_context():
        ann, bob = rooms.customer(phone, has=50_00), rooms.customer(other, has=50_00)
        shop = rooms.merchant(phone, "Ann's own")
        sent = rooms.did(lambda: transfers.create(ann, other, 7_00, "EUR"))
        got = rooms.did(lambda: transfers.create(bob, phone, 3_00, "EUR"))
        signed_in = rooms.did(lambda: sessions.start(ann, "A phone"))
        started = session_of(signed_in.access_token)
        rooms.did(lambda: sessions.end(ann, started))
        wallet = rooms.accounts.of_owner(ann, "customer")[0].id
        with origin.acting("operator:bob"):
            rooms.did(lambda: freezing.freeze(wallet, "looked odd"))
            payout = rooms.did(lambda: payouts.propose(world.merchant, 1_00, "EUR", None))
    asked = desk.client.post("/v1/auth/otp", json={"phone": phone}).json
    assert asked is not None
    wrong = {"challenge_id": asked["challenge_id"], "code": "000000"}
    assert desk.client.post("/v1/auth/token", json=wrong).status_code == 401
    page = desk.get(desk.sends(SEARCH, q=phone).headers["Location"])
    text = shown(page)
    for told in (
        *("signed in", "A phone", "session ended", "transfer to", "transfer from", "frozen"),
        *("merchant applied", "wrong one-time code", "wallet.freeze", "looked odd"),
    ):
        assert told in text, told
    for part in (sent.id, got.id, shop, wallet):
        assert part in page.text
    for sought, told in ((sent.id, "money moved: transfer"), (payout.id, "payout.propose")):
        assert told in shown(desk.get(f"{SEARCH}?q={sought}"))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("pay_" + "0" * 32, 404),
        ("rid_" + "f" * 32, 404),
        ("dlv_" + "0" * 32, 404),
        ("nothing-known", 404),
        ("+49", 200),
        ("x", 200),
        ("", 200),
        (HOSTILE, 200),
        ("%00", 200),
        ("' OR 1=1 --", 200),
    ],
)
def test_what_is_not_there_is_told_so(desk, text, status):
    for answer in (
        desk.client.get(SEARCH, query_string={"q": text}),
        desk.sends(SEARCH, q=text),
    ):
        if answer.status_code == 303:
            answer = desk.get(answer.headers["Location"])
        assert answer.status_code == status
        assert "What can be sought" in shown(answer) or "Search for one" in shown(answer)
        assert "<script>alert" not in answer.text


def test_what_a_number_may_be(app):
    with app.app_context():
        assert seeking.read("0151 12345678") == seeking.Sought("phone", PHONE)
        assert seeking.read("20260301120000000001").kind == "number"
        assert seeking.read("+49 1").kind == "nothing"
        assert seeking.read("'pay_1',").kind == "nothing"
        assert seeking.read('"checkout.1"').text == "checkout.1"


def test_amounts_as_people_read_them():
    told = [stories.amount(minor, code) for minor, code in
            [(5, "EUR"), (-1234, "EUR"), (7, "JPY"), (1, "KWD"), (0, "EUR")]]  # fmt: skip
    assert told == ["0.05 EUR", "-12.34 EUR", "7 JPY", "0.001 KWD", "0.00 EUR"]


def test_every_statement_goes_by_an_index_however_full_the_tables_are(postgres, make_app):
    """Sequential scans are made dear, so that one is only left where nothing else is possible."""
    app = make_app(DB_URL=postgres, REDIS_URL="")
    with app.app_context():
        world = desks.world()
        listed = f'["{world.payment}"]'
        seen = {name: one for name, one in vars(rows).items() if isinstance(one, Sql)}
        many = [seen[name] for name in seen] + list(rows.OBJECTS.values())
        many += [troubles._ANSWERS, *rows._EVENTS_OF.values(), *rows._ENTRIES_OF.values()]
        brought = (rows._EVENTS_OF[False], rows._ENTRIES_OF[False])
        binds = {
            "ids": listed, "id": world.payment, "phone": PHONE, "code": "x",
            "request_id": ids.new("rid"), "first": "evt_0", "last": "evt_1",
            "merchant_id": world.merchant, "most": 5, "limit": 5,
        }  # fmt: skip
        assert len(many) > 30
        for statement in many:
            names = set(re.findall(r"(?<!:):(\w+)", statement.text))
            with db.unit_of_work():
                Sql("SET LOCAL enable_seqscan = off", writes=True).run()
                if statement in (*brought, rows._AUDIT_OF):
                    Sql("SET LOCAL enable_sort = off", writes=True).run()
                explain = Sql(f"EXPLAIN {statement.text}", sqlite="SELECT 1")
                how = "\n".join(
                    row[0] for row in explain.all(**{name: binds[name] for name in names})
                )
            assert "Seq Scan" not in how, (statement.text, how)
            if statement in (*brought, rows._AUDIT_OF):
                # In the index's order, so that a request id of very many rows costs no more.
                assert "Sort" not in how, (statement.text, how)
            if statement in brought:
                assert re.search(
                    r"Index Scan (Backward )?(using|on) ix_(events|entries)_request_id", how
                ), how
