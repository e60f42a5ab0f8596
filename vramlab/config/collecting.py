"""When Python looks for garbage that refers to itself: seldom, while much is made that does not.

The collector goes through all that is new, and from time to time through all that there is. Inventories of
50,000 models, and runs of a million requests, are millions of objects, hardly any of them garbage: it took
two fifths of a comparison.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW = 1_000_000  # objects after which it looks; 700 otherwise


def collect_rarely() -> None:
    """Let the collector look seldom from now on, and at nothing that is there: for processes of studies.

    Nor does it look at their end, where all goes anyhow.
    """
    gc.freeze()
    atexit.register(gc.freeze)
    gc.set_threshold(_NEW, *gc.get_threshold()[1:])


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Let the collector look seldom meanwhile.

    An engine and its stories are a knot, which it looks for when the next one is made: what came of the run
    is often gone by then, and need not be gone through.
    """
    before = gc.get_threshold()
    gc.collect(1)  # what was there at the last look is left alone
    gc.set_threshold(_NEW, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
