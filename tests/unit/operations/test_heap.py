"""Settling the heap, in a process of its own: it cannot be undone for the objects of this one."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from autohedge.operations.heap import settle_heap

class Node:
    pass

settle_heap()
frozen = gc.get_freeze_count()
settled = {id(each) for each in gc.get_objects()}
node = Node()
node.itself = node
del node
print(frozen > 1_000, len(settled) < frozen, gc.collect() > 0)
"""


def test_what_is_alive_is_left_alone_and_what_comes_after_is_still_collected() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]
