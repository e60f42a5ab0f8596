"""What is recorded to see how true the simulator is: each workload several times, under alternatives too.

A folder holds the inputs: ``config.yaml``, ``models.yaml`` (else the scenario's inventory),
``workloads/*.yaml`` (generator specs), ``alternatives.yaml`` (what is changed, by name) and ``unseen/*.yaml``
(workloads that no rule was found on: recorded once, as they stand). ``real/`` in it is such a folder for real
models. Recordings go to ``RUNS/WORKLOAD/SETTING-NUMBER``, where ``recorded`` is the setting as it stands;
each is made by a process of its own. What comes of them is judged in
:mod:`vramlab.experiments.counterfactual`, with no recording again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from vramlab.config.errors import InputError
from vramlab.config.fields import Positive, Section
from vramlab.config.files import read_json
from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import load_config, load_inventory, load_scenario, write_config
from vramlab.config.validation import validated
from vramlab.config.yaml_files import read_yaml
from vramlab.experiments.case import Case
from vramlab.experiments.side_by_side import on_card
from vramlab.runs.run_folder import read_environment
from vramlab.traces.generate import generate
from vramlab.traces.spec import load_spec

AS_IT_STANDS = "recorded"
"""The name of the settings that alternatives are held against."""

SECONDS = 55.0
"""Of each workload that are recorded."""

Announce = Callable[[str], object]

_NAME = re.compile(r"[A-Za-z0-9_]+")  # of what becomes a folder, and a number behind a hyphen


class Change(Section):
    """What an alternative changes: settings by dotted key, the size of the card (zones keep their shares)."""

    set: dict[str, Any] = Field(default_factory=dict)
    memory_mb: Positive | None = None

    def of(self, case: Case) -> Case:
        """Return the case under it."""
        other = case if self.memory_mb is None else case.under(on_card(case.config, self.memory_mb))
        return other.changed(f"{key}={value}" for key, value in self.set.items())


class _Alternatives(Section):
    alternatives: dict[Annotated[str, Field(min_length=1)], Change] = Field(min_length=1)


class Take(NamedTuple):
    """One recording: of which workload, under which setting, the how manieth."""

    workload: str
    setting: str
    number: int

    @property
    def folder(self) -> Path:
        """Where it goes, below the folder of all recordings."""
        return Path(self.workload) / f"{self.setting}-{self.number}"


@dataclass(frozen=True, eq=False)
class Plan:
    """What is recorded.

    Parameters
    ----------
    cases : dict of str to dict of str to Case
        By workload and setting; the first setting is :data:`AS_IT_STANDS`.
    takes : list of Take
        All recordings, in their order.
    """

    cases: dict[str, dict[str, Case]]
    takes: list[Take] = field(default_factory=list)

    def __add__(self, other: Plan) -> Plan:
        return Plan(self.cases | other.cases, self.takes + other.takes)

    @property
    def seconds(self) -> float:
        """How long the workloads last that are played, in all."""
        return sum(self.cases[one.workload][one.setting].trace.duration_s for one in self.takes)


def plan_of(folder: Path, repeats: int = 3, seconds: float = SECONDS, seed: int = 0) -> Plan:
    """Read a folder's inputs and say what is recorded.

    Parameters
    ----------
    folder : Path
        As the module describes.
    repeats : int
        Recordings of each workload as it stands; alternatives have one less, but one at least.
    seconds : float
        How much of each workload is recorded.
    seed : int
        For inputs.

    Raises
    ------
    InputError
        If inputs are missing or malformed.
    """
    if repeats < 1:
        raise InputError("--repeats", "", repeats, "at least 1 recording")
    specs = sorted((folder / "workloads").glob("*.yaml"))
    if not specs:
        raise InputError(folder / "workloads", "", "no *.yaml", "specs of workloads")
    scenario = load_scenario(folder / "config.yaml")
    beside = folder / "models.yaml"
    models = beside if beside.exists() or scenario.models_path is None else scenario.models_path
    config, inventory = scenario.config, load_inventory(models)
    changes = alternatives_in(folder / "alternatives.yaml")

    def case_of(spec: Path) -> Case:
        trace = generate(load_spec(spec)).between(0, seconds)
        return Case(trace, config, inventory, seed=seed, models_source=str(models))

    cases: dict[str, dict[str, Case]] = {}
    takes: list[Take] = []
    for spec in specs:
        own = case_of(spec)
        cases[spec.stem] = {AS_IT_STANDS: own} | {name: one.of(own) for name, one in changes.items()}
        takes += rotated(spec.stem, list(cases[spec.stem]), repeats)
    for spec in sorted((folder / "unseen").glob("*.yaml")):
        if spec.stem in cases:
            raise InputError(spec, "", f"a second workload {spec.stem}", "a name of its own")
        cases[spec.stem] = {AS_IT_STANDS: case_of(spec)}
        takes.append(Take(spec.stem, AS_IT_STANDS, 1))
    return Plan(cases, takes)


def rotated(workload: str, settings: Sequence[str], repeats: int) -> list[Take]:
    """Return the recordings of a workload round by round, each round beginning one setting later.

    So no setting always has the machine as it is at first. The first setting has `repeats` recordings, the
    others one less, but one at least.
    """
    takes = []
    for number in range(1, repeats + 1):
        ahead = (number - 1) % len(settings)
        for setting in [*settings[ahead:], *settings[:ahead]]:
            if setting == settings[0] or number <= max(1, repeats - 1):
                takes.append(Take(workload, setting, number))
    return takes


def alternatives_in(path: Path) -> dict[str, Change]:
    """Read what alternatives change, by name.

    Raises
    ------
    InputError
        If the file is missing or malformed, or a name can be no folder's.
    """
    found = validated(_Alternatives, read_yaml(path), str(path), "").alternatives
    for name, change in found.items():
        if not _NAME.fullmatch(name) or name == AS_IT_STANDS:
            expected = f"letters, digits and underscores, and not {AS_IT_STANDS}"
            raise InputError(path, f"alternatives.{name}", repr(name), expected)
        if not change.set and change.memory_mb is None:
            raise InputError(path, f"alternatives.{name}", "nothing", "set, memory_mb or both")
    return found


def copy_inputs(bundled: Path, folder: Path) -> None:
    """Copy a folder of inputs, whose scenario then extends nothing."""
    scenario = load_scenario(bundled / "config.yaml")
    shutil.copytree(bundled, folder)
    write_config(scenario.config, folder / "config.yaml")
    if scenario.models_path is not None:
        shutil.copyfile(scenario.models_path, folder / "models.yaml")


def with_real_models(plan: Plan, inputs: Path, models: Path) -> Plan:
    """Return a plan whose models are files below `models`, as the inventory in `inputs` names them.

    Raises
    ------
    InputError
        If a file is not there.
    """
    cases = {}
    for workload, by_setting in plan.cases.items():
        cases[workload] = {name: _real(case, inputs, models) for name, case in by_setting.items()}
    return Plan(cases, plan.takes)


def _real(case: Case, inputs: Path, models: Path) -> Case:
    inventory = {}
    for name, spec in case.inventory.items():
        path = models / Path(spec.path or name).relative_to(inputs)
        if not path.is_file():
            expected = f"{path.relative_to(models)} (`make real-models` installs it)"
            raise InputError("--real-models", name, f"no such file in {models}", expected)
        inventory[name] = spec.model_copy(update={"path": str(path.resolve())})
    return replace(case, inventory=inventory)


def record_all(
    plan: Plan, runs: Path, device: str = "auto", resume: bool = False, announce: Announce = print
) -> None:
    """Make the recordings of a plan.

    Parameters
    ----------
    plan : Plan
        What is recorded.
    runs : Path
        Where recordings go; what is in it is replaced.
    device : str
        As for ``vramlab record``.
    resume : bool
        Keep the recordings that are there, whole, and of the same settings and requests.
    announce : callable, optional
        Told what begins.

    Raises
    ------
    InputError
        As a recording.
    """
    from vramlab.live.stand_ins import with_stand_ins  # loads ONNX, which an analysis does without

    if not resume:  # what is no recording of this command stays
        for take in _takes(runs):
            shutil.rmtree(runs / take.folder)
    missing = [take for take in plan.takes if not is_there(plan, take, runs)]
    ready: dict[str, Mapping[str, Any]] = {}
    for place, take in enumerate(missing, start=1):
        case = plan.cases[take.workload][take.setting]
        key = fingerprint(case.inventory)
        if key not in ready:
            ready[key] = with_stand_ins(case.inventory)
        case, out = replace(case, inventory=dict(ready[key])), runs / take.folder
        left_s = Plan(plan.cases, missing[place - 1 :]).seconds
        left = f"{left_s / 60:.0f} min left"
        announce(f"{place} of {len(missing)}: {take.folder}, {len(case.trace):,} requests; {left}")
        shutil.rmtree(out, ignore_errors=True)
        _in_a_new_process(case, out, device)


def is_there(plan: Plan, take: Take, runs: Path) -> bool:
    """Whether a recording has been made: whole, of the plan's settings and requests."""
    folder = runs / take.folder
    if not (folder / "environment.json").exists() or not (folder / "trace.csv").exists():
        return False
    environment, case = read_environment(folder), plan.cases[take.workload][take.setting]
    try:
        same = fingerprint(load_config(folder / "config.yaml")) == fingerprint(case.config)
    except InputError:  # of another version
        return False
    return bool(same and environment.get("ended") and environment.get("workload_sha256") == case.trace.sha256)


def _in_a_new_process(case: Case, out: Path, device: str) -> None:
    """Record in a process whose memory nobody has used."""
    from loky import ProcessPoolExecutor

    from vramlab.experiments.recording import record_run

    pool = ProcessPoolExecutor(1)
    try:
        pool.submit(record_run, case, out, device).result()
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def takes_in(runs: Path) -> list[Take]:
    """Return the recordings that are in a folder, by workload, setting and number.

    Raises
    ------
    InputError
        If there is none.
    """
    found = _takes(runs)
    if not any(take.setting == AS_IT_STANDS for take in found):
        raise InputError(
            runs, "", "no recording", f"WORKLOAD/{AS_IT_STANDS}-1, as `vramlab fidelity` makes them"
        )
    return found


def _takes(runs: Path) -> list[Take]:
    found = []
    for folder in runs.glob("*/*-*"):
        setting, _, number = folder.name.rpartition("-")
        if number.isdigit() and (folder / "environment.json").exists():
            found.append(Take(folder.parent.name, setting, int(number)))
    return sorted(found)


def busiest(runs: Path, takes: Iterable[Take]) -> float:
    """Return how many cores other programs kept busy at most, of all recordings."""
    kept = (read_json(runs / take.folder / "environment.json", "").get("other_cores") for take in takes)
    return max((float(cores) for cores in kept if cores is not None), default=0.0)
