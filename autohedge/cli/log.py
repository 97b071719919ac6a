"""The log of a command: one short line per message on stderr, without tracebacks and without keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loguru import Message

SECRETS = ("OPENAI_API_KEY", "AUTOHEDGE_API_KEY")
"""Environment variables whose values are never shown."""
MAX_CHARS = {"ERROR": 2_000, "CRITICAL": 5_000}
"""By level, longest line; 500 for the others. What went wrong in the program is told with its trace, whose end matters most."""


def log_to_stderr(environ: Mapping[str, str] = os.environ) -> None:
    """Make the log one line per message on stderr, whatever was configured before.

    An exception is told by its type and place; values of variables, which may hold keys, never are. Standard error is looked up
    at each message, because a live progress view stands before it while it is shown.
    """
    from loguru import logger

    secrets = [value for name in SECRETS if len(value := environ.get(name, "")) >= 4]

    def write(message: Message) -> None:
        sys.stderr.write(line_of(message, secrets))
        sys.stderr.flush()

    logger.remove()
    logger.add(write, level="INFO", format="{message}", backtrace=False, diagnose=False, catch=True)


def line_of(message: Message, secrets: list[str]) -> str:
    """One message as one line."""
    record = message.record
    text = " ".join(record["message"].split())
    error = record["exception"]
    if error is not None and error.type is not None:
        trace = error.traceback
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
        text += f" ({error.type.__name__}{place})"
    for secret in secrets:
        text = text.replace(secret, "***")
    limit = MAX_CHARS.get(record["level"].name, 500)
    if len(text) > limit:
        text = f"{text[: limit // 4]} … {text[3 + limit // 4 - limit :]}"
    return f"autohedge: {record['level'].name.lower()}: {text}\n"
