"""The console in a real Chromium, on a phone's screen and on a desk's."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import redis
from playwright.sync_api import Browser, Page, sync_playwright
from rq import Queue
from rq.serializers import JSONSerializer
from werkzeug.serving import make_server

from payments.db import Sql
from tests import databases, redis_server
from tests.children import ServerMissing
from tests.console import desk as desks
from tests.console.desk import ANN, COOKIE, PHONE, Desk, World

pytestmark = pytest.mark.slow

WIDTHS = (360, 1280)
MENU = ("Overview", "Webhooks", "Requeue", "Limits", "Read-only", "Approvals", "Audit")
STATUSES = Sql("SELECT DISTINCT status FROM deliveries WHERE endpoint_id = :id")


@dataclass
class Site:
    """The console, served, and what the browser did that it should not have."""

    url: str
    world: World
    app: Any
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium: no browser of another make is downloaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise ServerMissing("chromium is missing: see ops/dev/servers.sh")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def served(servers, worker_number, tmp_path_factory) -> Iterator[Site]:
    """One service, on SQLite and with Redis, with a world in it."""
    folder = tmp_path_factory.mktemp("browser")
    with ExitStack() as stack:
        environ = databases.environ_for(
            stack.enter_context(databases.fresh_sqlite(servers)), folder, **desks.SETTINGS
        )
        environ["REDIS_URL"] = redis_server.address(servers.redis_port, worker_number)
        app = stack.enter_context(databases.app_for(databases.settings_for(environ, folder)))
        with app.app_context():
            world = desks.world()
        url = stack.enter_context(_serving(make_server("127.0.0.1", 0, app, threaded=True)))
        yield Site(url, world, app)


@contextmanager
def _serving(server: Any) -> Iterator[str]:
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: Browser, served: Site) -> Iterator[Page]:
    """Ann's browser, signed in. It notes every fault, and every request that leaves our host."""
    context = browser.new_context(viewport={"width": request.param, "height": 780})
    context.set_default_timeout(10_000)
    made = context.new_page()
    served.faults.clear()
    made.on("console", lambda told: _note(served, told.text if told.type == "error" else None))
    made.on("pageerror", lambda error: _note(served, str(error)))
    made.on("dialog", lambda dialog: _note(served, dialog.message))
    made.on("request", lambda asked: _must_be_ours(served, asked.url))
    desk = Desk(served.app)
    desk.sign_in()
    context.add_cookies(
        [
            {
                "name": COOKIE,
                "value": desk.cookie(),
                "domain": "127.0.0.1",
                "path": "/admin",
                "httpOnly": True,
                "sameSite": "Strict",  # as it is set: see the tests of the door
            }
        ]
    )
    yield made
    context.close()
    assert served.faults == []


def _note(site: Site, fault: str | None) -> None:
    if fault is not None:
        site.faults.append(fault)


def _must_be_ours(site: Site, url: str) -> None:
    if urlsplit(url).netloc != urlsplit(site.url).netloc and not url.startswith("data:"):
        site.faults.append(f"asked {url}")


def fits(page: Page) -> bool:
    """Whether nothing of the page lies beside the screen."""
    width = "document.documentElement.{}Width"
    return bool(page.evaluate(f"{width.format('scroll')} <= {width.format('client')}"))


def says(page: Page, text: str) -> None:
    """Wait until the page shows this."""
    page.get_by_text(text).filter(visible=True).first.wait_for()


def test_every_page_fits_the_screen_and_has_a_title_of_its_own(page, served):
    seen = set()
    page.goto(f"{served.url}/admin/")
    for name in MENU:
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        page.get_by_role("heading", level=1, name=name, exact=True).wait_for()
        assert fits(page), name
        seen.add(page.title())
        unnamed = page.locator("input:not([type=hidden]), select").evaluate_all(
            "fields => fields.filter(field => !field.labels.length).map(field => field.name)"
        )
        assert unnamed == [], name
    assert len(seen) == len(MENU)
    page.goto(f"{served.url}/admin/console/webhooks/{served.world.endpoint}")
    assert fits(page)


def test_requeue_with_its_preview(page, served):
    with served.app.app_context():
        desks.fail(served.world)
    page.goto(f"{served.url}/admin/console/webhooks/{served.world.endpoint}")
    page.get_by_role("link", name="Requeue what has failed").click()
    says(page, "failed deliveries match.")
    assert fits(page)
    page.get_by_role("button", name="Send them again").click()
    says(page, "deliveries are due again")
    says(page, "No failed delivery matches.")
    with served.app.app_context():
        assert [row.status for row in STATUSES.all(id=served.world.endpoint)] == ["pending"]
    page.reload()  # nothing is sent again by that
    says(page, "No failed delivery matches.")


def test_read_only_on_and_off(page, served):
    page.goto(f"{served.url}/admin/console/read_only")
    page.get_by_label("Reason").fill("moving the database")
    page.get_by_role("button", name="Stop all writes").click()
    says(page, "moving the database")
    page.goto(f"{served.url}/admin/")
    page.get_by_role("link", name="Who, and why").click()
    page.get_by_label("Reason").fill("moved")
    page.get_by_role("button", name="Let writes go on").click()
    says(page, "The service is not read-only.")


def test_the_search_box_finds_a_payment_by_its_phone_and_leads_on(page, served):
    page.goto(f"{served.url}/admin/")
    box = page.get_by_role("searchbox")
    box.fill(PHONE)
    box.press("Enter")
    page.wait_for_url("**/search?q=cus_*")
    assert PHONE not in page.content()
    page.get_by_role("link", name=served.world.payment).first.click()
    page.wait_for_url(f"**/search?q={served.world.payment}")
    says(page, "payment.succeeded")
    assert fits(page)
    page.get_by_text("What it answered").first.click()
    says(page, "<script>alert(1)</script>")
    assert fits(page)


def test_the_queue_is_drawn_under_its_narrow_policy(page, served):
    page.goto(f"{served.url}/admin/rq/")
    page.locator("#queues tbody").wait_for()
    page.wait_for_function("!document.querySelector('[data-role=loading-placeholder]')")
    page.goto(f"{served.url}/admin/rq/0/view/workers")
    page.get_by_text("No workers.").wait_for()
    assert fits(page)


def test_signing_in_by_the_form_and_out_by_keyboard(page, served):
    page.context.clear_cookies()
    page.goto(f"{served.url}/admin/console/webhooks")
    assert fits(page)
    page.get_by_label("Your operator token").fill(ANN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/console/webhooks")
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign_in*")
    says(page, "You are signed out.")
    page.goto(f"{served.url}/admin/console/audit")
    assert page.get_by_role("heading", level=1).inner_text() == "Sign in"


ELSEWHERE = """<!doctype html><title>Elsewhere</title>
<iframe src="{url}/admin/"></iframe>
<form action="{url}/admin/console/read_only" method="post">
<input name="on" value="yes"><input name="reason" value="forged"><button>Win</button></form>
<a href="{url}/admin/console/limits">The runbook's link</a>
<a href="{url}/admin/rq/0/view/jobs/{breaks_out}/queued/8/asc/1">A queue's link</a>"""
BREAKS_OUT = "');}});document.title='taken';$('#x').on('y',function(){if(1){('"
"""As the name of a queue, it ended the script that bears our nonce, and went on in it."""


def test_another_site_can_neither_act_nor_frame_but_link(page, served):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the library's name)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            text = ELSEWHERE.format(url=served.url, breaks_out=quote(BREAKS_OUT, safe=""))
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    other = HTTPServer(("127.0.0.1", 0), Handler)
    with _serving(other) as url:
        there = url.replace("127.0.0.1", "localhost")  # another site, by its name
        page.goto(there)
        assert "Overview" not in str([frame.content() for frame in page.frames[1:]])
        page.get_by_role("button", name="Win").click()
        says(page, "nothing was done")
        page.goto(there)
        page.get_by_role("link", name="The runbook's link").click()
        page.get_by_role("heading", level=1, name="Another site led here").wait_for()
        assert fits(page)
        page.get_by_role("link", name="Go on to the console").click()
        page.get_by_role("heading", level=1, name="Limits").wait_for()  # as who is signed in
        page.goto(there)
        page.get_by_role("link", name="A queue's link").click()
        page.get_by_role("heading", level=1, name="Another site led here").wait_for()
        assert fits(page)
        page.get_by_role("link", name="Go on to the console").click()
        says(page, "There is no such object")
        assert "taken" not in page.title()
    page.goto(f"{served.url}/admin/console/read_only")
    says(page, "The service is not read-only.")
    served.faults.clear()  # the other site, its frame that was refused, and the 401


HOSTILE = "<img src=x onerror=\"document.title='taken'\"><iframe srcdoc=x></iframe>"


def test_what_jobs_and_workers_say_of_themselves_is_text(page, served, servers, worker_number):
    worker = f"rq:worker:{HOSTILE}"
    with redis.Redis.from_url(redis_server.address(servers.redis_port, worker_number)) as client:
        queue = Queue("payments", connection=client, serializer=JSONSerializer)
        job = queue.enqueue("jobs.drain.drain", description=HOSTILE, meta={"a": HOSTILE})
        client.sadd("rq:queues", f"rq:queue:{HOSTILE}")
        client.sadd("rq:workers", worker)
        client.hset(worker, mapping={"state": "idle", "queues": HOSTILE.replace(",", "")})
        try:
            for path in ("view/queues", "view/workers", "view/jobs", f"view/job/{job.id}"):
                page.goto(f"{served.url}/admin/rq/0/{path}")
                says(page, "onerror=")
                assert page.locator("img, iframe").count() == 0, path
                assert page.title() != "taken"
        finally:
            for key in client.scan_iter("rq:*"):
                client.delete(key)
