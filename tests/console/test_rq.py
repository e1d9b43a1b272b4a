"""`/admin/rq`: the queue to look at, behind the same door, and nothing that changes it."""

import re

import pytest
import redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from payments.api.console import rq
from payments.events import nudges
from tests import redis_server
from tests.console.desk import Desk, shown

QUEUE = nudges.QUEUE
PAGES = [
    "/admin/rq/", "/admin/rq/0/view/workers", "/admin/rq/0/view/jobs",
    f"/admin/rq/0/view/jobs/{QUEUE}/failed/8/dsc/1",
]  # fmt: skip


@pytest.fixture
def queue(servers, worker_number):
    url = redis_server.address(servers.redis_port, worker_number)
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter("rq:*"):
            client.delete(key)
        yield Queue(QUEUE, connection=client, serializer=JSONSerializer)


def data(desk: Desk, path: str) -> dict:
    answer = desk.get(f"/admin/rq/0/data/{path}.json")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json is not None
    return answer.json


def test_queues_jobs_and_workers_are_shown(desk, queue):
    job = queue.enqueue("jobs.drain.drain")
    worker = Worker([queue], connection=queue.connection, serializer=JSONSerializer)
    worker.register_birth()
    worker.prepare_execution(job)
    assert data(desk, "queues")["queues"][0]["count"] == 1
    (listed,) = data(desk, f"jobs/{QUEUE}/queued/8/asc/1")["jobs"]
    assert listed["id"] == job.id
    assert data(desk, f"job/{job.id}")["status"] == "queued"
    assert desk.get(f"/admin/rq/0/view/job/{job.id}").status_code == 200
    (living,) = data(desk, "workers")["workers"]
    assert (living["name"], living["current_job"]["job_id"]) == (worker.name, job.id)
    worker.register_death()


@pytest.mark.parametrize("path", PAGES)
def test_its_pages_load_from_this_host_with_named_scripts_alone(desk, queue, path):
    page = desk.get(path)
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    (nonce,) = re.findall(r"script-src 'nonce-([\w-]+)' 'unsafe-eval';", policy)
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    running = re.findall(r"<script(?![^>]*text/template)([^>]*)>", page.text)
    assert running and all(f'nonce="{nonce}"' in attributes for attributes in running)
    for loaded in re.findall(r'<(?:link|script|img)[^>]*?(?:href|src)="([^"]*)"', page.text):
        assert loaded == "data:," or loaded.startswith(("/admin/rq/static/", "/admin/console/"))
        if loaded.startswith("/"):
            with desk.get(loaded) as answer:
                assert answer.status_code == 200, loaded
    assert nonce not in desk.get(path).text
    assert "Payments console" in page.text


METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")


def test_what_would_change_the_queue_is_refused_by_every_method(desk, queue):
    job = queue.enqueue("jobs.drain.drain")
    for rule in rq.WRITES.values():
        path = rule.replace("<job_id>", job.id).replace("<queue_name>", QUEUE)
        path = "/admin/rq" + path.replace("<registry_name>", "queued")
        for method in ("GET", "HEAD", *METHODS):
            assert desk.client.open(path, method=method).status_code == 405, (method, path)
    assert queue.job_ids == [job.id]


def test_its_pages_take_get_and_head_alone(desk):
    for path in PAGES:
        for method in METHODS:
            assert desk.client.open(path, method=method).status_code == 405, (method, path)
        assert desk.client.head(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["1/view/queues", "7/data/queues.json", "0/view/job/none", "0/data/job/none.json",
     f"0/view/jobs/{QUEUE}/nothing/8/asc/1", f"0/data/jobs/{QUEUE}/queued/9999/asc/1.json",
     f"0/data/jobs/{QUEUE}/queued/8/asc/0.json", "static/../web.py", "static/nothing.js"],
)  # fmt: skip
def test_what_is_not_there_is_a_404(desk, queue, path):
    assert desk.get(f"/admin/rq/{path}").status_code == 404


def test_a_redis_that_is_gone_is_told_on_a_page(other):
    desk = Desk(other(REDIS_URL="redis://127.0.0.1:9/0"))
    desk.sign_in()
    for path in PAGES:
        answer = desk.get(path)
        assert answer.status_code == 503
        assert "Redis does not answer" in shown(answer)


def test_without_redis_there_is_a_page_that_says_so(other):
    desk = Desk(other(REDIS_URL=""))
    assert desk.get("/admin/rq/").status_code == 303  # behind the door as well
    desk.sign_in()
    for path in ("/admin/rq/", "/admin/rq/0/view/workers"):
        assert "There is no queue." in shown(desk.get(path))
    assert desk.client.post("/admin/rq/requeue/payments").status_code == 405
