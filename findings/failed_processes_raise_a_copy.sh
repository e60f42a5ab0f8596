#!/usr/bin/env bash
# SimPy: what a failed process raises in those who wait for it is not the exception that was raised, but a new one.
#
# Guess before running: the exception comes out as it was raised, in a waiting process and from `run`.
# Seen: both build a new one of the same class from its `args`. So fields set beside `args` are lost, and an
# exception whose constructor takes something else than `args` turns into a TypeError about that constructor:
# `except OutOfMemory` in the waiting process does not catch it, and the report names the wrong fault. The
# original is the `__cause__`, where the copy could be built. Let an exception that leaves a process have the
# arguments of its constructor as its `args`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check simpy==4.1.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import simpy


class Refused(Exception):
    """Says more than its message."""


class OutOfMemory(Exception):
    def __init__(self, model, size_mb):
        super().__init__(f"{model} wants {size_mb} MB")
        self.size_mb = size_mb


def refuse():
    error = Refused("queue full")
    error.retry_s = 30
    return error


def caught(make, waits):
    """What comes out of a process that raises, in a process that waits for it or from `run`."""
    env = simpy.Environment()
    seen = []

    def server():
        yield env.timeout(1)
        raise make()

    def client():
        try:
            yield env.process(server())
        except Exception as error:
            seen.append(error)

    env.process(client() if waits else server())
    try:
        env.run()
    except Exception as error:
        seen.append(error)
    return seen[0]


print("simpy", version("simpy"))
changed = False
for place, waits in (("in a process that waits", True), ("from run", False)):
    refused = caught(refuse, waits)
    memory = caught(lambda: OutOfMemory("detector", 300), waits)
    print(f"{place}: {type(refused).__name__} with retry_s {getattr(refused, 'retry_s', 'lost')}, "
          f"its cause has {getattr(refused.__cause__, 'retry_s', 'none')}; {type(memory).__name__}: {memory}")
    changed |= hasattr(refused, "retry_s") or type(memory) is not TypeError
sys.exit(changed)
PYTHON
