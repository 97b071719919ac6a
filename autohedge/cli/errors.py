"""How a command ends: 0 done, 1 the run failed, 2 the user's mistake, 130 interrupted. Never a traceback for a mistake."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from autohedge.errors import AutoHedgeError, ConfigError, MarketDataError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, then the exit code."""
    line = " ".join(str(message).split())
    print(f"autohedge: {line}", file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn our own errors into one line and the right exit code."""
    try:
        yield
    except (ConfigError, MarketDataError) as error:
        fail(str(error), EXIT_USAGE)
    except AutoHedgeError as error:
        fail(str(error), EXIT_FAILED)
    except BrokenPipeError:
        # whoever read our output has gone; the files are written all the same
        sys.stderr.close()
        raise SystemExit(EXIT_FAILED) from None
