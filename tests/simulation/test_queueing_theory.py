"""Mean waiting times of simulated queues against the formulas, within confidence intervals.

With every model resident, a request only waits for a GPU stream: one queue with as many servers as streams.
The interval is that of the mean over independent replications (Student's t): observations within one run
are correlated, whole runs are not.
"""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from tests.simulation.workloads import plain_cache
from vramlab.config.schema import ModelSpec
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.replaying import simulate
from vramlab.simulation.service_times import ServiceTimes
from vramlab.traces.trace import Trace

SERVICE_S = 0.01
REPLICATIONS, REQUESTS, WARM_UP = 20, 5000, 500
CONFIDENCE = 0.999  # seeds are fixed, so this is about our choice of them


class Exponential(ServiceTimes):
    """Runs of exponential length."""

    def __init__(self, rng):
        self.rng = rng

    def load_s(self, model, target):
        return 0.0

    def unload_s(self, model):
        return 0.0

    def infer_s(self, model, target, items):
        return self.rng.exponential(SERVICE_S)


class Deterministic(Exponential):
    def infer_s(self, model, target, items):
        return SERVICE_S


def erlang_c(servers, load):
    """Probability of waiting in M/M/c with `load` = arrival rate x mean service (Erlang's C formula)."""
    last = load**servers / math.factorial(servers) / (1 - load / servers)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


def mean_wait_mmc(servers, utilisation):
    """Of M/M/c, in seconds: C / (c mu - lambda)."""
    return erlang_c(servers, servers * utilisation) * SERVICE_S / (servers * (1 - utilisation))


def mean_wait_md1(utilisation):
    """Of M/D/1, in seconds: Pollaczek and Khinchine with no variance of service."""
    return utilisation * SERVICE_S / (2 * (1 - utilisation))


def latencies_s(times_of, servers, utilisation, seed):
    rng = np.random.default_rng(seed)
    arrivals_s = np.cumsum(rng.exponential(SERVICE_S / servers / utilisation, REQUESTS))
    frame = pd.DataFrame({"time_s": arrivals_s, "model": rng.choice(["a", "b"], REQUESTS)})
    spec = ModelSpec(priority="critical", vram_size_mb=1, load_time_ms=1, always_loaded=True)
    config = plain_cache(100, f"serving.gpu_streams={servers}")
    trace = Trace.from_frame(frame, "<queue>")
    return simulate(trace, config, {"a": spec, "b": spec}, times_of(rng)).latency_s[WARM_UP:]


def interval(times_of, servers, utilisation):
    means = [latencies_s(times_of, servers, utilisation, seed).mean() for seed in range(REPLICATIONS)]
    half = student.ppf((1 + CONFIDENCE) / 2, REPLICATIONS - 1) * np.std(means, ddof=1) / REPLICATIONS**0.5
    return np.mean(means), half


@pytest.mark.parametrize(
    ("times_of", "servers", "utilisation", "wait_s"),
    [
        (Exponential, 1, 0.5, mean_wait_mmc(1, 0.5)),
        (Exponential, 1, 0.8, mean_wait_mmc(1, 0.8)),
        (Deterministic, 1, 0.5, mean_wait_md1(0.5)),
        (Deterministic, 1, 0.8, mean_wait_md1(0.8)),
        (Exponential, 3, 0.8, mean_wait_mmc(3, 0.8)),
        (lambda rng: SharedMachine(Exponential(rng)), 3, 0.8, mean_wait_mmc(3, 0.8)),
    ],
    ids=["M/M/1 0.5", "M/M/1 0.8", "M/D/1 0.5", "M/D/1 0.8", "M/M/3 0.8", "M/M/3 0.8 by the shared driver"],
)
def test_mean_waiting_time(times_of, servers, utilisation, wait_s):
    mean_s, half_s = interval(times_of, servers, utilisation)
    assert abs(mean_s - SERVICE_S - wait_s) < half_s
    assert half_s < 0.25 * (SERVICE_S + wait_s)  # or the test could not fail


def test_processor_sharing_on_one_core():
    """M/M/1 with processor sharing has M/M/1's mean time in the system, 1/(mu - lambda) (Kleinrock 1976)."""
    streams = 64  # so that nobody queues for one
    means = []
    for seed in range(REPLICATIONS):
        rng = np.random.default_rng(seed)
        arrivals_s = np.cumsum(rng.exponential(SERVICE_S / 0.6, REQUESTS))
        frame = pd.DataFrame({"time_s": arrivals_s, "model": "a"})
        spec = ModelSpec(priority="critical", vram_size_mb=1, load_time_ms=1, always_loaded=True)
        config = plain_cache(100, f"serving.gpu_streams={streams}")
        machine = SharedMachine(Exponential(rng), cores=1)
        records = simulate(Trace.from_frame(frame, "<queue>"), config, {"a": spec}, machine)
        means.append(records.latency_s[WARM_UP:].mean())
    half = student.ppf((1 + CONFIDENCE) / 2, REPLICATIONS - 1) * np.std(means, ddof=1) / REPLICATIONS**0.5
    assert abs(np.mean(means) - SERVICE_S / (1 - 0.6)) < half < 0.1 * SERVICE_S / (1 - 0.6)


def test_the_formulas():
    # textbook values: M/M/1 at 0.5 waits one service time; two servers at half load wait with probability 1/3
    assert mean_wait_mmc(1, 0.5) == pytest.approx(SERVICE_S)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
