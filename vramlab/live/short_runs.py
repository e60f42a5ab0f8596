"""Which runs are so short that a change of threads would cost more than the run itself.

The asynchronous runtime does such a run on the event loop's thread if it is a lone one
(``serving.inline_run_ms``).
"""

from __future__ import annotations

from vramlab.engine.effects import Infer, Target


class ShortRuns:
    """What has been seen of each session's runs since it was loaded.

    Parameters
    ----------
    most_s : float
        What counts as short; 0: nothing does.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._items: dict[tuple[str, Target], int] = {}  # the most that were run in that time

    def __contains__(self, run: Infer) -> bool:
        """Whether a run of as many items or more was short, and none of as few or fewer long since."""
        return run.items <= self._items.get((run[0], run[1]), 0)

    def stays(self, run: Infer, others: int) -> bool:
        """Whether a run is done on the event loop's thread: it is short, and no others are under way."""
        return others <= 0 and run in self

    def note(self, run: Infer, took_s: float) -> None:
        """`run` took so long, a change of threads not counted."""
        session = run[0], run[1]
        known = self._items.get(session, 0)
        if took_s <= self._most_s:
            if run.items > known:
                self._items[session] = run.items
        elif run.items <= known:
            self._items.pop(session, None)  # two may end at once

    def forget(self, model: str, target: Target) -> None:
        """The session has been made anew, and nothing is known of its runs."""
        self._items.pop((model, target), None)
