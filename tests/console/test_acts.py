"""What operators do at the console: as by the JSON calls, with the same line in the audit trail."""

import pytest

from payments import origin
from payments.db import Sql
from payments.settlement import adjustments, payouts
from tests.checkout.world import did
from tests.console import desk as desks
from tests.console.desk import BOB, Desk, shown

REQUEUE = "/admin/console/requeue"
LIMITS = "/admin/console/limits"
READ_ONLY = "/admin/console/read_only"
APPROVALS = "/admin/console/approvals"

DELIVERY = Sql("SELECT status FROM deliveries WHERE id = :id")
ENDPOINT = Sql("SELECT status FROM webhook_endpoints WHERE id = :id")
CHECKS = Sql("SELECT count(*) FROM endpoint_checks WHERE endpoint_id = :id")


@pytest.fixture
def bob(app) -> Desk:
    """The second operator."""
    made = Desk(app)
    made.sign_in(BOB)
    return made


@pytest.fixture
def shop(app, world):
    """The shared world, with its endpoint failing and all its deliveries failed."""
    with app.app_context():
        world.failed = desks.fail(world)
    return world


def page_of(shop) -> str:
    return f"/admin/console/webhooks/{shop.endpoint}"


def statuses(app, shop) -> set[str]:
    with app.app_context():
        return {DELIVERY.scalar(id=delivery) for delivery in shop.failed}


def test_the_webhooks_page_shows_who_fails_and_with_which_answer(desk, shop):
    page = desk.get("/admin/console/webhooks")
    text = shown(page)
    assert shop.endpoint in text and "failing" in text and "503" in text
    assert "7, since" in text and "open, tried again" in text
    assert "<script>alert" not in page.text and "&lt;script&gt;alert" in page.text


def test_an_endpoints_page_shows_its_answers_and_deliveries(desk, shop):
    page = desk.get(page_of(shop))
    for known in (shop.endpoint, *shop.failed, "https://shop.example/hook", "41 ms"):
        assert known in page.text
    assert "<script>alert" not in page.text and "onerror=alert(2)>" not in page.text


@pytest.mark.parametrize("which", ["we_" + "0" * 32, "nothing", "%3Cscript%3E"])
def test_an_endpoint_that_is_not_there_is_told_so(desk, which):
    answer = desk.get(f"/admin/console/webhooks/{which}")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    refused = desk.sends(f"/admin/console/webhooks/{which}/toggle", status="disabled", reason="x")
    assert refused.status_code == 404


def test_disabling_and_enabling_with_a_reason(app, desk, shop):
    said = desk.does(f"{page_of(shop)}/toggle", status="disabled", reason="they asked us to wait")
    assert said == "The endpoint is disabled."
    with app.app_context():
        assert ENDPOINT.scalar(id=shop.endpoint) == "disabled"
    line = desk.trail(action="webhook_endpoint.toggle", subject=shop.endpoint)[0]
    assert (line["actor"], line["after"]["reason"]) == ("operator:ann", "they asked us to wait")
    assert "by an operator" in shown(desk.get("/admin/console/webhooks"))
    assert desk.does(f"{page_of(shop)}/toggle", status="enabled", reason="mended").endswith(
        "enabled."
    )


def test_a_check_is_asked_for_once_however_often_the_button_is_pressed(app, desk, shop):
    with app.app_context():
        before = CHECKS.scalar(id=shop.endpoint)
    for _ in range(2):
        desk.does(f"{page_of(shop)}/check", intent="pressed twice")
    with app.app_context():
        assert CHECKS.scalar(id=shop.endpoint) == before + 1
    assert "waiting" in shown(desk.get(page_of(shop)))


def test_requeue_shows_first_what_it_would_do(app, desk, shop):
    nothing = desk.get(REQUEUE)
    assert "Preview" in nothing.text and "deliveries match" not in shown(nothing)
    page = desk.get(f"{REQUEUE}?status=failed&endpoint={shop.endpoint}&event_type=&since=&until=")
    text = shown(page)
    assert f"{len(shop.failed)} failed deliveries match." in text
    assert "under an hour" in text and "http_5xx" in text
    assert statuses(app, shop) == {"failed"}


def test_a_preview_is_a_look_in_read_only_mode_too_and_a_wrong_one_is_no_act(desk, shop):
    desk.does("/admin/console/read_only", on="yes", reason="a look")
    try:
        page = desk.get(f"{REQUEUE}?status=failed&endpoint={shop.endpoint}")
        assert page.status_code == 200
        assert "failed deliveries match" in shown(page)
    finally:
        desk.does("/admin/console/read_only", on="no", reason="looked")
    before = len(desk.trail())
    for wrong in ("status=bogus", "endpoint=we_x", "since=yesterday"):
        assert desk.get(f"{REQUEUE}?{wrong}").status_code == 422
    assert len(desk.trail()) == before


def test_requeue_makes_them_due_with_who_did_it(app, desk, shop):
    said = desk.does(REQUEUE, status="failed", endpoint=shop.endpoint, limit="1", rate="5")
    assert said.startswith("1 delivery is due again, the last of them at ")
    assert said.endswith(f"{len(shop.failed) - 1} more match: send this again for them.")
    assert statuses(app, shop) == {"failed", "pending"}
    desk.does(REQUEUE, status="failed", endpoint=shop.endpoint, limit="1000", rate="5")
    assert statuses(app, shop) == {"pending"}
    line = desk.trail(action="deliveries.requeue")[0]
    assert (line["actor"], line["after"]["rate"]) == ("operator:ann", 5)
    assert line["before"]["endpoint"] == shop.endpoint
    again = desk.does(REQUEUE, status="failed", endpoint=shop.endpoint)
    assert again == "0 deliveries are due again."


def test_requeue_by_time_and_type(desk, shop):
    text = shown(desk.get(f"{REQUEUE}?status=failed&since=2099-01-01T00:00&until="))
    assert "No failed delivery matches." in text
    text = shown(desk.get(f"{REQUEUE}?status=failed&until=2099-01-01T00:00:00Z"
                          f"&event_type=refund.succeeded&endpoint={shop.endpoint}"))  # fmt: skip
    assert "1 failed delivery matches." in text


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("status=pending", "status must be"),
        ("endpoint=we_1", "endpoint does not have the form"),
        ("event_type=x", "event type must be"),
        ("since=yesterday", "since must be a time such as"),
        ("until=2026-13-40T99:99", "until must be a time such as"),
    ],
)
def test_a_preview_of_nonsense_says_what_is_wrong(desk, query, fault):
    answer = desk.get(f"{REQUEUE}?{query}")
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    assert fault in shown(answer)


@pytest.mark.parametrize(
    ("path", "fields", "fault"),
    [
        (f"{LIMITS}/rate_limit", {"per_minute": "0", "auth_boost": "2"}, "must be at least 1"),
        (f"{LIMITS}/rate_limit", {"per_minute": "many"}, "per minute must be an integer"),
        (f"{LIMITS}/rate_limit", {"per_minute": "5", "expires_in": "9" * 30}, "expires in must be"),
        (f"{LIMITS}/otp", {}, "must have at least one of"),
        (f"{LIMITS}/otp", {"per_hour": "-1"}, "per hour must be an integer"),
        (READ_ONLY, {"on": "yes", "reason": ""}, "reason must have at least 1"),
        (REQUEUE, {"status": "failed", "limit": "1001"}, "limit must be at most 1000"),
        (REQUEUE, {"status": "failed", "rate": "0"}, "rate must be at least 1"),
    ],
)
def test_a_form_of_nonsense_says_what_is_wrong_and_changes_nothing(desk, path, fields, fault):
    answer = desk.sends(path, **fields)
    assert answer.status_code == 422
    assert fault in shown(answer)
    line = desk.trail(actor="operator:ann")[0]
    assert line["outcome"] == "invalid_request"
    assert answer.headers["X-Request-ID"] == line["request_id"]


def test_a_limit_for_an_hour_and_back(desk):
    said = desk.does(
        f"{LIMITS}/rate_limit", per_minute="777", auth_boost="3", exempt_otp="yes",
        expires_in="3600",
    )  # fmt: skip
    assert said.startswith("The rate limit is changed until ")
    page = desk.get(LIMITS)
    assert 'value="777"' in page.text and "changed for a while" in shown(page)
    assert 'value="yes" checked' in page.text
    assert desk.does(f"{LIMITS}/rate_limit/revert") == (
        "The rate limit is the environment's again."
    )
    actions = [line["action"] for line in desk.trail(subject="rate_limit")[:2]]
    assert actions == ["rate_limit.revert", "rate_limit.change"]


def test_limits_of_codes_for_good_and_back(desk):
    said = desk.does(f"{LIMITS}/otp", per_phone_hour="6", per_address_hour="99", per_hour="999")
    assert said == "The limits of one-time codes are changed for good."
    desk.does(f"{LIMITS}/otp", per_hour="5", expires_in="900")
    assert desk.does(f"{LIMITS}/otp/revert").endswith("are as it was set for good again.")
    assert 'value="999"' in desk.get(LIMITS).text
    assert desk.does(f"{LIMITS}/otp/revert").endswith("are the environment's again.")


def test_stopping_writes_and_letting_them_go_on(desk, shop):
    assert "Writes go on." in shown(desk.get(READ_ONLY))
    try:
        said = desk.does(READ_ONLY, on="yes", reason="moving the database")
        assert said == "Writes are stopped, and the last one has ended."
        assert "By operator:ann" in shown(desk.get(READ_ONLY))
        assert "Writes are stopped." in shown(desk.get("/admin/"))
        refused = desk.sends(REQUEUE, status="failed", endpoint=shop.endpoint)
        assert refused.status_code == 503
        assert "takes no writes" in shown(refused)
        assert desk.get(f"{REQUEUE}?status=failed").status_code == 200
        assert desk.get(f"/admin/console/search?q={shop.payment}").status_code == 200
    finally:
        assert desk.does(READ_ONLY, on="no", reason="moved") == "Writes go on."
    assert desk.trail(action="read_only.on")[0]["after"]["reason"] == "moving the database"


def test_the_environment_stops_writes_whatever_the_switch_says(other):
    desk = Desk(other(READ_ONLY="true"))
    desk.sign_in()  # one can sign in, look, and sign out
    assert "By the environment" in shown(desk.get(READ_ONLY))
    assert desk.does(READ_ONLY, on="no", reason="x").startswith("Your switch is off;")
    assert desk.sends("/admin/console/sign_out").status_code == 303


@pytest.fixture
def proposed(app, world) -> tuple[str, str]:
    """A payout and an adjustment that Ann proposed."""
    with app.app_context(), origin.acting("operator:ann"):
        payout = did(lambda: payouts.propose(world.merchant, 1_00, "EUR", f"week {desks.HOSTILE}"))
        adjustment = did(lambda: adjustments.propose("fees", world.merchant, 50, "EUR", "goodwill"))
    return payout.id, adjustment.id


def test_what_one_proposed_another_approves(app, desk, bob, proposed):
    payout, adjustment = proposed
    page = desk.get(APPROVALS)
    assert "1.00 EUR" in shown(page) and "another operator approves it" in shown(page)
    assert f"{payout}/approve" not in page.text and "<script>alert" not in page.text
    assert f"{payout}/approve" in bob.get(APPROVALS).text
    refused = desk.sends(f"{APPROVALS}/payouts/{payout}/approve")
    assert (refused.status_code, "may not approve it" in shown(refused)) == (403, True)
    said = bob.does(f"{APPROVALS}/payouts/{payout}/approve")
    assert said == "The payout is approved: it is paid."
    with app.app_context():
        assert payouts.proposals.get(payout).status == "approved"
    outcomes = {line["outcome"]: line["actor"] for line in desk.trail(subject=payout)}
    assert outcomes["second_operator_needed"] == "operator:ann"
    assert desk.trail(subject=payout, action="payout.approve")[0]["actor"] == "operator:bob"
    again = bob.sends(f"{APPROVALS}/payouts/{payout}/approve")
    assert (again.status_code, "is decided once" in shown(again)) == (409, True)
    assert bob.does(f"{APPROVALS}/adjustments/{adjustment}/reject", reason="no") == (
        "The adjustment is rejected."
    )
    assert payout not in bob.get(APPROVALS).text


def test_approving_an_adjustment_and_rejecting_a_payout(app, desk, bob, proposed):
    payout, adjustment = proposed
    assert bob.sends(f"{APPROVALS}/payouts/{payout}/reject").status_code == 422  # no reason
    assert bob.does(f"{APPROVALS}/payouts/{payout}/reject", reason="twice") == (
        "The payout is rejected."
    )
    said = bob.does(f"{APPROVALS}/adjustments/{adjustment}/approve")
    assert said == "The adjustment is approved: the money has moved."
    assert bob.sends(f"{APPROVALS}/adjustments/adj_x/approve").status_code == 404


def test_the_trail_with_filters_page_by_page(desk, shop):
    for _ in range(52):
        desk.get("/admin/console/search?q=" + shop.payment)
    page = desk.get("/admin/console/audit?actor=operator:ann&action=console.search&subject=")
    assert page.text.count('<li class="card">') == 50
    older = page.text.partition('class="button" href="')[2].partition('"')[0]
    following = desk.get("/admin/console/audit" + older.replace("&amp;", "&"))
    assert following.status_code == 200
    assert 2 <= following.text.count('<li class="card">') <= 50
    assert "Nothing matches." in shown(desk.get("/admin/console/audit?subject=nobody"))
    assert "Nothing matches." in shown(desk.get("/admin/console/audit?from=2099-01-01T00:00"))
    assert "Nothing matches." not in shown(desk.get("/admin/console/audit?to=2099-01-01T00:00"))


@pytest.mark.parametrize(
    ("query", "status"),
    [("from=x", 422), ("cursor=forged", 422), ("actor=" + "x" * 300, 422), ("actor=%00", 422)],
)
def test_a_filter_of_nonsense_says_what_is_wrong(desk, query, status):
    answer = desk.get(f"/admin/console/audit?{query}")
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
