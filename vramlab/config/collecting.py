"""When Python looks for garbage that refers to itself: seldom, while much is made that does not.

The collector goes through all that is new, and from time to time through all that there is. Inventories of
50,000 models, and runs of a million requests, are millions of objects, hardly any of them garbage: it took
two fifths of a comparison.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW = 1_000_000  # objects after which it looks; 700 otherwise


def collect_rarely() -> None:
    """Let the collector look seldom from now on: for processes that work off studies and nothing else."""
    gc.set_threshold(_NEW, *gc.get_threshold()[1:])


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Let the collector look seldom meanwhile, and once at the end: an engine and its stories are a knot.

    Failures leave garbage, too, so it is never off.
    """
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.collect(1)  # what was there before is left alone
