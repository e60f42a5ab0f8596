"""Who is turned away on arrival (``rules.max_waiting``, ``rules.max_per_model``).

Ollama fb30760 answers 503 where 512 requests wait (``OLLAMA_MAX_QUEUE``); llama-swap 0bdb372 answers 429
where a model has 10 (``concurrencyLimit``), running ones included.
"""

from __future__ import annotations

from vramlab.allocator.facts import PRESENT, Model
from vramlab.config.rules import RulesConfig
from vramlab.engine.desk import Desk
from vramlab.engine.waiting import WaitingRequests


class Limits:
    """The limits of one engine.

    Parameters
    ----------
    rules : RulesConfig
        What holds.
    waiting : WaitingRequests
        Those who wait.
    """

    def __init__(self, rules: RulesConfig, waiting: WaitingRequests) -> None:
        self._rules, self._waiting = rules, waiting

    def refusal(self, model: Model) -> str:
        """Why a request that comes now is refused; empty if it is not.

        Requests for models that are there pass the first limit, as they need no place in the queue.
        """
        most, most_of_one = self._rules.max_waiting, self._rules.max_per_model
        if most is not None and model.state not in PRESENT and len(self._waiting) >= most:
            return f"{most} requests wait already"
        if most_of_one is not None and model.pins + self._waiting.count(model) >= most_of_one:
            return f"{most_of_one} requests for it are under way already"
        return ""


def limits_of(desk: Desk) -> Limits | None:
    """The limits of an engine; None where its settings have none."""
    rules = desk.config.rules
    none = rules.max_waiting is None and rules.max_per_model is None
    return None if none else Limits(rules, desk.waiting)
