"""Lay the tables, the functions of the ledger and what keeps append-only tables append-only.

The first one: nothing to stay compatible with. Going back drops everything, money included.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0001_initial"
down_revision = None
branch_labels = None
depends_on = None

# Functions for Postgres, frozen with this migration; SQLite needs none.
SQL = sorted((Path(__file__).parents[1] / "sql").glob("0001_*.sql"))
APPEND_ONLY = ("entries", "postings", "events", "audit_log")
# Text is compared byte by byte on both databases: ids by the million, and the order of pages.
BYTES = "C"
TYPES = {
    "text": sa.String().with_variant(sa.String(collation=BYTES), "postgresql"),
    "long": sa.Text().with_variant(sa.Text(collation=BYTES), "postgresql"),  # JSON, bodies
    "amount": sa.BigInteger(),  # minor units
    "count": sa.Integer(),
    "version": sa.BigInteger(),  # a restore raises it past any that was ever shown
    "flag": sa.Boolean(),
    "time": sa.DateTime(timezone=True),
}


@dataclass(frozen=True)
class Table:
    """One table, everything in it named by rule; lists of columns are words in a text.

    columns: from a type (`?`: may be null) to columns. status: the values a status may have.
    refers: from a column to the table whose `id` it holds. partial: from an index's name to its
    columns and its condition.
    """

    name: str
    columns: Mapping[str, str]
    key: str = "id"
    status: str = ""
    unique: Sequence[str] = ()
    refers: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=dict)
    indexes: Sequence[str] = ()
    partial: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def create(self) -> None:
        """Create it with its constraints and indexes."""
        op.create_table(
            self.name,
            *(
                sa.Column(column, TYPES[kind.rstrip("?")], nullable=kind.endswith("?"))
                for kind, names in self.columns.items()
                for column in names.split()
            ),
            sa.PrimaryKeyConstraint(*self.key.split(), name=f"pk_{self.name}"),
            *(sa.UniqueConstraint(*c.split(), name=self._named("uq", c)) for c in self.unique),
            *(
                sa.ForeignKeyConstraint([c], [f"{other}.id"], name=self._named("fk", c))
                for c, other in self.refers.items()
            ),
            *(sa.CheckConstraint(rule, self._named("ck", n)) for n, rule in self._rules()),
            *(sa.Index(self._named("ix", c), *c.split()) for c in self.indexes),
            *(
                sa.Index(name, *c.split(), postgresql_where=sa.text(w), sqlite_where=sa.text(w))
                for name, (c, w) in self.partial.items()
            ),
        )

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.status:
            words = ", ".join(f"'{word}'" for word in self.status.split())
            yield "status", f"status IN ({words})"
        yield from self.checks.items()

    def _named(self, kind: str, words: str) -> str:
        return f"{kind}_{self.name}_{words.replace(' ', '_')}"


def upgrade() -> None:
    """From nothing."""
    for table in TABLES:
        table.create()
    if _on_postgres():
        for path in SQL:
            _execute(path.read_text())
    for name in APPEND_ONLY:
        _refuse_changes(name)


def downgrade() -> None:
    """To nothing."""
    for table in reversed(TABLES):
        op.drop_table(table.name)
    if _on_postgres():
        for path in reversed(SQL):
            for name in re.findall(
                r"^CREATE (?:OR REPLACE )?FUNCTION (\w+)", path.read_text(), re.MULTILINE
            ):
                _execute(f"DROP FUNCTION {name}")


def _refuse_changes(table: str) -> None:
    """Let rows of the table be added, never changed and never taken away."""
    if _on_postgres():
        _execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        _execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        return
    refusal = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    _execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refusal}")
    _execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refusal}")
    # INSERT OR REPLACE takes the old row away without asking the trigger on DELETE.
    taken = f"EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)"  # noqa: S608
    _execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {taken} {refusal}")


def _on_postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _execute(statement: str) -> None:
    """Run it as it stands: a colon or a percent sign in it means nothing."""
    op.get_bind().exec_driver_sql(statement, execution_options={"no_parameters": True})


TABLES = (
    Table(
        "customers",
        {
            "text": "id phone",
            "text?": "name",
            "time?": "signed_in_at",
            "version": "version",
            "time": "created_at",
        },
        unique=["phone"],
    ),
    Table(
        "otp_challenges",
        {
            "text": "id phone address code_hash status",
            "count": "tries",
            "time": "created_at expires_at",
        },
        status="open used replaced",
        indexes=["address created_at", "created_at", "phone created_at"],
    ),
    Table(
        "otp_tries",
        {"text": "id challenge_id phone address", "time": "created_at"},
        refers={"challenge_id": "otp_challenges"},
        indexes=["address created_at", "challenge_id", "created_at", "phone created_at"],
    ),
    Table(
        "sessions",
        {
            "text": "id customer_id status",
            "text?": "user_agent",
            "version": "version",
            "time": "created_at last_used_at expires_at",
            "time?": "ended_at",
        },
        refers={"customer_id": "customers"},
        status="active ended revoked",
        indexes=["customer_id created_at id", "expires_at"],
    ),
    Table(
        "refresh_tokens",
        {
            "text": "token_hash session_id",
            "text?": "successor_sealed",
            "time": "created_at",
            "time?": "replaced_at",
        },
        key="token_hash",
        refers={"session_id": "sessions"},
        indexes=["session_id"],
    ),
    Table(
        "accounts",
        {
            "text": "id owner_id kind currency",
            "count": "rank",
            "version": "version",
            "amount": "balance held",
            "amount?": "floor",
            "flag": "collects",
            "time?": "frozen_at",
            "time": "created_at",
        },
        unique=["owner_id kind currency"],
        checks={"held_not_negative": "held >= 0"},
    ),
    Table(
        "entries",
        {"text": "id kind subject_id caller", "text?": "request_id", "time": "created_at"},
        indexes=["subject_id"],
    ),
    Table(
        "postings",
        {"text": "id entry_id account_id", "amount": "amount", "time": "created_at"},
        refers={"entry_id": "entries"},
        checks={"amount_not_zero": "amount <> 0"},
        indexes=["account_id created_at id", "entry_id"],
    ),
    Table(
        "unfolded_postings",
        {"text": "posting_id account_id", "amount": "amount", "time": "created_at"},
        key="posting_id",
        indexes=["account_id posting_id"],
    ),
    Table(
        "holds",
        {
            "text": "id account_id subject_id status",
            "amount": "amount captured",
            "version": "version",
            "time": "created_at",
            "time?": "expires_at ended_at",
        },
        refers={"account_id": "accounts"},
        status="held captured released expired",
        checks={
            "amount_positive": "amount > 0",
            "captured_within_amount": "captured >= 0 AND captured <= amount",
        },
        indexes=["account_id status", "subject_id"],
    ),
    Table(
        "merchants",
        {
            "text": "id owner_id name status",
            "flag": "hot",
            "amount": "negative_limit",
            "version": "version",
            "time": "created_at",
        },
        refers={"owner_id": "customers"},
        status="pending approved suspended",
        indexes=["owner_id"],
    ),
    Table(
        "api_keys",
        {
            "text": "id merchant_id name secret_hash hint scopes",
            "version": "version",
            "time": "created_at",
            "time?": "expires_at revoked_at last_used_at",
        },
        unique=["secret_hash"],
        refers={"merchant_id": "merchants"},
        indexes=["merchant_id created_at id"],
    ),
    Table(
        "payments",
        {
            "text": "id code merchant_id merchant_account_id currency capture status",
            "text?": "customer_phone customer_id customer_account_id hold_id reference description",
            "amount": "amount amount_captured amount_refunded fee_fixed fee_whole fee fee_refunded",
            "count": "fee_bps",
            "version": "version",
            "long?": "metadata_json",
            "time": "created_at expires_at",
            "time?": "capture_before paid_at ended_at",
        },
        unique=["code"],
        refers={
            "customer_account_id": "accounts",
            "customer_id": "customers",
            "hold_id": "holds",
            "merchant_account_id": "accounts",
            "merchant_id": "merchants",
        },
        status="pending authorized succeeded canceled declined expired",
        checks={
            "amount_positive": "amount > 0",
            "captured_within_amount": "amount_captured >= 0 AND amount_captured <= amount",
            "fee_whole_within_amount": "fee_whole >= 0 AND fee_whole <= amount",
            "fee_within_captured": (
                "fee >= 0 AND fee <= amount_captured AND fee_refunded >= 0 AND fee_refunded <= fee"
            ),
            "refunded_within_captured": (
                "amount_refunded >= 0 AND amount_refunded <= amount_captured"
            ),
        },
        indexes=["merchant_id created_at id"],
        partial={
            "ix_payments_customer_id_created_at_id": (
                "customer_id created_at id",
                "customer_id IS NOT NULL",
            ),
            "ix_payments_customer_phone_created_at_id": (
                "customer_phone created_at id",
                "customer_phone IS NOT NULL",
            ),
            "ix_payments_merchant_id_reference": (
                "merchant_id reference",
                "reference IS NOT NULL",
            ),
            "ix_payments_authorized_capture_before": ("capture_before", "status = 'authorized'"),
            "ix_payments_pending_expires_at": ("expires_at", "status = 'pending'"),
        },
    ),
    Table(
        "refunds",
        {
            "text": "id payment_id merchant_id currency status",
            "amount": "amount fee_returned",
            "text?": "reason",
            "long?": "metadata_json",
            "version": "version",
            "time": "created_at",
        },
        refers={"payment_id": "payments"},
        status="succeeded",
        checks={"amount_positive": "amount > 0"},
        indexes=["merchant_id created_at id", "payment_id"],
    ),
    Table(
        "transfers",
        {
            "text": "id sender_id recipient_id currency status",
            "amount": "amount",
            "text?": "note service reference",
            "version": "version",
            "time": "created_at",
        },
        unique=["service reference"],
        refers={"recipient_id": "customers", "sender_id": "customers"},
        status="succeeded",
        checks={"amount_positive": "amount > 0"},
        indexes=["recipient_id created_at id", "sender_id created_at id"],
        partial={
            "ix_transfers_service_created_at_id": (
                "service created_at id",
                "service IS NOT NULL",
            ),
        },
    ),
    Table(
        "deposits",
        {
            "text": "id service external_reference customer_id account_id currency status",
            "amount": "amount",
            "version": "version",
            "time": "created_at",
        },
        unique=["service external_reference"],
        refers={"account_id": "accounts", "customer_id": "customers"},
        status="succeeded",
        checks={"amount_positive": "amount > 0"},
        indexes=["customer_id created_at id", "service created_at id"],
    ),
    Table(
        "events",
        {
            "text": "id type object_id",
            "text?": "merchant_id request_id",
            "long": "body",
            "time": "created_at",
        },
        indexes=["merchant_id created_at id", "object_id"],
    ),
    Table(
        "webhook_endpoints",
        {
            "text": "id merchant_id url events status secret_sealed",
            "text?": "description disabled_reason old_secret_sealed",
            "time?": "old_secret_until failing_since_at closed_until succeeded_at",
            "count": "failures",
            "version": "version",
            "time": "created_at",
        },
        refers={"merchant_id": "merchants"},
        status="enabled disabled deleted",
        indexes=["merchant_id created_at id"],
    ),
    Table(
        "deliveries",
        {
            "text": "id event_id endpoint_id merchant_id status",
            "count": "attempts tries",
            "version": "version",
            "time?": "next_attempt_at lease_until ended_at",
            "text?": "lease_token last_outcome",
            "time": "created_at",
        },
        unique=["event_id endpoint_id"],
        refers={"endpoint_id": "webhook_endpoints", "event_id": "events"},
        status="pending delivered failed canceled",
        indexes=["merchant_id created_at id"],
        partial={
            "ix_deliveries_due": ("endpoint_id next_attempt_at", "status = 'pending'"),
            "ix_deliveries_leased": ("endpoint_id", "lease_until IS NOT NULL"),
        },
    ),
    Table(
        "attempts",
        {
            "text": "id delivery_id outcome",
            "count": "number latency_ms",
            "count?": "http_status",
            "long?": "response",
            "text?": "detail",
            "time": "created_at",
        },
        refers={"delivery_id": "deliveries"},
        indexes=["delivery_id id"],
    ),
    Table(
        "idempotency_keys",
        {
            "text": "scope key fingerprint",
            "count?": "status",
            "long?": "body",
            "time": "created_at",
        },
        key="scope key",
        indexes=["created_at"],
    ),
    Table(
        "internal_nonces",
        {"text": "service nonce", "time": "expires_at"},
        key="service nonce",
        indexes=["expires_at"],
    ),
    Table(
        "periodic_tasks",
        {
            "text": "name",
            "time": "next_run_at",
            "time?": "lease_until last_run_at",
            "text?": "lease_token last_error",
        },
        key="name",
    ),
    Table(
        "audit_log",
        {
            "text": "id actor action outcome",
            "text?": "subject_id request_id",
            "long?": "before_json after_json",
            "time": "created_at",
        },
        indexes=["created_at id", "subject_id"],
    ),
)
