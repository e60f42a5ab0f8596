"""The bundled traces are what the specs beside them make, and what their README says."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from vramlab.config.loading import load_inventory
from vramlab.traces.files import read_trace, write_trace
from vramlab.traces.generate import generate
from vramlab.traces.spec import load_spec
from vramlab.traces.trace import check_models

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = {"synthetic_tight": ".csv.gz", "live_workload": ".csv", "forty_models": ".csv.gz"}
INVENTORIES = {"forty_models": "forty_models.yaml"}


def content(path):
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.mark.parametrize(("name", "suffix"), BUNDLED.items())
def test_remade_from_its_spec_byte_for_byte(name, suffix, tmp_path):
    remade = tmp_path / f"{name}{suffix}"
    write_trace(generate(load_spec(ROOT / f"traces/{name}.yaml")), remade)
    assert content(remade) == content(ROOT / f"traces/{name}{suffix}")


@pytest.mark.parametrize(("name", "suffix"), BUNDLED.items())
def test_asks_for_models_of_the_inventory(name, suffix):
    inventory = ROOT / "config" / INVENTORIES.get(name, "model_config.yaml")
    check_models(read_trace(ROOT / f"traces/{name}{suffix}"), load_inventory(inventory))


def test_synthetic_tight():
    path = ROOT / "traces/synthetic_tight.csv.gz"
    trace = read_trace(path)
    assert path.stat().st_size < 1_000_000
    assert len(trace) == 24_000
    assert len(trace.model_names) == 9
    assert 5 < len(trace) / trace.duration_s < 10
    pairs = trace.frame[["model", "input_key"]].dropna()
    assert 1_000 < pairs.duplicated().sum() < len(pairs)
    assert trace.frame["requester"].notna().mean() > 0.9


def test_live_workload():
    trace = read_trace(ROOT / "traces/live_workload.csv")
    assert 15 < trace.duration_s < 20
    assert 650 < len(trace) < 800
    counts = dict(zip(trace.model_names, np.bincount(trace.model_codes), strict=True))
    assert counts["AntiSpoofing_bin_1.5_128.onnx"] >= 0.98 * counts["yolov10n-face.onnx"]
    assert min(counts.values()) > 10
