"""Where nobody can be loaded for, nobody is looked at again until something has changed."""

import numpy as np
import pytest

from tests.engine.hand import HandDriver, settings, spec
from vramlab.allocator.policies import policy_names
from vramlab.allocator.policies.lru import LRU
from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.journal import Journal
from vramlab.simulation.replaying import simulate
from vramlab.traces.synthetic import zipf_trace
from vramlab.traces.trace import Trace

FORGETFUL = "rules.max_waiting=1000000"
"""Under a rule the scheduler remembers nothing, and looks at everybody at every step: the naive twin."""


class Counting(LRU):
    """LRU that counts how often it is asked who leaves first."""

    asked = 0

    def ranked(self, now_s):
        Counting.asked += 1
        return super().ranked(now_s)


@pytest.mark.parametrize(("rules", "expected"), [((), range(1, 10)), ((FORGETFUL,), range(150, 10_000))])
def test_a_run_that_ends_costs_no_look_at_residents_while_all_of_them_are_wanted(rules, expected):
    Counting.asked = 0
    config = settings(20, f"scoring.policy={__name__}:Counting", *rules)
    driver = HandDriver(config, {name: spec(10, cpu_fallback="none") for name in "abc"})
    for model in "ab":
        driver.serve_fully(model)
    for number in range(2, 202):
        driver.ask(number, "bca"[number % 3], 0.0)
    for step in range(100):  # of a and of b others still wait then
        (running,) = driver.under_way
        driver.end(running, 1.0 + step)
    assert Counting.asked in expected


PRIORITIES = ("critical", "high", "medium", "low", None)


def crowd(seed):
    """(trace, inventory, settings): more comes than can be served, in zones with and without retention."""
    rng = np.random.default_rng(seed)
    inventory = {
        f"m{number}": ModelSpec(
            priority=str(rng.choice(PRIORITIES[1:4])),
            vram_size_mb=float(rng.integers(10, 200)),
            load_time_ms=float(rng.integers(20, 400)),
            inference_ms=float(rng.integers(5, 40)),
            cpu_fallback=str(rng.choice(["none", "normal"])),
        )
        for number in range(40)
    }
    trace = zipf_trace(rng, models=list(inventory), requests=700, rate_per_s=60.0, exponent=0.9)
    frame = trace.frame.assign(
        priority=[PRIORITIES[i] for i in rng.choice(5, 700, p=[0.02, 0.1, 0.1, 0.1, 0.68])]
    )
    retained = f"min_retention_time: {rng.choice([0, 0.5, 3.0])}"
    chosen = [
        "total_memory_mb=1200",
        "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
        f"zones={{critical: {{size_mb: 300}}, high_priority: {{size_mb: 400, {retained}}}, "
        f"flexible: {{size_mb: 900, max_models: {rng.choice(['null', '5'])}, {retained}}}}}",
        f"scoring.policy={rng.choice(policy_names())}",
        f"serving.gpu_streams={rng.integers(1, 5)}",
        f"serving.load_channels={rng.integers(1, 3)}",
        f"serving.max_wait_s={rng.choice([2, 300])}",
        f"placement={rng.choice(['paged', 'contiguous'])}",
        f"fallback.fallback_queue_size={rng.choice([0, 3, 100])}",
        f"admission={rng.choice(['always', 'compete', 'free_only'])}",
        f"optimization.monitor={bool(rng.integers(2))}",
    ]
    return Trace.from_frame(frame, trace.source), inventory, chosen


def wants_three(waiting, now_s):
    """An order of one's own that looks at all who could be loaded, and takes none of the first."""
    run = next(iter(waiting.runs()), None)
    return run or next((one for one in waiting.loads() if waiting.count(one.model) >= 3), None)


@pytest.mark.parametrize("order", ["backlog", "affinity", f"{__name__}:wants_three"])
@pytest.mark.parametrize("seed", range(8))
def test_decisions_are_those_of_one_that_looks_at_everybody_at_every_step(seed, order):
    trace, inventory, chosen = crowd(seed)
    texts = []
    for rules in [], [FORGETFUL]:
        journal = Journal()
        config = load_config(None, [*chosen, f"serving.order={order}", *rules])
        simulate(trace, config, inventory, journal=journal)
        texts.append("".join(journal.texts()))
    assert texts[0] == texts[1]
    assert texts[0].count('"what":"load"') > 20
