"""polars, or the sentence that says how to get it: `ConfigError` on import where it is not installed.

Modules that need polars throughout import it from here, and are themselves imported only where candles are used, so that
`import autohedge` stays lean.
"""

from __future__ import annotations

from autohedge.errors import ConfigError

try:
    import polars as pl
except ImportError as error:
    raise ConfigError("candles need polars, which is not installed: run  pip install 'autohedge[parquet]'") from error

__all__ = ["pl"]
