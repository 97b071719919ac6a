"""What a test of a desk, a rule or a strategy needs: models that answer by script, a model server with faults, a clock by hand.

Shipped for users' own tests; the product itself never imports it. Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autohedge.testing.clock import ManualClock
    from autohedge.testing.good_answers import GoodAnswers
    from autohedge.testing.model_server import ModelServer
    from autohedge.testing.replies import HttpReply, completion, error_reply
    from autohedge.testing.scripted_model import ScriptedModel

__all__ = ["GoodAnswers", "HttpReply", "ManualClock", "ModelServer", "ScriptedModel", "completion", "error_reply"]

_HOMES = {
    "GoodAnswers": "good_answers",
    "HttpReply": "replies",
    "ManualClock": "clock",
    "ModelServer": "model_server",
    "ScriptedModel": "scripted_model",
    "completion": "replies",
    "error_reply": "replies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
