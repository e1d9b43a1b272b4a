"""The dashboard of this service's on-call, in the order of the runbook. Every alert links to it."""

from scripts.boards.plan import Board
from scripts.boards.serving import ERRORS, LATENCY, LIMITS, OBJECTIVES
from scripts.boards.working import ALARM, BACKUPS, MONEY, READ_ONLY, SECRETS, WEBHOOKS

BOARD = Board(
    "payments",
    "payments.json",
    "Payments",
    "For the on-call of the payments service. Each row is a section of ops/RUNBOOK.md.",
    "now-3h",
    (
        OBJECTIVES,
        ERRORS,
        LATENCY,
        LIMITS,
        WEBHOOKS,
        MONEY,
        BACKUPS,
        SECRETS,
        READ_ONLY,
        ALARM,
    ),
)
