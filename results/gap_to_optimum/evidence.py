"""Which misses remain after tuning, and what it would take to foresee them.

    python results/gap_to_optimum/evidence.py TRACE MODELS TUNED.yaml...

For each tuned configuration, on the part after 2024-11-24 (716,530 s): the misses of the tuned policy and of
LRU by kind, against an offline schedule that can be had; and the gap that would be closed by one who knows
the next N requests (what is worth least per step until its next use leaves; beyond N, by decayed rate).
"""

import sys

import numpy as np

from vramlab.allocator.exact import cheapest_cover
from vramlab.analysis.bounds import offline_bound
from vramlab.analysis.schedules import round_schedule
from vramlab.config.loading import load_config, load_inventory, with_overrides
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.replay import replay
from vramlab.traces.files import read_trace

BOUNDARY_S = 716_530.0
HALF_LIFE_S = 14_400.0


def foreseeing_cost(codes, times, sizes, loads, capacity, first, known):
    """Load cost of the requests from `first` on, for one who knows the next `known` requests."""
    places = [np.flatnonzero(codes == model) for model in range(len(sizes))]
    rate, last = np.zeros(len(sizes)), np.zeros(len(sizes))
    held, free, cost = set(), capacity, 0.0
    for now, (model, time) in enumerate(zip(codes.tolist(), times.tolist(), strict=True)):
        rate[model] = rate[model] * 2.0 ** ((last[model] - time) / HALF_LIFE_S) + 1.0
        last[model] = time
        if model in held:
            continue
        cost += loads[model] if now >= first else 0.0
        if sizes[model] > free:
            some = sorted(held)
            worth = []
            for other in some:
                age = time - last[other]
                value = 1e-6 * rate[other] * 2.0 ** (-age / HALF_LIFE_S) * (age + 1.0) ** -0.5
                at = np.searchsorted(places[other], now, "right")
                if at < len(places[other]) and places[other][at] - now <= known:
                    value = 1.0 / (places[other][at] - now)
                worth.append(value * loads[other])
            for index in cheapest_cover(worth, [sizes[m] for m in some], sizes[model] - free):
                held.discard(some[index])
                free += sizes[some[index]]
        held.add(model)
        free -= sizes[model]
    return cost


def main(trace_file, models_file, *configs):
    """Print the tables."""
    trace, inventory = read_trace(trace_file), load_inventory(models_file)
    first = int(np.searchsorted(trace.times_s, BOUNDARY_S))
    codes, times = trace.model_codes, trace.times_s
    sizes = [inventory[name].footprint_bytes for name in trace.model_names]
    loads = np.array([inventory[name].load_s for name in trace.model_names])
    new = np.zeros(len(trace), dtype=bool)
    new[np.unique(codes, return_index=True)[1]] = True
    large = np.array(sizes)[codes] > 4 * 2**30
    late = np.arange(len(trace)) >= first
    for path in configs:
        config = load_config(path)
        capacity = config.budget_bytes
        bound = offline_bound(trace, inventory, capacity, counted_from=first).load_cost_s
        schedule = round_schedule(offline_bound(trace, inventory, capacity), trace, inventory)
        weightless = [
            f"scoring.weights.{name}=null" for name in ("priority", "frequency", "recency", "size", "cost")
        ]
        missed, cost = {}, {}
        for name, setting in (
            ("lru", with_overrides(config, ["scoring.policy=lru", "scoring.victims=auto", *weightless])),
            ("tuned", config),
        ):
            records = replay(trace, setting, inventory, "decide").records
            missed[name] = records.outcomes == Outcome.COLD_START
            cost[name] = float(loads[codes[missed[name] & late]].sum())
        missed["offline schedule"] = ~schedule.kept
        cost["offline schedule"] = float(loads[codes[~schedule.kept & late]].sum())
        gap = cost["lru"] - bound
        print(f"\n{capacity / 2**20:,.0f} MB, validation part: bound (LP) {bound:,.0f} s")
        print(f"{'':18}{'cost s':>9}{'of gap':>8}{'misses':>8}{'first use':>10}{'2 GB':>7}{'6.5 GB':>8}")
        for name, flags in missed.items():
            kinds = flags & late & new, flags & late & ~new & ~large, flags & late & ~new & large
            counts = "".join(f"{n:>{w}}" for n, w in zip((k.sum() for k in kinds), (10, 7, 8), strict=True))
            print(f"{name:18}{cost[name]:9,.0f}{(cost['lru'] - cost[name]) / gap:8.3f}"
                  f"{(flags & late).sum():8}{counts}")  # fmt: skip
        both = missed["tuned"] & missed["offline schedule"] & late
        only = missed["tuned"] & schedule.kept & late
        spared = f"{only.sum()} ({loads[codes[only]].sum():,.0f} s)"
        print(f"of the tuned policy's misses the offline schedule has {both.sum()} too, and spares {spared}")
        for known in (0, 1, 2, 5, 10, 20, 50, 100, len(trace)):
            its = foreseeing_cost(codes, times, sizes, loads, capacity, first, known)
            part = (cost["lru"] - its) / gap
            print(f"  who knows the next {known:>6,} requests: {its:9,.0f} s, {part:.3f} of the gap")


if __name__ == "__main__":
    main(*sys.argv[1:])
