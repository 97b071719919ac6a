"""The first ledger: runs, what they did, and what their desks decided."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _place_in_run() -> list[sa.Column[Any]]:
    return [_text("run_id"), _integer("seq"), _text("symbol"), _integer("ts_ns")]


def _keys(table: str, *more: str) -> list[sa.Constraint]:
    return [
        sa.PrimaryKeyConstraint("run_id", "seq", *more, name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=f"fk_{table}_run_id_runs"),
    ]


def _keys_in_cycle(table: str) -> list[sa.Constraint]:
    cycle = sa.ForeignKeyConstraint(["run_id", "seq"], ["cycles.run_id", "cycles.seq"], name=f"fk_{table}_run_id_seq_cycles")
    return [*_keys(table, "number"), cycle]


def upgrade() -> None:
    """Create all tables."""
    _create_runs()
    _create_market_making()
    _create_desk()


def _create_runs() -> None:
    op.create_table(
        "runs",
        _text("run_id"),
        _text("kind"),
        _text("status"),
        _integer("started_wall_ns"),
        _integer("ended_wall_ns", nullable=True),
        _text("settings_json"),
        _text("settings_hash"),
        _text("market_json"),
        _text("market_fingerprint"),
        _text("symbols_json"),
        _flag("simulated"),
        _integer("seed", nullable=True),
        _text("version"),
        _text("folder"),
        _text("summary_json", nullable=True),
        _text("note"),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )


def _create_market_making() -> None:
    op.create_table(
        "openings",
        *_place_in_run(),
        *map(_text, ("price", "base", "quote", "total_value")),
        *_keys("openings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "orders",
        *_place_in_run(),
        *map(_text, ("client_order_id", "side", "kind")),
        _text("price", nullable=True),
        _text("size"),
        _flag("post_only"),
        *map(_text, ("state", "reason", "detail", "mandate_id", "decision_source")),
        *_keys("orders"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "order_events",
        *_place_in_run(),
        *map(_text, ("client_order_id", "event", "state", "detail")),
        *_keys("order_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fills",
        *_place_in_run(),
        *map(_text, ("trade_id", "client_order_id", "side", "price", "size", "fee", "fee_asset", "liquidity")),
        *map(_text, ("base_after", "quote_after", "total_value", "mandate_id", "decision_source", "reason")),
        sa.PrimaryKeyConstraint("run_id", "seq", name="pk_fills"),
        sa.UniqueConstraint("run_id", "trade_id", name="uq_fills_run_id_trade_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_fills_run_id_runs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quote_states",
        *_place_in_run(),
        _text("side"),
        _flag("quoting"),
        _text("reason"),
        *_keys("quote_states"),
        sqlite_with_rowid=False,
    )


def _create_desk() -> None:
    op.create_table(
        "cycles",
        *_place_in_run(),
        _text("cycle_id"),
        _integer("cycle_ts_ns"),
        *map(_text, ("outcome", "reason", "source")),
        _count("revisions"),
        _text("proposal_json", nullable=True),
        *map(_text, ("mandate_outcome", "mandate_reason")),
        _text("mandate_json", nullable=True),
        *_keys("cycles"),
    )
    op.create_table(
        "decisions",
        *_place_in_run(),
        _count("number"),
        *map(_text, ("cycle_id", "role")),
        _count("sequence"),
        *map(_text, ("schema_name", "source", "reason_code", "reason")),
        _text("model", nullable=True),
        *map(_text, ("prompt_hash", "input_hash")),
        _integer("input_tokens", nullable=True),
        _integer("output_tokens", nullable=True),
        _text("cost_usd", nullable=True),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        _count("attempts"),
        _text("value_json"),
        *_keys_in_cycle("decisions"),
    )
    op.create_table(
        "model_calls",
        *_place_in_run(),
        _count("number"),
        *map(_text, ("cycle_id", "role")),
        _count("attempt"),
        *map(_text, ("model", "outcome", "detail", "messages_json", "response")),
        *(_integer(name, nullable=True) for name in ("input_tokens", "output_tokens", "cached_tokens")),
        _integer("started_wall_ns"),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        *_keys_in_cycle("model_calls"),
    )


def downgrade() -> None:
    """Drop all tables."""
    for table in ("model_calls", "decisions", "cycles", "quote_states", "fills", "order_events", "orders", "openings", "runs"):
        op.drop_table(table)
