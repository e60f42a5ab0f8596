"""What the table of this folder measures: one process per row and kind of code, started by ``remake.py``.

    python results/speed/rows.py NAME [PART] [ROUNDS]     ours and the peer in turn, inside one process
    python results/speed/rows.py prepare NAME PART FOLDER what a command reads, and the command

Prints JSON. PART takes 1 of so many requests. Where two things are compared they alternate, and what counts
is the processor's time, which others on the machine do not add to. Live hits are on the clock: there
threads wait for each other.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # behind PYTHONPATH, which says whose vramlab is measured

ORDERS = ("backlog", "arrival")
Figures = dict[str, list[float]]


def main(arguments: list[str]) -> None:
    """Measure, or prepare."""
    if arguments[0] == "prepare":
        name, part, folder = arguments[1:]
        print(json.dumps(COMMANDS[name](int(part), Path(folder))))
        return
    name, part, rounds = (*arguments, "1", "3")[:3]
    print(json.dumps({"code": kind_of_code()} | INSIDE[name](int(part), int(rounds))))


def kind_of_code() -> str:
    """Say whether the allocator that is imported is machine code."""
    import vramlab.allocator.allocator as core

    return "interpreted" if str(core.__file__).endswith(".py") else "compiled"


# -- within one process --------------------------------------------------------------------------------------


def cpu_s(function: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    gc.collect()
    begin = time.process_time()
    function()
    return time.process_time() - begin


def in_turn(rounds: int, **functions: Callable[[], object]) -> Figures:
    """Processor seconds per name, one call each in turn."""
    taken: Figures = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            taken[name].append(cpu_s(function))
    return taken


def over(taken: Figures, peer: str, ours: str) -> list[float]:
    """How many times as fast as the peer, round by round."""
    return [theirs / mine for theirs, mine in zip(taken[peer], taken[ours], strict=True)]


def simulate_row(name: str, figure: str) -> Callable[[int, int], dict[str, object]]:
    """`simulate` beside the naive simulator, under the default order and in the order of coming."""

    def measure(part: int, rounds: int) -> dict[str, object]:
        from tests.benchmarks.workloads import naive, simulated, simulated_config
        from vramlab.simulation.replaying import simulate

        trace, inventory, capacity_mb = simulated(name, part)
        configs = {order: simulated_config(capacity_mb, order) for order in ORDERS}
        kept = {}

        def ours(order: str) -> None:
            kept[order] = simulate(trace, configs[order], inventory)

        taken = in_turn(
            rounds,
            naive=lambda: kept.update(naive=naive(trace, inventory, capacity_mb)),
            **{order: lambda order=order: ours(order) for order in ORDERS},
        )
        figures = {f"{figure}.{order}": over(taken, "naive", order) for order in ORDERS}
        return {"figures": slowest(figures, figure), "cpu_s": taken, "checks": equal(kept)}

    return measure


def slowest(figures: Figures, figure: str) -> Figures:
    """The figures, and under the row's own name that of them which is worst."""
    return {figure: min(figures.values(), key=np.median)} | figures


def equal(kept: dict[str, object]) -> dict[str, object]:
    """What says that the peer is fair, and how loaded it is: it has no more to do than ours, and no less."""
    from vramlab.engine.outcomes import Outcome

    ours, peer = kept["arrival"], kept["naive"]
    assert not np.isnan(kept["backlog"].latency_s).any(), "somebody gave up"
    load_s = sum(peer.load_s[name] * int(count) for name, count in loads_of(peer))
    return {
        "hits": int((ours.outcomes == Outcome.HIT).sum()),
        "naive hits": int((peer.kind == 0).sum()),
        "loads": len(ours.loads),
        "naive loads": int((peer.kind == 1).sum()),
        "channel busy": round(load_s / float(peer.finish_s.max()), 3),
        "most that wait": most_waiting(peer.trace.times_s, peer.finish_s),
    }


def loads_of(peer) -> list[tuple[str, int]]:
    """How often the naive simulator loaded each model."""
    counts = np.bincount(peer.trace.model_codes[peer.kind == 1], minlength=len(peer.trace.model_names))
    return list(zip(peer.trace.model_names, counts, strict=True))


def most_waiting(arrival_s: np.ndarray, finish_s: np.ndarray) -> int:
    """Most requests that have come and are not answered, at any moment."""
    change = np.repeat([1, -1], len(finish_s))
    return int(np.cumsum(change[np.argsort(np.concatenate([arrival_s, finish_s]), kind="stable")]).max())


def simulate_all_on(part: int, rounds: int) -> dict[str, object]:
    """With journal, monitor and result cache, beside the naive simulator, which has none of them."""
    from tests.benchmarks.workloads import EVERYTHING, naive, simulated, simulated_config, with_input_keys
    from vramlab.engine.journal import Journal
    from vramlab.simulation.replaying import simulate

    trace, inventory, capacity_mb = simulated("hits", part)
    keyed = with_input_keys(trace)
    configs = {order: simulated_config(capacity_mb, order, *EVERYTHING) for order in ORDERS}
    ours = {
        order: lambda config=config: simulate(keyed, config, inventory, journal=Journal())
        for order, config in configs.items()
    }
    taken = in_turn(rounds, naive=lambda: naive(trace, inventory, capacity_mb), **ours)
    figures = {f"simulate_all_on.{order}": over(taken, "naive", order) for order in ORDERS}
    return {"figures": slowest(figures, "simulate_all_on"), "cpu_s": taken}


def decide_row(name: str, figure: str, policy: str) -> Callable[[int, int], dict[str, object]]:
    """`decide` beside libCacheSim's LRU; under LRU both must miss as often."""

    def measure(part: int, rounds: int) -> dict[str, object]:
        from tests.benchmarks.workloads import libcachesim_lru, to_decide
        from vramlab.simulation.decide import decide

        requests, kept = 1_000_000 // part, {}
        asked = to_decide(name, requests, policy)
        with tempfile.TemporaryDirectory() as folder:
            process = libcachesim_lru(name, requests, Path(folder) / "trace.csv")
            taken = in_turn(
                rounds,
                peer=lambda: kept.update(peer=process()[0]),
                ours=lambda: kept.update(ours=decide(*asked)),
            )
        misses = float((kept["ours"].outcomes > 0).mean())
        return {
            "figures": {figure: over(taken, "peer", "ours")},
            "cpu_s": taken,
            "checks": {"misses": round(misses, 4), "peer's misses": round(kept["peer"], 4)},
        }

    return measure


def live(part: int, rounds: int) -> dict[str, object]:
    """A hit beyond the bare run, or beyond a hop to a worker with it, microseconds: medians of each round."""
    from tests.benchmarks.live_hits import blocking, by_a_worker, on_the_loop, serving

    requests = max(2000 // part, 50)
    figures: Figures = {}

    def measure(name: str, function: Callable[..., Figures], by_workers: bool = False) -> None:
        with serving(folder, by_workers=by_workers) as served:
            peer_s, live_s = function(*served, requests)
        figures.setdefault(name, []).append(1e6 * float(np.median(live_s) - np.median(peer_s)))

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for _ in range(rounds):
            measure("live_blocking", blocking)
            measure("live_loop", on_the_loop)
            measure("live_worker", by_a_worker, by_workers=True)
    return {"figures": figures}


INSIDE: dict[str, Callable[[int, int], dict[str, object]]] = {
    "simulate_channel": simulate_row("channel", "simulate_channel"),
    "simulate_overloaded": simulate_row("overloaded", "simulate_overloaded"),
    "simulate_hits": simulate_row("hits", "simulate_hits"),
    "simulate_all_on": simulate_all_on,
    "decide_lru": decide_row("200, a quarter", "decide_lru", "lru"),
    "decide_seed_fixed": decide_row("200, a quarter", "decide_seed_fixed", "seed_fixed"),
    "decide_decayed": decide_row("200, a quarter", "decide_decayed", "decayed"),
    "decide_hits": decide_row("2000, 97 in 100", "decide_hits", "lru"),
    "live": live,
}


# -- whole commands ------------------------------------------------------------------------------------------
# Each writes what the command reads into a folder, and gives the command. The files are made by code that
# the row does not measure, in a process of its own, so that neither time nor memory count.

NOT_COMPILED = {"bound", "import_csv", "import_azure", "help"}  # the compiler takes the core alone
OUT = "{out}"  # stands for a file that is not there yet, another one for each round
REAL = ("lora_request_trace.csv", "lora_request_trace.csv.gz", "genai_2026_requests.csv.gz")


def runs_500(part: int, folder: Path) -> list[str]:
    """Five policies, ten cards, five numbers of streams, two orders; four runs where `part` is not 1."""
    from vramlab.cli.app import run

    data = Path(sys.stdin.readline().strip())
    source = next(data / name for name in REAL if (data / name).is_file())
    trace, models = folder / "real.parquet", folder / "real.yaml"
    assert not run(["import", "genai-2026", str(source), "--out", str(trace), "--models-out", str(models)])
    cards = ",".join(str(mb) for mb in range(24576, 24576 + 10 * 4096, 4096)[: max(10 // part, 1)])
    streams, policies = "4,5,6,7,8", "lru,lfu,gdsf,seed_fixed,decayed"
    if part > 1:
        streams, policies = "4", "lru,decayed"
    return [
        "sweep", str(trace), "--models", str(models), "--config", "config/scenarios/genai_24gb.yaml",
        "--policies", policies, "--jobs", "2", "--out", f"{OUT}.parquet",
        "--grid", f"total_memory_mb+zones.flexible.size_mb={cards}",
        "--grid", f"serving.gpu_streams={streams}", "--grid", "serving.order=backlog,arrival",
    ]  # fmt: skip


def compare_many(part: int, folder: Path) -> list[str]:
    """As many models as a large service has functions, most of them asked for once; sizes are assumed."""
    import pandas as pd

    from vramlab.config.loading import write_inventory
    from vramlab.traces.files import write_trace
    from vramlab.traces.importers.inventory import inventory_of
    from vramlab.traces.trace import Trace

    models, requests = 48_974 // part, 114_000 // part
    rng = np.random.default_rng(0)
    weights = np.arange(1, models + 1) ** -1.0
    often = rng.choice(models, requests - models, p=weights / weights.sum())
    codes = rng.permutation(np.concatenate([np.arange(models), often]))
    names = np.array([f"m{number}" for number in range(models)], dtype=object)
    times_s = np.cumsum(rng.exponential(0.75, requests))
    trace = Trace.from_frame(pd.DataFrame({"time_s": times_s, "model": names[codes]}))
    write_trace(trace, folder / "many.parquet")
    write_inventory(inventory_of(trace), folder / "many.yaml")
    return [
        "compare", str(folder / "many.parquet"), "--models", str(folder / "many.yaml"),
        "--policies", "lru,seed_fixed",
    ]  # fmt: skip


def bound(part: int, folder: Path) -> list[str]:
    """The models of the simulated workloads, a quarter of the bytes."""
    from tests.simulation.workloads import workload
    from vramlab.config.loading import write_inventory
    from vramlab.traces.files import write_trace

    trace, inventory, capacity_mb = workload(
        requests=480_000 // part, count=200, share=0.25, rate_per_s=5.0, exponent=0.9
    )
    write_trace(trace, folder / "bound.parquet")
    write_inventory(inventory, folder / "bound.yaml")
    return [
        "bound", str(folder / "bound.parquet"), "--models", str(folder / "bound.yaml"),
        "--capacity-mb", str(capacity_mb), "--json",
    ]  # fmt: skip


def import_csv(part: int, folder: Path) -> list[str]:
    """Seconds to three places, a model and who asks, 6 million times."""
    import pyarrow as pa
    from pyarrow import csv

    requests = 6_000_000 // part
    rng = np.random.default_rng(0)
    weights = np.arange(1, 201) ** -0.9
    codes = rng.choice(200, requests, p=weights / weights.sum()).astype(np.int32)
    names = pa.array([f"model-{number}" for number in range(200)])
    people = pa.array([f"user-{number}" for number in range(1000)])
    table = pa.table({
        "time": np.cumsum(rng.exponential(0.1, requests)).round(3),
        "model": pa.DictionaryArray.from_arrays(codes, names).cast(pa.string()),
        "who": pa.DictionaryArray.from_arrays(
            rng.integers(0, 1000, requests, dtype=np.int32), people
        ).cast(pa.string()),
    })  # fmt: skip
    csv.write_csv(table, folder / "log.csv", csv.WriteOptions(quoting_style="none"))
    return [
        "import", "csv", str(folder / "log.csv"), "--columns", "time=time,model=model,requester=who",
        "--time-unit", "s", "--out", f"{OUT}.parquet", "--json",
    ]  # fmt: skip


def import_azure(part: int, folder: Path) -> list[str]:
    """A day of 24,000 functions in the columns of the Azure Functions trace of 2019."""
    import pyarrow as pa
    from pyarrow import csv

    functions, requests = 24_000 // part, 3_900_000 // part
    rng = np.random.default_rng(0)
    weights = np.arange(1, functions + 1) ** -1.0
    counts = rng.multinomial(requests, weights / weights.sum())
    cells = np.zeros((functions, 1440), dtype=np.int32)
    for row, count in zip(cells, counts, strict=True):
        row += np.bincount(rng.integers(0, 1440, count), minlength=1440).astype(np.int32)
    hashes = [f"{number:064x}" for number in rng.permutation(functions)]
    table = pa.table(
        {"HashOwner": [name[::-1] for name in hashes], "HashApp": hashes, "HashFunction": hashes}
        | {"Trigger": ["http"] * functions}
        | {str(minute + 1): cells[:, minute] for minute in range(1440)}
    )
    file = folder / "invocations_per_function_md.anon.d01.csv"
    csv.write_csv(table, file, csv.WriteOptions(quoting_style="none"))
    return ["import", "azure-functions", str(file), "--out", f"{OUT}.parquet", "--json"]


def show_help(part: int, folder: Path) -> list[str]:
    """Nothing to prepare."""
    return ["--help"]


COMMANDS: dict[str, Callable[[int, Path], list[str]]] = {
    "runs_500": runs_500,
    "compare_many": compare_many,
    "bound": bound,
    "import_csv": import_csv,
    "import_azure": import_azure,
    "help": show_help,
}


if __name__ == "__main__":
    main(sys.argv[1:])
