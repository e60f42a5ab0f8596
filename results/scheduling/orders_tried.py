"""Orders that were tried beside `backlog`, each in the place of its run or of its load.

vramlab compare TRACE --orders results.scheduling.orders_tried:in_order,backlog ...
"""


def in_order(waiting, now_s):
    """Runs in the order of coming, where `backlog` lets short ones go first: the sketch it began as."""
    return min(waiting.runs(), key=_place, default=None) or next(waiting.loads(), None)


def short_loads(waiting, now_s):
    """Of the loads, the shortest first."""
    return _run(waiting) or min(waiting.loads(), key=lambda e: (e.model.load_s, e.place), default=None)


def longest_line(waiting, now_s):
    """Of the loads, the one that helps most requests per second of loading."""
    return _run(waiting) or min(
        waiting.loads(), key=lambda e: (e.model.load_s / waiting.count(e.model), e.place), default=None
    )


def longest_wait(waiting, now_s):
    """Of the loads, by requests times the longest wait, per second of loading (D. Aksoy and M. Franklin,
    "R x W", INFOCOM 1998)."""

    def weight(entry):
        waited_s = now_s - entry.arrival_s + entry.model.load_s
        return waiting.count(entry.model) * waited_s / entry.model.load_s

    return _run(waiting) or max(waiting.loads(), key=lambda e: (weight(e), -e.place[1]), default=None)


def _run(waiting):
    return next(waiting.runs(), None)


def _place(entry):
    return entry.place
