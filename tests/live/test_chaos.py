"""Two hundred seeds of chaos; ``make chaos`` tries ten thousand, ``VRAMLAB_CHAOS=N`` so many here."""

import os

import pytest

from tests.live import chaos
from vramlab.config.compiled import compiled

SEEDS = int(os.environ.get("VRAMLAB_CHAOS", "200"))


@pytest.mark.parametrize("tenth", range(10))
def test_whatever_fails_or_is_late_the_invariants_hold(tenth, tmp_path):
    for seed in range(tenth, SEEDS, 10):
        try:
            chaos.tried(seed, tmp_path)
        except Exception as error:
            raise AssertionError(f"python -m tests.live.chaos --seed {seed}") from error


def test_a_seed_says_all(tmp_path):
    runs = [chaos.tried(7, tmp_path) for _ in range(2)]
    assert runs[0].disk.there == runs[1].disk.there
    assert len(runs[0].disk.there) > 10_000


@pytest.mark.skipif(compiled(), reason="machine code calls its own methods, whatever is put in their place")
@pytest.mark.parametrize(
    ("where", "name", "broken"),
    [
        ("vramlab.engine.queues.Queue", "release", lambda queue: None),
        ("vramlab.engine.desk.Desk", "withdraw", lambda *given: None),
        ("vramlab.engine.claims.Claims", "met", lambda *given: None),
        ("vramlab.engine.queues.RoomQueue", "leave", lambda queue, waiter, now_s: None),
        ("vramlab.engine.scheduler.Scheduler", "freed", lambda scheduler, now_s: None),
        ("vramlab.engine.waiting.WaitingRequests", "moved", lambda waiting, model: None),
        ("vramlab.live.driver.LiveDriver", "_abandon", lambda driver, task: None),
        ("vramlab.allocator.facts.Zone", "_unpromise", lambda zone, model: None),
    ],
)
def test_it_finds_what_is_broken(where, name, broken, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{where}.{name}", broken)
    monkeypatch.setattr(chaos.Run, "PATIENCE", 1000)

    def found(seed):
        try:
            chaos.tried(seed, tmp_path)
        except Exception:
            return True
        return False

    assert any(found(seed) for seed in range(60))
