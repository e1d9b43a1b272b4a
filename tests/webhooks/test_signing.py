"""Signatures as Standard Webhooks has them, verified by its own library."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from payments import clock
from payments.webhooks import signing

BODY = '{"type":"payment.succeeded","data":{"name":"Käse 🧀"}}'.encode()


def headers(*secrets: str, sent_at: datetime | None = None) -> dict[str, str]:
    return signing.headers(
        event_id="evt_1",
        delivery_id="dlv_1",
        attempt=3,
        keys=[signing.key_of(secret) for secret in secrets],
        sent_at=sent_at or clock.now(),
        body=BODY,
    )


def test_a_secret_is_a_prefix_and_32_random_bytes():
    first, second = signing.new_secret(), signing.new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32
    assert signing.key_of(first) == base64.b64decode(first.removeprefix("whsec_"))


def test_the_library_verifies_what_is_sent():
    secret = signing.new_secret()
    assert Webhook(secret).verify(BODY, headers(secret))["type"] == "payment.succeeded"


def test_a_changed_body_is_refused():
    secret = signing.new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers(secret))


def test_while_a_secret_rotates_old_and_new_both_verify():
    new, old, other = (signing.new_secret() for _ in range(3))
    sent = headers(new, old)
    assert len(sent["webhook-signature"].split(" ")) == 2
    Webhook(new).verify(BODY, sent)
    Webhook(old).verify(BODY, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY, sent)


def test_an_old_message_is_refused_by_the_library():
    secret = signing.new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers(secret, sent_at=clock.now() - timedelta(hours=1)))


def test_a_signature_made_by_hand():
    # Key, id, time and body written out, the value computed with openssl:
    # printf '%s' 'evt_1.1700000000.{}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00..1f
    sent_at = datetime(2023, 11, 14, 22, 13, 20, 999_000, tzinfo=UTC)
    made = signing.sign(bytes(range(32)), "evt_1", sent_at, b"{}")
    assert made == "v1,bXtchBV0Hi1flm60IFUb87JKA3d/Yvv8UoEjbNotegk="


def test_the_headers_name_delivery_and_attempt():
    sent = headers(signing.new_secret())
    assert sent["webhook-id"] == "evt_1"
    assert (sent["X-Delivery-ID"], sent["X-Attempt"]) == ("dlv_1", "3")
    assert sent["User-Agent"].startswith("payments-webhooks/")
    assert sent["Content-Type"] == "application/json"
    assert abs(int(sent["webhook-timestamp"]) - clock.now().timestamp()) < 5


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="offset"):
        signing.sign(b"key", "evt_1", datetime(2026, 3, 1), b"{}")  # noqa: DTZ001
