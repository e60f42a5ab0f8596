"""The same trace, settings and seed give the same bytes: in another process, whatever the hash seed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import hashlib, json, sys
from vramlab.engine.journal import encode
from vramlab.experiments.replay import replay
from vramlab.traces.files import read_trace
trace, config, mode, seed = sys.argv[1:]
result = replay(read_trace(trace).head(6000), config, mode=mode, seed=int(seed), journal=mode == "simulate")
figures = {key: value for key, value in result.figures.items() if key not in ("wall_s", "requests_per_s")}
lines = list(result.journal) if result.journal else []
journal = "".join(encode(line) + chr(10) for line in lines).encode()
digest = hashlib.sha256(journal).hexdigest()
json.dump({"figures": json.dumps(figures), "journal": digest, "lines": len(lines)}, sys.stdout)
"""

SCENARIO = """
scenario: {{extends: {tight}}}
vram_management:
  serving: {{queue: affinity, gpu_streams: 2}}
  scoring: {{policy: {policy}}}
faults:
  load_failures: [{{probability: 0.1, target: any}}]
  device_shrinks: [{{from_s: 100, until_s: 200, by_mb: 200}}]
"""


def outcome(config, mode, hash_seed, seed=0):
    """Figures and journal of one run in a process of its own."""
    trace = ROOT / "traces" / "synthetic_tight.csv.gz"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(trace), str(config), mode, str(seed)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("mode", "policy"), [("simulate", "seed_fixed"), ("simulate", "random"), ("decide", "gdsf")]
)
def test_the_same_bytes_in_every_process(tmp_path, mode, policy):
    config = tmp_path / "scenario.yaml"
    tight = ROOT / "config" / "scenarios" / "tight.yaml"
    config.write_text(SCENARIO.format(tight=tight, policy=policy))
    first, *others = [outcome(config, mode, hash_seed) for hash_seed in ("0", "1", "4242")]
    assert others == [first] * 2
    assert (first["lines"] > 10_000) == (mode == "simulate")
    assert json.loads(first["figures"])["hits"] > 1000
    if mode == "simulate":  # and what ought to make a difference does
        assert outcome(config, mode, "0", seed=1)["journal"] != first["journal"]
