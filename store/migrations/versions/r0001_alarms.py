"""Alarms with their history, what is on its way into them, and messages on their way out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "alarm",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("code", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False, index=True),
        sa.Column("since_ms", sa.BigInteger, nullable=False, index=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "alarm_event",
        sa.Column("alarm_id", sa.String, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "alarm_key",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("alarm_id", sa.String, nullable=False, index=True),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "inbox",
        # SQLite counts in 64 bits when it is an INTEGER, and only then.
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "letter",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("recipient", sa.String, nullable=False, index=True),
        sa.Column("alarm_id", sa.String, nullable=False, index=True),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("delivery", sa.String, nullable=False, index=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("recipient", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False, index=True),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("made_ms", sa.BigInteger, nullable=False),
        sa.Column("next_ms", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("body", sa.JSON, nullable=False),
    )
