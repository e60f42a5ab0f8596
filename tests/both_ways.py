"""What runs come to, as hashes of journals and figures: the same from the compiled core and the interpreted.

``python -m tests.both_ways`` prints them as JSON, of the core as it is; with ``--interpreted`` of its source
alone, whether or not it is compiled.
"""

import hashlib
import importlib.machinery
import json
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "vramlab"
NOT_COMPARED = ("wall_s", "requests_per_s", "compiled")

SIMULATED = {
    "late, backlog": ["serving.order=backlog"],
    "three streams": ["serving.gpu_streams=3", "serving.load_channels=2"],
    "fifo, LRU": ["serving.order=fifo", "scoring.policy=lru"],
    "affinity, decayed": ["serving.order=affinity", "serving.gpu_streams=2", "scoring.policy=decayed"],
    "on arrival, exact": ["serving.order=arrival", "scoring.victims=exact"],
    "on arrival, contiguous": ["serving.order=arrival", "placement=contiguous", "scoring.policy=gdsf"],
    "contiguous, moved": ["placement=contiguous", "optimization.defragmentation=always"],
    "cache and predictor": ["caching.enable_result_caching=true", "optimization.predictor=ewma"],
    "compete": ["admission=compete", "scoring.policy=sieve"],
    "the CPU where it is sooner": ["fallback.when=earliest_finish", "scoring.policy=s3_fifo"],
    "own policy": ["scoring.policy=tests.policies.own:NewestFirst"],
    "the CPU while it loads": ["serving.on_miss=cpu_while_loading", "scoring.policy=lhd"],
    "monitor, little memory": ["optimization.optimization_threshold=0.5", "total_memory_mb=1100"],
    "preloading evicts": ["optimization.predictor=histogram", "optimization.preload_may_evict=true"],
    "idle for long": ["rules.keep_alive_s=5", "rules.keep_alive_every_s=2"],
    "rules": ["rules.one_victim=true", "rules.headroom_factor=1.2", "rules.max_waiting=20"],
    "waited for is in use": ["rules.waited_for=in_use", "scoring.policy=random"],
    "free room only": ["admission=free_only", "scoring.policy=hyperbolic"],
}
"""Overrides of the scenario ``tight``, by what they are there for."""

FAULTS = {
    "load_failures": [{"probability": 0.2}, {"probability": 0.1, "why": "out of memory"}],
    "run_failures": {"requests": [3, 400, 401]},
    "device_shrinks": [{"from_s": 100, "until_s": 900, "by_mb": 300}],
    "slow_disk": [{"from_s": 200, "until_s": 700, "factor": 30}],
    "cpu_stalls": [{"from_s": 300, "until_s": 500}],
}

POLICIES = ["seed", "seed_fixed", "decayed", "lru", "lfu", "fifo", "gdsf", "lru_k", "hyperbolic", "sieve"]
POLICIES += ["s3_fifo", "lhd", "random"]


def source_only(folder):
    """A path hook: below the package there are no extension modules."""
    if not Path(folder).is_relative_to(PACKAGE):
        raise ImportError
    loader = importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES
    return importlib.machinery.FileFinder(folder, loader)


def results():
    """Hashes by what was run, and under ``compiled`` whether the core is."""
    from vramlab.config.compiled import compiled
    from vramlab.config.faults import FaultPlan
    from vramlab.engine.journal import encode
    from vramlab.experiments.replay import replay
    from vramlab.traces.files import read_trace

    root = PACKAGE.parent
    trace = read_trace(root / "traces" / "synthetic_tight.csv.gz").head(1500)
    tight = root / "config" / "scenarios" / "tight.yaml"
    found = {"compiled": compiled()}

    def note(name, mode, overrides, faults=None):
        journal = mode == "simulate"
        result = replay(trace, str(tight), overrides=overrides, mode=mode, journal=journal, faults=faults)
        kept = {key: value for key, value in result.figures.items() if key not in NOT_COMPARED}
        lines = [encode(line) for line in result.journal or ()]
        text = "\n".join([json.dumps(kept), *lines])
        found[f"{mode}: {name}"] = hashlib.sha256(text.encode()).hexdigest()

    for name, overrides in SIMULATED.items():
        note(name, "simulate", overrides)
    for order in ("backlog", "arrival"):
        note(f"faults, {order}", "simulate", [f"serving.order={order}"], FaultPlan.model_validate(FAULTS))
    for policy in POLICIES:
        note(policy, "decide", [f"scoring.policy={policy}"])
        if policy not in ("gdsf", "lfu_da"):
            note(f"{policy}, exact", "decide", [f"scoring.policy={policy}", "scoring.victims=exact"])
    return found


if __name__ == "__main__":
    if "--interpreted" in sys.argv:
        sys.path_hooks.insert(0, source_only)
        sys.path_importer_cache.clear()
    json.dump(results(), sys.stdout)
