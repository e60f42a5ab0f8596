"""Recording: a trace is played against live sessions in real time, and everything that happens is kept."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.live.answers import size_of
from vramlab.live.batches import BatchAxis, batch_axis
from vramlab.live.errors import SessionError
from vramlab.live.heap import trim_heap
from vramlab.live.inputs import RECIPES, NoInputs, Recipe, fitting_recipe, inputs_of_file, make_inputs
from vramlab.live.loops import run_to_end
from vramlab.live.model_files import ModelFile, check_model_file
from vramlab.live.onnx_sessions import make_session
from vramlab.live.runtime import Inputs, LiveRuntime
from vramlab.live.stand_ins import is_stand_in
from vramlab.live.values import Feeds
from vramlab.runs.journal_writing import JournalFile
from vramlab.runs.records import Records
from vramlab.traces.trace import Trace, check_models

_MOST_BYTES = 2**33  # of the inputs of one request


async def play(
    trace: Trace,
    runtime: LiveRuntime,
    rng: np.random.Generator,
    speed: float = 1.0,
    done: Callable[[], object] | None = None,
    recipes: Mapping[str, Recipe] | None = None,
) -> None:
    """Send the requests of a trace to an open runtime at their times, and wait for all answers.

    Parameters
    ----------
    trace : Trace
        Requests; ``time_s`` counts from its first.
    runtime : LiveRuntime
        Open.
    rng : numpy.random.Generator
        For the inputs, which are made once per model and number of items.
    speed : float
        Times faster than the trace.
    done : callable, optional
        Called after each answer.
    recipes : mapping of str to Recipe, optional
        By which inputs are made, per model (:func:`playable_recipes`).
    """
    inputs = _Inputs(runtime, rng, recipes or {})
    optional = {key: coded.each().tolist() for key, coded in trace.texts.items() if key != "model"}
    driver = runtime.driver
    first_s = float(trace.times_s[0])
    begin_s = driver.clock()
    tasks: list[asyncio.Task[Any]] = []
    models = trace.texts["model"].each().tolist()
    rows = zip(trace.times_s.tolist(), models, trace.items.tolist(), strict=True)
    for number, (time_s, model, items) in enumerate(rows):
        made = inputs.of(model, items)
        pause_s = (time_s - first_s) / speed - (driver.clock() - begin_s)
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        more = {key: values[number] for key, values in optional.items()}
        task = asyncio.create_task(_answered(runtime, model, made, more))
        if done is not None:
            task.add_done_callback(lambda _: done())
        tasks.append(task)
    for task in tasks:
        await task


async def _answered(runtime: LiveRuntime, model: str, inputs: Inputs, more: dict[str, Any]) -> None:
    """Wait for an answer and drop it: outputs keep the memory of the session that made them."""
    await runtime.submit(model, inputs, **more)


def playable_recipes(trace: Trace, inventory: Inventory, speed: float) -> dict[str, Recipe]:
    """Check that :func:`play` can play a trace to its end, and find inputs that each model runs with.

    Every model of the trace is loaded once on the CPU for that, but for those whose inventory entry names
    inputs, and for stand-ins.

    Raises
    ------
    InputError
        For a speed that is none, a model that the inventory lacks or whose file is no model, one for which no
        inputs can be made, and more items than a file's fixed batch may have or memory has room for.
    """
    if not 0 < speed < math.inf:
        raise InputError("--speed", "", speed, "a finite number of more than 0")
    check_models(trace, inventory)
    recipes = {}
    most = trace.frame.assign(items=trace.items).groupby("model", observed=True)["items"].max()
    for name in trace.model_names:
        spec = inventory[name]
        if spec.path is None:  # the runtime says what has no file
            continue
        file = check_model_file(spec.path)
        recipes[name] = RECIPES[0] if is_stand_in(spec.path) else _recipe(name, spec, file)
        items = int(most.get(name, 1))
        _check_items(name, spec, batch_axis(inputs_of_file(spec.path)), items)
        _check_memory(trace, name, spec, recipes[name], items)
    trim_heap()
    return recipes


def _recipe(name: str, spec: ModelSpec, file: ModelFile) -> Recipe:
    try:
        with make_session(str(spec.path), spec, None) as session:
            return fitting_recipe(session, spec)
    except NoInputs as error:
        found = f"no inputs that it runs with ({error.last})"
        raise InputError("inventory", f"models.{name}.inputs", found, "true inputs named there") from error
    except SessionError as error:
        if file.is_ort_format:  # what its inputs are, only a session could say
            raise InputError("inventory", f"models.{name}.path", error, "a file that loads") from error
        return RECIPES[0]  # that it cannot be loaded, or runs out of memory, is what the recording will show


def _check_items(name: str, spec: ModelSpec, axis: BatchAxis | None, items: int) -> None:
    if axis is not None and axis.fixed and not spec.splits and items not in (1, axis.fixed):
        expected = f"{axis.fixed}: the file of {name} fixes its batch, and it was not shown to split"
        raise InputError("trace", "items", items, expected)


def _check_memory(trace: Trace, name: str, spec: ModelSpec, recipe: Recipe, items: int) -> None:
    """Refuse inputs that memory has no room for, before anything is recorded."""
    one = make_inputs(str(spec.path), 1, np.random.default_rng(0), recipe, spec)
    if items > 1 and items * size_of(list(one.values())) > _MOST_BYTES:
        raise InputError(trace.source, f"items of {name}", items, "inputs of a few GB at most")


class _Inputs:
    """Inputs that fit a model, made once for each number of items."""

    def __init__(self, runtime: LiveRuntime, rng: np.random.Generator, recipes: Mapping[str, Recipe]) -> None:
        self._inventory, self._rng, self._recipes = runtime.inventory, rng, recipes
        self._made: dict[tuple[str, int], Feeds] = {}

    def of(self, model: str, items: int) -> Feeds:
        made = self._made.get((model, items))
        if made is None:
            spec = self._inventory[model]
            assert spec.path is not None  # the runtime has refused what has no file
            recipe = self._recipes.get(model)
            made = self._made[model, items] = make_inputs(spec.path, items, self._rng, recipe, spec)
        return made


@dataclass(frozen=True)
class Recording:
    """What is to be played against live sessions, and how.

    Parameters
    ----------
    trace, config, inventory
        What to play, and how to serve it; every model needs a ``path``.
    device : str
        ``auto``, ``cuda`` or ``cpu-emulated``.
    speed : float
        Times faster than the trace.
    seed : int
        For the inputs.
    """

    trace: Trace
    config: VramConfig
    inventory: Inventory
    device: str = "auto"
    speed: float = 1.0
    seed: int = 0


def record(
    recording: Recording,
    journal: Path | str,
    done: Callable[[], object] | None = None,
    opened: Callable[[dict[str, Any]], object] | None = None,
) -> tuple[Records, dict[str, Any]]:
    """Play a trace against live sessions.

    Parameters
    ----------
    recording : Recording
        What to play, and how.
    journal : Path or str
        File that the journal is written to while the run goes on.
    done : callable, optional
        Called after each answer.
    opened : callable, optional
        Told the environment before the first model is loaded.

    Returns
    -------
    records : Records
        Of the run.
    environment : dict
        Device, versions and cores it ran on.

    Raises
    ------
    InputError
        Before any file is made: for a model that the inventory lacks or whose file is none, a device that is
        not to be had, or a speed that is none; and as soon as the journal cannot be written.
    """
    trace, speed = recording.trace, recording.speed
    recipes = playable_recipes(trace, recording.inventory, speed)

    async def run() -> tuple[Records, dict[str, Any]]:
        runtime, file = _runtime(recording, journal)
        environment = runtime.backend.describe() | {"speed": speed, "seed": recording.seed}
        if opened is not None:
            opened(environment)
        async with runtime:
            rng = np.random.default_rng(recording.seed)
            await _while_it_is_written(play(trace, runtime, rng, speed, done, recipes), file)
        return runtime.records(), environment

    return run_to_end(run())


def _runtime(recording: Recording, journal: Path | str) -> tuple[LiveRuntime, JournalFile]:
    """A runtime that is not open yet, and the file of its journal."""
    runtime = LiveRuntime(recording.config, recording.inventory, recording.device, journal)
    file = runtime.journal
    assert file is not None
    if file.path != Path(journal):  # somebody else records there
        file.close()
        file.path.unlink()
        raise InputError(journal, "", "a journal of another recording", "a new file")
    return runtime, file


async def _while_it_is_written(work: Coroutine[Any, Any, None], file: JournalFile) -> None:
    """Do `work`, as long as the journal can be written: a recording without its journal is none."""
    playing = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    file.on_trouble = lambda: loop.call_soon_threadsafe(playing.cancel)
    if file.trouble:  # by now
        playing.cancel()
    try:
        await playing
    except asyncio.CancelledError:
        if not file.trouble:
            raise
        raise InputError(file.path, "", file.trouble, "a disk with room for the journal") from None
