"""The journal of one's own server is a trace to replay, and can be verified under the server's settings."""

import json

import numpy as np
import pytest

import vramlab
from vramlab.cli.app import run
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, write_config, write_inventory
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.inputs import make_inputs
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.run_folder import read_requests

ASKED = ["reader", "finder", "reader", "judge", "reader", "finder", "finder", "judge"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of two models' memory that is asked for three, with its settings in files."""
    folder = tmp_path_factory.mktemp("server")
    spec = vramlab.ModelSpec(priority="medium", vram_size_mb=2, load_time_ms=10)
    models = with_stand_ins(dict.fromkeys(("reader", "finder", "judge"), spec), folder / "models")
    card = load_config(
        None,
        [
            "total_memory_mb=4", "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            "zones={flexible: {size_mb: 4, max_models: null, min_retention_time: 0}}",
            "scoring.policy=lru", "optimization.monitor=false",
        ],
    )  # fmt: skip
    write_config(card, folder / "server.yaml")
    write_inventory(models, folder / "models.yaml")
    inputs = {name: make_inputs(model.path, 1, np.random.default_rng(0)) for name, model in models.items()}
    with BlockingRuntime(card, models, "cpu-emulated", folder / "journal.jsonl") as runtime:
        for name in ASKED:
            runtime.infer(name, inputs[name])
    return folder


def test_it_is_verified_under_the_servers_settings(served):
    found = vramlab.verify(
        served / "journal.jsonl", config=served / "server.yaml", models=served / "models.yaml"
    )
    assert found.lockstep.differences == []
    assert found.live["requests"] == len(ASKED)
    assert found.lockstep.decisions >= len(ASKED)
    assert found.simulated["latency_p50_s"] is None  # eight requests say nothing


def test_other_settings_than_the_servers_are_found_out(served):
    found = vramlab.verify(
        served / "journal.jsonl",
        config=load_config(served / "server.yaml", ["scoring.policy=lfu"]),
        models=served / "models.yaml",
    )
    assert found.lockstep.differences


def test_on_the_command_line(served, capsys):
    settings = ["--config", str(served / "server.yaml"), "--models", str(served / "models.yaml")]
    assert run(["verify", str(served / "journal.jsonl"), *settings, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lockstep"]["differences"] == []
    assert run(["replay", str(served / "journal.jsonl"), *settings, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == len(ASKED)


def test_a_journal_and_its_folder_are_traces(served):
    assert list(read_requests(served / "journal.jsonl").frame["model"]) == ASKED
    assert read_requests(served).sha256 == read_requests(served / "journal.jsonl").sha256


def test_a_folder_has_its_own_settings():
    with pytest.raises(InputError, match="found a folder, which has its settings"):
        vramlab.verify("traces/recorded_tight", config="config/scenarios/tight.yaml")
    assert len(read_requests("traces/recorded_tight")) > 0
