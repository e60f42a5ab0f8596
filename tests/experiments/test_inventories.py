"""Inventories from a table of sizes, from ONNX files, and from latencies with how much they may be off."""

import numpy as np
import pandas as pd
import pytest
import yaml

from vramlab.cli.app import run as command
from vramlab.config.errors import InputError
from vramlab.config.loading import load_inventory
from vramlab.experiments.inventories import gathered, read_sizes, timings_of
from vramlab.traces.files import write_trace
from vramlab.traces.trace import Trace

TRACE = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 1.0, 2.0], "model": ["a", "b", "c"]}), "by hand")


def test_a_table_of_sizes(tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text("Model,size,load_s,priority,group\na,1.5GB,2,high,vision\nb,300MB,,low,\nz,1,1,low,\n")
    found = gathered(TRACE, sizes=path)
    a, b, c = (found.inventory[name] for name in "abc")
    assert (a.vram_size_mb, a.load_time_ms, a.priority) == (1536, 2000, "high")
    assert (b.vram_size_mb, b.load_time_ms, b.priority) == (300, 300 * 3.4, "low")
    assert c.vram_size_mb == 512
    assert found.groups == {"a": "vision"}
    assert any("vram_size_mb 512 of c" in note for note in found.notes)
    assert any("load_time_ms (3.4 ms per MB) of b, c" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,size\na,1\n", "a column model"),
        ("model,size\na,big\n", "row 2, size: found 'big', expected a number, or one with MB or GB"),
        ("model,sise\na,1\n", "did you mean 'size'"),
        ("model,size\na,1\na,2\n", "row 3: found a a second time"),
        ("model,size\nx,1\n", "models of the trace, as a, b, c"),
        ("model,load_ms\na,x\n", "row 2, load_ms"),
    ],
)
def test_a_table_that_is_none_is_one_error(tmp_path, text, message):
    path = tmp_path / "sizes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_sizes(path, TRACE.model_names)


def test_times_out_of_latencies_with_their_uncertainty():
    rng = np.random.default_rng(2)
    run_ms, load_ms, count = 100.0, 3000.0, 4000
    cold = rng.random(count) < 0.05
    latency = run_ms * rng.lognormal(0, 0.05, count) + cold * load_ms * rng.lognormal(0, 0.1, count)
    table = pd.DataFrame({"model": "a", "latency_ms": latency})
    few = pd.DataFrame({"model": "b", "latency_ms": rng.uniform(90, 110, 10)})
    warm = pd.DataFrame({"model": "c", "latency_ms": rng.lognormal(np.log(50), 0.2, 500)})
    found = timings_of(pd.concat([table, few, warm]))
    assert set(found) == {"a", "c"}, "ten answers tell nothing"
    assert found["a"].run.value_ms == pytest.approx(run_ms, rel=0.05)
    load = found["a"].load
    assert load.value_ms == pytest.approx(load_ms, rel=0.05)
    assert load.low_ms < load_ms < load.high_ms
    assert load.answers == cold.sum()
    assert found["c"].load is None, "no load is to be seen"


def test_what_a_table_says_goes_before_what_latencies_tell(tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text("model,load_ms\na,7\n")
    timings = timings_of(
        pd.DataFrame({"model": "a", "latency_ms": np.r_[np.full(50, 10.0), np.full(10, 90.0)]})
    )
    found = gathered(TRACE, sizes=path, timings=timings)
    assert found.inventory["a"].load_time_ms == 7
    assert found.inventory["a"].inference_ms == 10
    assert any(note.startswith("ESTIMATED from latencies: inference_ms 10") for note in found.notes)
    assert not any("load_time_ms 8" in note for note in found.notes)


def test_a_folder_of_files(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.onnx").write_bytes(b"\0" * 3 * 2**20)
    found = gathered(TRACE, onnx=folder)
    assert found.inventory["a"].vram_size_mb == 3
    assert found.inventory["a"].path.endswith("a.onnx")
    assert found.inventory["b"].vram_size_mb == 512
    with pytest.raises(InputError, match=r"no \.onnx files"):
        gathered(TRACE, onnx=tmp_path / "nothing")


def test_on_the_command_line(tmp_path, capsys):
    write_trace(TRACE, tmp_path / "t.csv")
    (tmp_path / "sizes.csv").write_text("model,size_mb,group\na,10,vision\nb,20,text\nc,30,text\n")
    out = tmp_path / "m.yaml"
    given = ["inventory", str(tmp_path / "t.csv"), "--sizes", str(tmp_path / "sizes.csv"), "--out", str(out)]
    assert command(given) == 0
    assert "ASSUMED, not measured: load_time_ms" in capsys.readouterr().out
    assert set(yaml.safe_load(out.read_text())["models"]) == {"vision", "text"}
    assert load_inventory(out)["c"].vram_size_mb == 30
    calls = tmp_path / "calls.csv"
    pd.DataFrame({"who": "a", "ms": np.r_[np.full(50, 10.0), np.full(10, 90.0)]}).to_csv(calls, index=False)
    latencies = ["--latencies", str(calls), "--columns", "model=who,latency=ms"]
    assert command([*given, *latencies]) == 0
    assert load_inventory(out)["a"].load_time_ms == 80
    assert command([*given, "--latencies", str(calls)]) == 2
    assert "column model" in capsys.readouterr().err
