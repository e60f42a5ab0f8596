"""Odd and bad input: each has one defined outcome, in both modes and on the command line."""

import numpy as np
import pandas as pd
import pytest

from tests.simulation.workloads import plain_cache
from vramlab.cli.app import run
from vramlab.config.errors import InputError
from vramlab.config.loading import load_inventory
from vramlab.config.schema import ModelSpec
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.replay import replay
from vramlab.traces.trace import Trace

MODES = pytest.mark.parametrize("mode", ["simulate", "decide"])
KINDS = ("hits", "cold_starts", "waits", "fallbacks", "refused", "failed", "cache_hits", "cancelled")


def trace_of(*rows):
    return Trace.from_frame(pd.DataFrame(rows, columns=["time_s", "model"]))


def spec(size_mb=10, **values):
    return ModelSpec(**{"priority": "medium", "vram_size_mb": size_mb, "load_time_ms": 100} | values)


def figures_of(trace, inventory, mode, *overrides, capacity_mb=100):
    figures = replay(trace, plain_cache(capacity_mb, *overrides), inventory, mode).figures
    assert sum(figures[kind] for kind in KINDS) == figures["requests"] == len(trace)
    return figures


def test_an_empty_trace_is_refused():
    with pytest.raises(InputError, match="no rows, expected at least one request"):
        Trace.from_frame(pd.DataFrame({"time_s": [], "model": []}), "empty.csv")


@MODES
def test_one_request(mode):
    figures = figures_of(trace_of((7.0, "a")), {"a": spec()}, mode)
    assert (figures["cold_starts"], figures["loads"], figures["evictions"]) == (1, 1, 0)
    assert figures["hit_rate"] == 0
    assert all(np.isfinite(value) for value in figures.values() if isinstance(value, float))


@MODES
def test_everything_at_one_moment(mode):
    figures = figures_of(trace_of(*[(0.0, "a")] * 5), {"a": spec()}, mode)
    assert figures["loads"] == 1
    assert figures["hits" if mode == "decide" else "waits"] == 4


@pytest.mark.parametrize(
    ("times_s", "parts"),
    [
        ([0, 2, 1], ["row 3 column time_s", "1", "not before the 2"]),
        ([0, float("nan")], ["row 2 column time_s", "nothing", "finite"]),
        ([0, float("inf")], ["row 2 column time_s", "inf", "finite"]),
        ([0, "soon"], ["row 2 column time_s", "'soon'", "finite"]),
    ],
)
def test_times_that_are_none(times_s, parts):
    with pytest.raises(InputError) as error:
        Trace.from_frame(pd.DataFrame({"time_s": times_s, "model": "a"}), "odd.csv")
    for part in ["odd.csv", *parts]:
        assert part in str(error.value)


@MODES
def test_a_model_that_the_inventory_lacks_is_named_with_its_row(mode):
    with pytest.raises(InputError, match=r"row 2 column model: found 'arcfac'.*'arcface'"):
        replay(trace_of((0, "arcface"), (1, "arcfac")), plain_cache(100), {"arcface": spec()}, mode)


@MODES
def test_a_gap_of_a_billion_seconds_is_served_like_any_other(mode):
    trace = trace_of((0, "a"), (1e9, "a"), (1e9 + 1, "b"))
    figures = figures_of(trace, {"a": spec(), "b": spec()}, mode, "optimization.monitor=true")
    assert figures["loads"] in (2, 3)  # the monitor may unload what nobody has wanted for so long


@pytest.mark.parametrize("size_mb", [0, -1, float("nan"), float("inf")])
def test_a_model_without_a_size_is_refused(tmp_path, size_mb):
    path = tmp_path / "models.yaml"
    shown = {"nan": ".nan", "inf": ".inf"}.get(str(size_mb), size_mb)
    path.write_text(f"models: {{g: {{a: {{priority: low, vram_size_mb: {shown}, load_time_ms: 1}}}}}}\n")
    with pytest.raises(InputError, match=r"models.yaml: models.g.a.vram_size_mb"):
        load_inventory(path)


@MODES
def test_a_model_of_one_byte_is_a_model(mode):
    figures = figures_of(trace_of((0, "a"), (9, "a")), {"a": spec(1e-9)}, mode)
    assert (figures["hits"], figures["bytes_loaded"]) == (1, 1)


@MODES
@pytest.mark.parametrize("size_mb", [60, 500], ids=["than its zone", "than the device"])
def test_a_model_larger(mode, size_mb):
    trace, inventory = (
        trace_of((0, "small"), (5, "large"), (9, "small")),
        {"small": spec(), "large": spec(size_mb)},
    )
    zones = "zones.flexible.size_mb=50"
    figures = figures_of(trace, inventory, mode, zones, "fallback.cpu_fallback_enabled=true")
    assert (figures["cold_starts"], figures["fallbacks"], figures["hits"]) == (1, 1, 1)  # the CPU takes it
    assert figures["evictions"] == 0  # and nobody leaves in vain
    figures = figures_of(trace, inventory, mode, zones)  # no CPU
    assert (figures["cold_starts"], figures["refused"], figures["hits"]) == (1, 1, 1)
    assert figures["evictions"] == 0
    assert sum(figures["lost"]["refused"].values()) == 1  # and the report says why
    assert all(figures["lost"]["refused"])
    strict = {**inventory, "large": spec(size_mb, cpu_fallback="none")}
    records = replay(trace, plain_cache(100, zones), strict, mode).records
    assert records.outcomes[1] == Outcome.REFUSED


BAD_FILES = {
    "no rows": ("time_s,model\n", ["no rows"]),
    "nothing at all": ("", ["an empty file"]),
    "backwards": ("time_s,model\n2,a\n1,a\n", ["row 2 column time_s", "not before the 2"]),
    "no number": ("time_s,model\n1,a\nnan,a\n", ["row 2 column time_s"]),
    "no column": ("when,model\n1,a\n", ["column time_s"]),
    "no model": ("time_s,model\n1,\n", ["row 1 column model", "nothing"]),
    "unknown model": ("time_s,model\n1,b\n", ["row 1 column model", "'b'"]),
}


@MODES
@pytest.mark.parametrize("name", BAD_FILES)
def test_the_command_line_says_it_in_one_line(tmp_path, capsys, mode, name):
    text, parts = BAD_FILES[name]
    trace, inventory = tmp_path / "trace.csv", tmp_path / "models.yaml"
    trace.write_text(text)
    inventory.write_text("models: {g: {a: {priority: low, vram_size_mb: 1, load_time_ms: 1}}}\n")
    assert run(["replay", str(trace), "--models", str(inventory), "--mode", mode]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    for part in ["trace.csv", *parts]:
        assert part in captured.err
