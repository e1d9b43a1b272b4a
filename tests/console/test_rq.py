"""`/admin/rq`: the queue to look at, behind the same door, and nothing that changes it."""

import base64
import importlib
import pickle
import re
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from rq import Queue, Worker
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from werkzeug.routing import IntegerConverter

from payments.api.console import door, rq, rq_looking, rq_templates
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


BREAKS_OUT = ("');alert(1);('", "a'b", 'a"b', "<b>", "a b", "a\\b", "a{{1}}", "a" * 65, "ä", "..")
USUAL = {
    "instance_number": "0", "queue_name": QUEUE, "registry_name": "failed", "per_page": "8",
    "order": "asc", "page": "1", "job_id": "some-job", "filename": "css/main.css",
}  # fmt: skip


def test_every_value_of_every_mounted_path_is_allowed_by_its_form(app, desk, queue):
    mounted = {page.rule for page in door.pages_of(app) if page.rule.startswith(rq.PREFIX)}
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule in mounted]
    assert len(rules) == len(mounted) > 15
    tried = 0
    for rule in rules:
        refused = 405 if rule.endpoint.split(".")[1] in rq.WRITES else 404
        for name in re.findall(r"(\w+)>", rule.rule):
            assert name in rq.ALLOWED, (rule.rule, name)
            is_number = isinstance(rule._converters[name], IntegerConverter)
            for value in ("0", "99999999") if is_number else BREAKS_OUT:
                if (name, value) == ("instance_number", "0"):
                    continue
                path = filled(rule.rule, {**USUAL, name: value})
                answer = desk.get(path)
                assert answer.status_code == refused, path
                assert "');alert" not in answer.text
                tried += 1
    assert tried > 80


def filled(rule: str, values: dict[str, str]) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda part: quote(values[part[1]]), rule)


def test_nothing_stands_bare_in_their_scripts_and_rows():
    theirs = importlib.import_module("rq_dashboard.web")
    folder = f"{theirs.blueprint.root_path}/templates"
    drawn = 0
    for path in Path(folder).rglob("*.*"):
        name = str(path.relative_to(folder))
        text = rq_templates.safe(name, path.read_text())
        assert "<%=" not in text and "|safe" not in text, name
        drawn += text.count("<%-")
        if path.suffix == ".js" or path.name == "inline_js.html":
            for said in re.findall(r"..\{\{.*?\}\}.", text):
                assert re.fullmatch(r".[^'\"]\{\{ \(.+\)\|tojson \}\}[^'\"]", said), said
    assert drawn > 40
    assert rq_templates.safe("a.js", "f('{{ a.b }}')") == "f({{ (a.b)|tojson }})"


def test_its_scripts_may_ask_for_the_queues_data_alone(desk, queue):
    policy = desk.get("/admin/rq/0/view/jobs").headers["Content-Security-Policy"]
    (asks,) = re.findall(r"connect-src ([^;]*);", policy)
    assert asks.split()[0] == "localhost/admin/rq/0/data/"
    assert all(one.endswith("/admin/rq/0/data/") for one in asks.split())
    odd = desk.get("/admin/rq/0/view/jobs", headers={"Host": "a.example:80x"})
    assert "80x" not in odd.headers.get("Content-Security-Policy", "")


def test_looking_takes_nothing_from_the_queue(desk, queue):
    client = queue.connection
    gone = queue.enqueue("jobs.drain.drain")
    worker = Worker([queue], connection=client, serializer=JSONSerializer)
    worker.register_birth()
    worker.prepare_execution(queue.enqueue("jobs.drain.drain"))
    assert worker.execution is not None
    client.delete(gone.key, worker.execution.key)
    client.sadd("rq:workers", "rq:worker:gone")

    def kept() -> dict:
        return {key: client.dump(key) for key in sorted(client.scan_iter("rq:*"))}

    before = kept()
    assert len(data(desk, f"jobs/{QUEUE}/queued/8/asc/1")["jobs"]) == 1
    assert data(desk, "workers")["workers"][0]["current_job"] == "idle"
    for path in PAGES:
        assert desk.get(path).status_code == 200
    assert kept() == before
    with rq_looking.LookingRedis.from_url(f"redis://127.0.0.1:{client_port(client)}") as looking:
        assert looking.delete(*before) == 0
        with looking.pipeline() as several:
            several.flushall()
            several.exists(gone.key)
            assert several.execute() == [True, 0]
    assert kept() == before
    worker.register_death()


def client_port(client: redis.Redis) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


@pytest.mark.parametrize("order", ["asc", "dsc"])
def test_pages_are_of_their_length_and_end_at_a_bound(desk, queue, order):
    failed = FailedJobRegistry(QUEUE, connection=queue.connection)
    made = []
    for number in range(25):
        job = queue.create_job("jobs.drain.drain")
        job.save()
        queue.connection.zadd(failed.key, {job.id: number})
        queue.connection.rpush(queue.key, job.id)
        made.append(job.id)
    made = made if order == "asc" else made[::-1]
    for kind in ("failed", "queued"):
        pages = [
            [job["id"] for job in data(desk, f"jobs/{QUEUE}/{kind}/10/{order}/{page}")["jobs"]]
            for page in (1, 2, 3, 4)
        ]
        assert pages == [made[:10], made[10:20], made[20:], []]
    assert data(desk, f"jobs/{QUEUE}/failed/200/{order}/10")["jobs"] == []
    for beyond in ("200/asc/11", "1/asc/2001", "201/asc/1"):
        assert desk.get(f"/admin/rq/0/data/jobs/{QUEUE}/failed/{beyond}.json").status_code == 404


def test_a_job_that_is_no_json_is_shown_as_far_as_it_goes(desk, queue):
    job = queue.enqueue("jobs.drain.drain", description="odd")
    other = pickle.dumps({"a": 1})
    queue.connection.hset(
        job.key, mapping={"data": zlib.compress(other), "meta": other, "result": other}
    )
    queue.connection.xadd(
        f"rq:results:{job.id}", {"type": 1, "return_value": base64.b64encode(other).decode()}
    )
    worker = Worker([queue], connection=queue.connection, serializer=JSONSerializer)
    worker.register_birth()
    worker.prepare_execution(job)
    assert data(desk, f"jobs/{QUEUE}/queued/8/asc/1")["jobs"][0]["description"] == "odd"
    told = data(desk, f"job/{job.id}")
    assert told["result"] == rq_looking.UNREADABLE
    assert rq_looking.UNREADABLE in told["metadata"]
    (living,) = data(desk, "workers")["workers"]
    assert living["current_job"]["call_string"] == rq_looking.UNREADABLE
    queue.connection.hset(job.key, "created_at", "never")
    assert desk.get(f"/admin/rq/0/view/job/{job.id}").status_code == 404
    assert data(desk, f"jobs/{QUEUE}/queued/8/asc/1")["jobs"] == []
    worker.register_death()
