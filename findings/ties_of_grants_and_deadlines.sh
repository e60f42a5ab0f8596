#!/usr/bin/env bash
# SimPy: at a tie, `yield request | timeout` may name both events, or only the deadline though the slot is ours.
#
# Guess before running: (1) a free slot and a patience of 0: the result names only the request, which came
# first. (2) A slot released just before a deadline of the same instant: the result names both.
# Seen: (1) both are named. (2) Only the deadline is named, and yet request.triggered is True: a release grants
# the slot one event later than it is called, so a deadline that was due in between wins the result, not the
# slot. So `if deadline in result: give up` loses requests that were served at once, and `if request in result`
# loses those whose slot came in time; with whole-second traces and round service times ties are common.
# Ask `request.triggered` instead: it is right in each case below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check simpy==4.1.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import simpy


def outcome(busy, patience, arrival_steps):
    """What one waiter sees: request named, deadline named, slot granted, and when."""
    env = simpy.Environment()
    slot = simpy.Resource(env, capacity=1)
    seen = []

    def holder():
        with slot.request() as held:
            yield held
            yield env.timeout(busy)

    def waiter():
        for _ in range(arrival_steps):  # later in the order of events, still at time 0
            yield env.timeout(0)
        with slot.request() as request:
            deadline = env.timeout(patience)
            result = yield request | deadline
            seen.append((request in result, deadline in result, request.triggered, env.now))

    if busy:
        env.process(holder())
    env.process(waiter())
    env.run()
    return seen[0]


print("simpy", version("simpy"))
CASES = {
    "slot free, patience 0": ((0, 0, 0), (True, True, True, 0)),
    "slot released at 2, then the deadline at 2": ((2, 2, 2), (False, True, True, 2)),
    "slot released at 2, patience longer": ((2, 3, 2), (True, False, True, 2)),
}
changed = False
for text, (case, expected) in CASES.items():
    seen = outcome(*case)
    print(f"{text}: request named {seen[0]}, deadline named {seen[1]}, granted {seen[2]}, at {seen[3]}")
    changed |= seen != expected
sys.exit(changed)
PYTHON
