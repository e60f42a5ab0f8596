"""What the tests of studies share; also the work that other processes find here by its name."""

import os
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
POOL = ROOT / "config" / "scenarios" / "one_pool.yaml"
TRACE = ROOT / "traces" / "live_workload.csv"


def double(context, task):
    """Doubles; raises at the context's number."""
    if task == context:
        raise ValueError(f"not {task}")
    return 2 * task


def die_at(context, task):
    """Takes its process along at the context's number."""
    if task == context:
        os._exit(9)
    return task


def slow(context, task):
    """Says which process did it."""
    time.sleep(context)
    return os.getpid()
