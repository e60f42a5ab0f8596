"""Measures the table of this folder again, on this machine: python results/speed/remake.py

    --only ROW[,ROW]  these rows alone; the others stay as they are in speed.csv
    --quick           a twentieth of the requests, one round, nothing written: does it still run?
    --data FOLDER     where the real trace lies; without it its row is left out and named
    --rounds N        how often each is measured (3; long commands once)
    --before          the code from which the work began too, in turn with today's (twice the time)

Every row is measured in processes of its own. Ratios come from one process, in which ours and the peer
alternate (``rows.py``); commands are whole processes, whose processor seconds and peak memory the system
counts. Where a compiled build lies in the checkout, interpreted and compiled code take turns. Times of
commands are processor seconds, so that others on the machine do not add to them. What uses several processes
is on the clock, and so are live hits. Each figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT)]

from results.speed import rows  # noqa: E402
from results.speed.report import write_all  # noqa: E402

BEFORE = "2f1e72c"  # the commit from which the work of the table began
LONG_S = 12.0  # a command is run again until it has taken so long
ON_THE_CLOCK = {"runs_500", "compare_many", "bound"}  # which may use several processes
COLUMNS = ("figure", "code", "value", "least", "most", "rounds", "cpu_s", "wall_s", "peak_mb")


@dataclass(frozen=True)
class Code:
    """Code that is measured: what it is called, and where its ``vramlab`` lies."""

    label: str
    folder: Path


@dataclass(frozen=True)
class Used:
    """What a process took, with those that it waited for."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def main() -> int:
    """Measure what is asked for, and write it down. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", action="store_true")
    asked = parser.parse_args()
    chosen = [name for name in asked.only.split(",") if name] or [*rows.INSIDE, *rows.COMMANDS]
    unknown = set(chosen) - {*rows.INSIDE, *rows.COMMANDS}
    if unknown:
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; there are {', '.join([*rows.INSIDE, *rows.COMMANDS])}"
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    found: list[dict[str, object]] = []
    missing: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="vramlab-speed-") as folder:
            codes = codes_here(Path(folder), asked.before)
            for name in chosen:
                begin = time.perf_counter()
                if reason := why_not(name, asked.data):
                    missing.append(f"{name} ({reason})")
                    print(f"{name}: left out, {reason}", flush=True)
                    continue
                part, rounds = (20, 1) if asked.quick else (1, asked.rounds)
                if name == "live" and not asked.quick:
                    rounds *= 3  # they are short, and who else uses the machine is seen in each
                measure = inside if name in rows.INSIDE else command
                new = measure(name, codes, part, rounds, asked.data)
                found += new
                show(name, new, time.perf_counter() - begin)
    finally:  # what was measured before an interruption is kept
        if found and not asked.quick:
            write_all(pd.DataFrame(found, columns=list(COLUMNS)), missing, load)
    return 0


def why_not(name: str, data: Path) -> str:
    """Why a row cannot be measured here; empty where it can."""
    if name == "runs_500" and not any((data / file).is_file() for file in rows.REAL):
        return "no real trace (DATA=FOLDER)"
    if name.startswith("decide"):
        try:
            import libcachesim  # noqa: F401
        except ImportError:
            return "the package libcachesim is not installed"
    return ""


def show(name: str, found: list[dict[str, object]], seconds: float) -> None:
    """One line per figure."""
    print(f"{name}: {seconds:.0f} s", flush=True)
    for row in found:
        print(
            f"  {row['figure']}, {row['code']}: {row['value']:.4g} ({row['least']:.4g} to {row['most']:.4g})"
        )


# -- codes -----------------------------------------------------------------------------------------------


def codes_here(folder: Path, before: bool) -> list[Code]:
    """Interpreted code; compiled code, where it lies in the checkout; and that of BEFORE."""
    built = [path for ending in ("so", "pyd") for path in ROOT.glob(f"vramlab/**/*.{ending}")]
    codes = [Code("interpreted", ROOT)]
    if built:
        # a compiled module would be taken before its source: the interpreter gets a copy without
        plain = folder / "interpreted"
        shutil.copytree(
            ROOT / "vramlab", plain / "vramlab", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
        )
        for name in ("config", "traces"):
            shutil.copytree(ROOT / name, plain / name)
        codes = [Code("interpreted", plain), Code("compiled", ROOT)]
    if before:
        earlier = folder / "before"
        earlier.mkdir()
        archive = subprocess.run(
            ["git", "archive", BEFORE, "vramlab", "config", "traces"],
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip
        subprocess.run(["tar", "x", "-C", str(earlier)], input=archive.stdout, check=True)
        codes.append(Code("before", earlier))
    for code in codes:  # so that the first round has no more to do than the others
        compileall.compile_dir(code.folder / "vramlab", quiet=2)
    return codes


# -- processes -------------------------------------------------------------------------------------------


def process(arguments: list[str], code: Code, given: str = "") -> tuple[str, Used]:
    """Run Python in the root of the code; gives what it printed and what it took."""
    environment = os.environ | {"PYTHONPATH": f"{code.folder}{os.pathsep}{ROOT}"}
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "used.json"
        command = [sys.executable, "-S", str(HERE / "used.py"), str(taken), sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=code.folder, env=environment, input=given, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}\n{done.stderr}")
        return done.stdout, Used(**json.loads(taken.read_text()))


def inside(name: str, codes: list[Code], part: int, rounds: int, data: Path) -> list[dict[str, object]]:
    """Ratios, and microseconds of live hits."""
    found = []
    for code in codes:
        text, used = process([str(HERE / "rows.py"), name, str(part), str(rounds)], code)
        document = json.loads(text.splitlines()[-1])
        if code.label in ("interpreted", "compiled") and document["code"] != code.label:
            sys.exit(f"{name}: {code.label} code was asked for, {document['code']} code was measured")
        if "checks" in document:
            print(f"{name}, {code.label}: {document['checks']}", flush=True)
        for figure, values in document["figures"].items():
            found.append(row_of(figure, code, values, [used]))
    return found


def command(name: str, codes: list[Code], part: int, rounds: int, data: Path) -> list[dict[str, object]]:
    """Seconds and memory of a whole process."""
    if name in rows.NOT_COMPILED:
        codes = [code for code in codes if code.label != "compiled"]
    used: dict[str, list[Used]] = {code.label: [] for code in codes}
    with tempfile.TemporaryDirectory(prefix="vramlab-speed-") as folder:
        text, _ = process(
            [str(HERE / "rows.py"), "prepare", name, str(part), folder], codes[0], f"{data.resolve()}\n"
        )
        arguments = ["-c", "from vramlab.cli import main; main()", *json.loads(text.splitlines()[-1])]
        for number in range(rounds):
            if number and sum(one.cpu_s for each in used.values() for one in each) > LONG_S * len(codes):
                break
            for code in codes:
                fresh = f"{folder}/{code.label}{number}"
                line = [word.replace(rows.OUT, fresh) for word in arguments]
                used[code.label].append(process(line, code)[1])
    found = []
    for code in codes:
        taken = used[code.label]
        seconds = [one.wall_s if name in ON_THE_CLOCK else one.cpu_s for one in taken]
        found.append(row_of(name, code, seconds, taken))
        if name not in ("help", "runs_500"):
            found.append(row_of(f"{name}_gb", code, [one.peak_mb / 1024 for one in taken], taken))
    return found


def row_of(figure: str, code: Code, values: list[float], used: list[Used]) -> dict[str, object]:
    """One line of speed.csv."""
    spread = {"value": float(np.median(values)), "least": min(values), "most": max(values)}
    took = {key: float(np.median([getattr(one, key) for one in used])) for key in COLUMNS[-3:]}
    return {"figure": figure, "code": code.label, **spread, "rounds": len(values), **took}


if __name__ == "__main__":
    sys.exit(main())
