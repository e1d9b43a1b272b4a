"""Count one-time codes by /48 as well, note those withheld, makers of keys, services' names.

Only adds what may be null, so the release before this one goes on serving meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_people"
down_revision = "0002_runtime_settings"
branch_labels = None
depends_on = None

BYTES = sa.String().with_variant(sa.String(collation="C"), "postgresql")
CODES = ("otp_challenges", "otp_tries")


def upgrade() -> None:
    """Codes that are there count as sent, and in no /48; keys as made by the owner."""
    for table in CODES:
        op.add_column(table, sa.Column("site", BYTES))
        op.add_column(table, sa.Column("withheld", sa.Boolean()))
        op.create_index(f"ix_{table}_site_created_at", table, ["site", "created_at"])
        where = sa.text("withheld IS NULL")
        op.create_index(
            f"ix_{table}_counted", table, ["created_at"], postgresql_where=where, sqlite_where=where
        )
    with op.batch_alter_table("api_keys") as batch:  # SQLite takes a reference only by a rebuild
        batch.add_column(sa.Column("made_by", BYTES))
        batch.create_foreign_key("fk_api_keys_made_by", "api_keys", ["made_by"], ["id"])
        batch.create_index("ix_api_keys_made_by", ["made_by"])
    op.create_table(
        "service_secrets",
        sa.Column("fingerprint", BYTES, nullable=False),
        sa.Column("name", BYTES, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_service_secrets"),
    )


def downgrade() -> None:
    """Codes that were withheld count as sent again, and no code is right for them still. Which key
    made which is forgotten: revoking one ends it alone.
    """
    op.drop_table("service_secrets")
    with op.batch_alter_table("api_keys") as batch:
        batch.drop_index("ix_api_keys_made_by")
        batch.drop_constraint("fk_api_keys_made_by", type_="foreignkey")
        batch.drop_column("made_by")
    for table in CODES:
        op.drop_index(f"ix_{table}_counted", table)
        op.drop_index(f"ix_{table}_site_created_at", table)
        with op.batch_alter_table(table) as batch:
            batch.drop_column("withheld")
            batch.drop_column("site")
