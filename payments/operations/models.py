"""The clock's tasks. Nothing periodic lives in Redis or in one process's memory."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from payments.db import UtcDateTime, db


class PeriodicTask(db.Model):
    """A task that some clock runs when it is due, claimed by one conditional UPDATE."""

    __tablename__ = "periodic_tasks"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_run_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_token: Mapped[str | None]
    last_run_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None]
