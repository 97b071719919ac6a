"""AutoHedge: agents form views, arithmetic decides, the shell acts, the ledger remembers."""

__version__ = "1.0.0a1"
