"""Logs: one line a fact, and no secret in any of them."""

import io
import json
import logging
import threading

import pytest

from payments import clock, logs
from payments.config import load_settings

ADMIN = "Mn5Bv4Cx3Zl2Kj1Hg0Fd9Sa8Po7Iu6Yt5Re4Wq"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjdXNfMSJ9.c2lnbmF0dXJl"


@pytest.fixture
def lines(tmp_path):
    """The lines written since, parsed. `use` configures again."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Lines(tmp_path)
    root.handlers[:] = handlers
    root.setLevel(level)
    logs.clear()


class Lines:
    def __init__(self, instance):
        self._instance = instance
        self.use("json")

    def use(self, log_format, level="DEBUG", stream=None):
        environ = {
            "ENV": "development",
            "LOG_FORMAT": log_format,
            "LOG_LEVEL": level,
            "ADMIN_TOKEN": f"alice:{ADMIN}",
            "DB_URL": "postgresql://pay:db-pass-word@db/pay",
        }
        self.stream = stream or io.StringIO()
        logs.configure(load_settings(environ, root=self._instance), self.stream)

    @property
    def text(self):
        return self.stream.getvalue()

    @property
    def all(self):
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def last(self):
        return self.all[-1]


log = logging.getLogger("payments.tests")


def test_a_line_is_json_with_time_level_logger_message_and_fields(lines):
    logs.clear()
    log.info("payment %s", "succeeded", extra={"payment_id": "pay_1", "amount": 2000, "none": None})
    line = lines.last
    assert list(line)[:4] == ["time", "level", "logger", "message"]
    assert clock.parse_rfc3339(line.pop("time")) <= clock.now()
    assert line == {
        "level": "INFO",
        "logger": "payments.tests",
        "message": "payment succeeded",
        "payment_id": "pay_1",
        "amount": 2000,
        "none": None,
    }


def test_what_is_bound_is_on_every_line_until_cleared(lines):
    logs.bind(request_id="rid_1", route="/v1/payments")
    logs.bind(caller="mer_1")
    with logs.bound(delivery_id="dlv_1"):
        log.info("inside")
    log.info("after", extra={"route": "/v1/refunds"})
    logs.clear()
    log.info("cleared")
    inside, after, cleared = lines.all
    assert (inside["request_id"], inside["caller"], inside["delivery_id"]) == (
        "rid_1",
        "mer_1",
        "dlv_1",
    )
    assert "delivery_id" not in after
    assert after["route"] == "/v1/refunds"
    assert set(cleared) == {"time", "level", "logger", "message"}


def test_a_thread_starts_with_nothing_bound(lines):
    logs.bind(request_id="rid_1")
    thread = threading.Thread(target=lambda: log.info("elsewhere"))
    thread.start()
    thread.join()
    assert "request_id" not in lines.last


def test_bound_fields_never_replace_what_a_line_is_about(lines):
    logs.bind(level="none", message="none", time="none")
    log.warning("kept")
    assert (lines.last["level"], lines.last["message"]) == ("WARNING", "kept")
    assert lines.last["time"].endswith("Z")


@pytest.mark.parametrize(
    "secret",
    [
        "+4915112345678",
        "+49 151 1234-5678",
        "%2B4915112345678",
        "004915112345678",
        "015112345678",
        "sk_live4f9a8b7c6d5e",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        JWT,
        "493027",
        ADMIN,
        "db-pass-word",
    ],
)
def test_a_secret_is_taken_out_wherever_it_stands(secret, lines):
    log.info(f"from {secret} it came")  # noqa: G004 (what a careless line looks like)
    log.info("from %s it came", secret)
    log.info("a field", extra={"note": f"({secret})", "deep": {"in": [{"a": ("b", secret)}]}})
    log.info("an object", extra={"what": ValueError(secret), "raw": {secret: 1}})
    with logs.bound(where=f"near {secret}"):
        log.info("bound")
    try:
        raise RuntimeError(f"could not send to {secret}")
    except RuntimeError:
        log.exception("it failed")
    log.info("with the stack", stack_info=True)
    assert len(lines.all) == 7
    assert secret not in lines.text
    assert lines.text.count(logs.REDACTED) == 8
    assert "RuntimeError: could not send to" in lines.all[-2]["exception"]


@pytest.mark.parametrize(
    "name", ["phone", "to_phone", "otp", "Authorization", "set-cookie", "api_key", "X-Admin-Token"]
)
def test_a_field_with_a_secrets_name_is_taken_out_whole(name, lines):
    log.info("a field", extra={"headers": {name: "anything"}, name: "anything"})
    assert lines.last[name] == logs.REDACTED
    assert lines.last["headers"] == {name: logs.REDACTED}


def test_credentials_in_headers_and_urls_are_taken_out(lines):
    log.info("sent", extra={"head": "Bearer abc.def, basic dXNlcg==", "url": "http://u:p@h/x"})
    assert lines.last["head"] == "Bearer [redacted], basic [redacted]"
    assert lines.last["url"] == "http://[redacted]@h/x"


@pytest.mark.parametrize(
    "harmless",
    [
        "pay_0193a5e7c2d87f3a9b1c2d3e4f506172",
        "2026-03-01T09:00:00.123456Z",
        "2026-03-01T09:00:00+01:00",
        "127.0.0.1:8080",
        "took 1234 ms",
        "1000000 EUR",
        "GET /v1/payments 200",
        "Booting worker with pid: 123456",
        "1.123456",
        "10.0.0.0/8",
    ],
)
def test_what_is_no_secret_stays(harmless, lines):
    log.info("%s", harmless)
    assert lines.last["message"] == harmless


def test_what_was_clean_before_is_still_looked_at_in_another_text(lines):
    for text in ("all is well", "all is well", f"all is well {ADMIN}", "call +4915112345678"):
        log.info("%s", text)
    assert [line["message"] for line in lines.all] == [
        "all is well", "all is well", "all is well [redacted]", "call [redacted]",
    ]  # fmt: skip


def test_more_texts_than_are_remembered_are_redacted_all_the_same(lines, monkeypatch):
    monkeypatch.setattr(logs, "CLEAN_TEXTS", 2)
    for number in range(4):
        log.info("%s", f"text {number}")
        log.info("%s", "call +4915112345678")
    assert [line["message"] for line in lines.all[::2]] == [f"text {n}" for n in range(4)]
    assert {line["message"] for line in lines.all[1::2]} == {"call [redacted]"}


def test_a_secret_in_the_shape_of_an_id_is_a_secret(lines, tmp_path):
    shaped = "adm_0193a5e7c2d87f3a9b1c2d3e4f506172"
    environ = {"ENV": "development", "ADMIN_TOKEN": shaped}
    logs.configure(load_settings(environ, root=tmp_path), lines.stream)
    log.info("by", extra={"actor": f"operator:{shaped}", "other": shaped})
    assert shaped not in lines.text


def test_numbers_ids_and_times_stay_as_they_are(lines):
    moment = clock.parse_rfc3339("2026-03-01T09:00:00Z")
    log.info("x", extra={"amount": 493027, "api_key_id": "key_1", "seen_at": moment, "ok": True})
    line = lines.last
    assert (line["amount"], line["api_key_id"], line["ok"]) == (493027, "key_1", True)
    assert line["seen_at"] == "2026-03-01T09:00:00Z"


def test_bottomless_fields_end(lines):
    deep: dict[str, object] = {}
    deep["again"] = deep
    log.info("deep", extra={"deep": deep})
    assert "..." in lines.text


def test_a_broken_call_is_reported_without_what_it_was_given(lines, capsys):
    (ours,) = [at for at in logging.getLogger().handlers if isinstance(at, logs.Handler)]
    what = "two of %s and %s"
    ours.handle(log.makeRecord(log.name, logging.INFO, __file__, 7, what, ("+491511234",), None))
    shown = json.loads(capsys.readouterr().err)
    assert shown["message"] == "a log line could not be written"
    assert shown["error"] == "TypeError"
    assert shown["at"] == f"{__file__}:7"
    assert lines.text == ""


def test_plain_lines_are_for_reading_and_stay_on_one_line(lines):
    lines.use("plain")
    log.warning("look\nhere \x1b[31m", extra={"payment_id": "pay_1", "phone": "+4915112345678"})
    line = lines.text
    assert line.count("\n") == 1
    assert line.endswith(
        r"WARNING payments.tests: look\nhere \x1b[31m payment_id=pay_1 phone=[redacted]" + "\n"
    )


def test_plain_lines_are_followed_by_the_traceback(lines):
    lines.use("plain")
    try:
        raise RuntimeError("no answer from +4915112345678")
    except RuntimeError:
        log.exception("failed")
    assert lines.text.endswith("RuntimeError: no answer from [redacted]\n")
    assert "Traceback (most recent call last):\n" in lines.text


def test_auto_is_plain_on_a_terminal_and_json_elsewhere(lines):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    lines.use("auto", stream=Terminal())
    log.info("read by a person")
    assert not lines.text.startswith("{")
    lines.use("auto")
    log.info("read by a machine")
    assert lines.last["message"] == "read by a machine"


def test_configuring_again_replaces_and_the_level_holds(lines):
    before = lines.stream
    lines.use("json", level="WARNING")
    log.info("too quiet")
    log.warning("loud enough")
    assert before.getvalue() == ""
    assert [line["message"] for line in lines.all] == ["loud enough"]
