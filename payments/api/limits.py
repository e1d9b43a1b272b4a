"""The rate limit: one budget a minute for each caller, over all routes, unmatched ones too.

Flask-Limiter keeps the counters: in Redis for all processes together, in memory where there is no
Redis or while it does not answer. Then the limit holds for each process alone, the log says so, and
`/health` is degraded. Operators with a valid token and the probes stand outside.

Fails towards serving: a caller may get more than the budget while Redis is gone, never less.
What must hold without Redis (one-time codes) is counted from rows elsewhere.
"""

import ipaddress
import logging
import time
from functools import lru_cache
from typing import Any

import flask
from flask import Flask, Response
from flask_limiter import ApplicationLimit, Limiter
from flask_limiter.errors import RateLimitExceeded
from limits import RateLimitItem, RateLimitItemPerMinute, parse
from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from payments import logs, settings
from payments.api import guards, problems, requests
from payments.api.requests import ApiRequest
from payments.counters import RATE_LIMITED
from payments.errors import RateLimited
from payments.origin import Operator
from payments.settings import RateLimit

log = logging.getLogger(__name__)

WINDOW_S = 60
EVERYTHING = "everything"
"""Every URL, matched or not, is one and the same thing to limit."""
OTP_RULES = ("/v1/auth/otp", "/v1/auth/token")
"""What `exempt_otp` leaves out of this budget; their own limits are counted from rows."""
REDIS_TIMEOUT_S = 0.25
"""A Redis that hangs costs the first request this, not a worker."""


class PerMinute(RateLimitItem):
    """A window whose key does not name its limit: when that changes, what was counted stands.

    The library's own would begin anew for everyone. Defined, it is what `parse` makes of `minute`.
    """

    GRANULARITY = RateLimitItemPerMinute.GRANULARITY

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """The identifiers alone."""
        named = RateLimitItemPerMinute(0, self.multiples, self.namespace)
        return str(named.key_for(*identifiers))


class WindowRedis(RedisStorage):
    """Redis counters that tell what is left and until when in the round trip that counts.

    The library's own way takes two more for the headers.
    """

    STORAGE_SCHEME = ["window+redis", "window+rediss", "window+unix"]
    SCRIPT_INCR_EXPIRE = b"""
        local count = redis.call('INCRBY', KEYS[1], ARGV[2])
        if count == tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
        return {count, redis.call('PTTL', KEYS[1])}
    """

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri.removeprefix("window+"), **options)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and note on the request what the window is. Raises redis.RedisError, loudly."""
        try:
            count, left_ms = self.lua_incr_expire([self.prefixed_key(key)], [expiry, amount])
        except RedisError as fault:
            _say_it_is_gone(fault)
            raise
        requests.current().window = (int(count), max(0, int(left_ms)) / 1000)
        return int(count)

    def check(self) -> bool:
        """Whether Redis counts again; asked while it does not, at growing intervals up to 32 s. One
        that is full, or a replica, answers and takes nothing: so it is asked to count.
        """
        try:
            self.lua_incr_expire([self.prefixed_key("check")], [1, 1])
        except RedisError as fault:
            _say_it_is_gone(fault)
            return False
        log.warning("Redis answers again: rate limits are shared by all processes")
        return True


def _say_it_is_gone(fault: RedisError) -> None:
    log.error(
        "Redis does not answer: rate limits are counted in each process alone",
        extra={"fault": type(fault).__name__},
    )


class HouseLimiter(Limiter):
    """The library's storage, strategy and fallback, without its walk over decorators, blueprints
    and defaults at each request: there is one limit, and it is asked straight away.
    """

    def _check_request_limit(
        self, callable_name: str | None = None, in_middleware: bool = True
    ) -> None:
        """Count this request in Redis; all else, and whatever fails, is the library's."""
        counter = self._limiter  # not `limiter`: another thread may just have found Redis gone
        if self._storage_dead or counter is None or not isinstance(self._storage, WindowRedis):
            self._leave_it_to_the_library(callable_name, in_middleware)
            return
        if _stands_outside():
            return
        request, item = requests.current(), _item(_limit())
        try:
            allowed = counter.hit(item, _key(), EVERYTHING)
        except RedisError:
            self._storage_dead = True  # from here on the library counts in memory, and looks again
            self._leave_it_to_the_library(callable_name, in_middleware)
            return
        request.budget = item.amount
        if not allowed:
            raise _refused(self, request)

    def _leave_it_to_the_library(self, callable_name: str | None, in_middleware: bool) -> None:
        """It raises where Redis fails and another thread was first to see that: then once more."""
        try:
            super()._check_request_limit(callable_name, in_middleware)
        except RedisError:
            self._storage_dead = True
            self.context.seen_limits.clear()
            super()._check_request_limit(callable_name, in_middleware)


@lru_cache(maxsize=64)
def _item(text: str) -> RateLimitItem:
    return parse(text)


def _refused(limiter: Limiter, request: ApiRequest) -> RateLimited:
    RATE_LIMITED.labels("address" if request.caller is None else "caller").inc()
    logs.bind(limited=_key())  # whose budget: on-call asks the log
    _, _, left_s = _standing(limiter, request)
    return RateLimited(
        "Too many requests. `Retry-After` says when to come back.", retry_after_s=left_s
    )


def refused(request: ApiRequest) -> RateLimited:
    """The refusal of this request, for whoever answers it otherwise than as a problem."""
    return _refused(flask.current_app.extensions["payments_limiter"], request)


def init_app(app: Flask, redis_url: str | None) -> None:
    """Register the limit. Call it after `callers.init_app`: the budget is the caller's."""
    limiter = HouseLimiter(
        key_func=_key,
        application_limits=[ApplicationLimit(limit_provider=_limit, exempt_when=_stands_outside)],
        request_identifier=lambda: EVERYTHING,
        strategy="fixed-window",
        storage_uri=f"window+{redis_url}" if redis_url else "memory://",
        storage_options=_redis_options() if redis_url else {},
        in_memory_fallback_enabled=redis_url is not None,
        headers_enabled=False,
    )
    limiter.init_app(app)
    app.extensions["payments_limiter"] = limiter

    def headers(response: Response) -> Response:
        return _with_headers(limiter, response)

    def refusal(_exceeded: RateLimitExceeded) -> Response:
        return problems.answer(_refused(limiter, requests.current()))

    app.after_request(headers)
    app.register_error_handler(RateLimitExceeded, refusal)


def _redis_options() -> dict[str, Any]:
    return {
        "socket_timeout": REDIS_TIMEOUT_S,
        "socket_connect_timeout": REDIS_TIMEOUT_S,
        # Once more, at once: a pooled connection may have died with an earlier Redis.
        "retry": Retry(NoBackoff(), 1),
    }


def _limit() -> str:
    limit = settings.current(RateLimit)
    boost = limit.auth_boost if requests.current().caller is not None else 1
    return f"{limit.per_minute * boost} per minute"


def _key() -> str:
    request = requests.current()
    if request.caller is not None:
        return request.caller.budget
    return f"address:{network(request.client_address)}"


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Who an address belongs to: itself, or for IPv6 its /64, which one customer line has."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))


def _stands_outside() -> bool:
    request = requests.current()
    if isinstance(request.caller, Operator):
        return True
    route = request.route
    if route is None:
        return False
    if route.rule in OTP_RULES and settings.current(RateLimit).exempt_otp:
        return True
    return route.guard is guards.probe


def _standing(limiter: Limiter, request: ApiRequest) -> tuple[int, int, int]:
    """The limit, what is left of it, and the whole seconds until it is whole again."""
    if request.budget is not None and request.window is not None:
        count, left_s = request.window
        return request.budget, max(0, request.budget - count), _ceil(left_s)
    current = limiter.current_limit
    assert current is not None  # noqa: S101 (both callers come after a count)
    amount = current.limit.amount
    reset_at, remaining = current.window
    return amount, remaining, _ceil(reset_at - time.time())


def _ceil(left_s: float) -> int:
    return min(WINDOW_S, max(1, int(left_s) + 1))


def _with_headers(limiter: Limiter, response: Response) -> Response:
    """The IETF draft's fields (draft-ietf-httpapi-ratelimit-headers) on every limited answer."""
    request = requests.current()
    if request.budget is not None or limiter.current_limit is not None:
        amount, remaining, left_s = _standing(limiter, request)
        response.headers["RateLimit-Policy"] = f'"minute";q={amount};w={WINDOW_S}'
        response.headers["RateLimit"] = f'"minute";r={remaining};t={left_s}'
    return response
