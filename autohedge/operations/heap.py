"""What the garbage collector need not look at again.

A full collection walks every object of the process, and the libraries of a desk alone are a hundred and fifty thousand: it
stops the session for a tenth of a second, at a moment of its own choosing. What was loaded before the session began lives as
long as the process, so it is taken out of the walk; what the session makes is collected as ever.
"""

from __future__ import annotations

import gc


def settle_heap() -> None:
    """Exempt all objects alive now from garbage collection; to be called once, when a session is set up and not yet running.

    For a process that is AutoHedge's own (the command line). A library may not decide this for its host: cycles among objects
    that are alive now would never be freed.
    """
    gc.freeze()
