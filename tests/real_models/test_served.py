"""Real models under too small a budget: right answers after each eviction, in as much memory as is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .catalogue import installed

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(len(installed()) < 20, reason="the real models are not here: make real-models")
def test_every_answer_is_onnxruntimes_own_while_models_come_and_go():
    command = [sys.executable, "-m", "tests.real_models.serving", "500"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["different"] == []
    assert found["models"] >= 20
    assert found["evictions"] >= 250
    if sys.platform == "linux":
        assert found["private_mb_beyond_1_15_ledgers"] <= 150
