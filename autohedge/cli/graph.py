"""`autohedge graph`: the desk's state machine as it is compiled."""

from __future__ import annotations


def graph() -> None:
    """Print the desk's graph as Mermaid."""
    from autohedge.desk.graph import mermaid

    print(mermaid())
