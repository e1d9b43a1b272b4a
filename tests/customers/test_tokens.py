"""Access tokens: what is in them, which of them count, and rotation without a refused caller."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest

from payments import config
from payments.customers import tokens
from payments.errors import TokenExpired, Unauthenticated
from payments.origin import Customer
from tests.databases import SECRETS, environ_for, settings_for

OLD = SECRETS["JWT_SECRET"]
NEW = "another-jwt-fedcba98765432100123456789abcdef"
SOMEBODY = Customer("cus_" + "1" * 32, "ses_" + "2" * 32)


@pytest.fixture
def secrets(tmp_path):
    """`secrets(NEW, OLD)`: these are the secrets now."""
    before = []

    def use(*entries: str) -> None:
        environ = environ_for("sqlite:///unused.db", tmp_path, JWT_SECRET=",".join(entries))
        before.append(config.use(settings_for(environ, tmp_path)))

    use(OLD)
    yield use
    for token in reversed(before):
        token.var.reset(token)


def verify(token: str) -> tuple[Customer, list[tuple[str, int]]]:
    noted: list[tuple[str, int]] = []
    return tokens.verify(token, lambda name, place: noted.append((name, place))), noted


def forge(secret: str = OLD, headers: dict | None = None, **changes: object) -> str:
    now = int(time.time())
    claims = {
        "iss": tokens.ISSUER,
        "aud": tokens.AUDIENCE,
        "sub": SOMEBODY.id,
        "sid": SOMEBODY.session_id,
        "iat": now,
        "exp": now + 60,
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, secret, "HS256", headers or {"kid": tokens.key_id(secret)})


def test_a_token_says_who_and_by_which_session(secrets):
    token = tokens.issue(SOMEBODY.id, SOMEBODY.session_id)
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, OLD, ["HS256"], audience=tokens.AUDIENCE)
    assert (header["alg"], header["kid"]) == ("HS256", tokens.key_id(OLD))
    assert sorted(claims) == ["aud", "exp", "iat", "iss", "sid", "sub"]
    assert claims["exp"] - claims["iat"] == 900
    assert verify(token) == (SOMEBODY, [("JWT_SECRET", 0)])
    assert verify(forge()) == (SOMEBODY, [("JWT_SECRET", 0)])


def test_the_kid_gives_nothing_of_the_secret_away(secrets):
    kid = tokens.key_id(OLD)
    assert kid != tokens.key_id(NEW)
    assert kid not in (hashlib.sha256(OLD.encode()).hexdigest()[:16], OLD[:16])


def test_a_rotation_refuses_nobody(secrets):
    of_old = tokens.issue(SOMEBODY.id, SOMEBODY.session_id)
    secrets(OLD, NEW)
    assert jwt.get_unverified_header(tokens.issue("c", "s"))["kid"] == tokens.key_id(OLD)
    of_new_early = forge(NEW)
    assert verify(of_new_early) == (SOMEBODY, [("JWT_SECRET", 1)])
    secrets(NEW, OLD)
    assert jwt.get_unverified_header(tokens.issue("c", "s"))["kid"] == tokens.key_id(NEW)
    assert verify(of_old) == (SOMEBODY, [("JWT_SECRET", 1)])
    secrets(NEW)
    with pytest.raises(Unauthenticated):
        verify(of_old)


def test_an_expired_token_says_so(secrets):
    with pytest.raises(TokenExpired):
        verify(forge(exp=int(time.time()) - 1))


def test_a_token_that_was_verified_before_expires_all_the_same(secrets, monkeypatch):
    token = forge(exp=int(time.time()) + 60)
    assert verify(token)[0] == SOMEBODY
    later = time.time() + 60
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    with pytest.raises(TokenExpired):
        verify(token)


def unsigned(alg: str) -> str:
    parts = ({"alg": alg, "typ": "JWT", "kid": tokens.key_id(OLD)},
             json.loads(base64.urlsafe_b64decode(forge().split(".")[1] + "==")))  # fmt: skip
    head = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )
    digest = {"none": None, "HS384": "sha384", "HS512": "sha512"}[alg]
    if digest is None:
        return f"{head}."
    signature = hmac.new(OLD.encode(), head.encode(), digest).digest()
    return f"{head}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


FOREIGN = {
    "another secret": lambda: forge(NEW),
    "another secret under our kid": lambda: forge(NEW, {"kid": tokens.key_id(OLD)}),
    "no kid": lambda: forge(headers={"x": "y"}),
    "an odd kid": lambda: forge(headers={"kid": "../../secret"}),
    "no algorithm": lambda: unsigned("none"),
    "another algorithm": lambda: unsigned("HS512"),
    "a longer algorithm": lambda: unsigned("HS384"),
    "another issuer": lambda: forge(iss="elsewhere"),
    "another audience": lambda: forge(aud="elsewhere"),
    "no issuer": lambda: forge(iss=None),
    "no audience": lambda: forge(aud=None),
    "no end": lambda: forge(exp=None),
    "no session": lambda: forge(sid=None),
    "a session that is none": lambda: forge(sid="ses_1"),
    "a session that is no text": lambda: forge(sid=["ses_" + "2" * 32]),
    "no subject": lambda: forge(sub=None),
    "a merchant": lambda: forge(sub="mer_" + "1" * 32),
    "an end that is no number": lambda: forge(exp="never"),
    "no token": lambda: "nonsense",
    "an empty token": lambda: "..",
    "half a token": lambda: forge()[:-5],
    "not ASCII": lambda: "é.é.é",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_any_other_token_is_nobodys(secrets, kind):
    with pytest.raises(Unauthenticated):
        verify(FOREIGN[kind]())


def test_over_http(customer, app):
    assert customer.calls("GET", "/v1/me").status_code == 200
    for token, code in ((forge(exp=1), "token_expired"), (forge(NEW), "unauthenticated")):
        refused = customer.calls("GET", "/v1/me", Authorization=f"Bearer {token}")
        assert (refused.status_code, refused.json["code"]) == (401, code)
        assert "WWW-Authenticate" in refused.headers
    nobody = app.test_client().get("/v1/me")
    assert (nobody.status_code, nobody.json["code"]) == (401, "unauthenticated")
