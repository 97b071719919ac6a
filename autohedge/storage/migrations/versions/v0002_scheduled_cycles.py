"""The ticks of a schedule, with what became of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "scheduled_cycles",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("planned_wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("started_wall_ns", sa.BigInteger(), nullable=True),
        sa.Column("ended_wall_ns", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "n", name="pk_scheduled_cycles"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_scheduled_cycles_run_id_runs"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("scheduled_cycles")
