"""The settings of a host in production, fresh secrets in them."""

import secrets

from cryptography.fernet import Fernet


def production(**more: str) -> dict[str, str]:
    """Settings made as the README says, for a host with a database and Redis at those addresses."""
    return {
        "ENV": "production",
        "DATABASE_URL": "postgres://pay:unused@127.0.0.1:1/pay",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "INTERNAL_API_SECRET": f"taxi:{secrets.token_urlsafe(48)}",
        "ADMIN_TOKEN": f"ann:{secrets.token_urlsafe(48)}",
        "METRICS_TOKEN": secrets.token_urlsafe(48),
        "ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "SMS_BACKEND": "http",
        "SMS_HTTP_URL": "https://sms.example/send",
        "PUBLIC_URL": "https://pay.example",
        "TRUSTED_PROXIES": "0",
        "WEB_CONCURRENCY": "2",
        **more,
    }
