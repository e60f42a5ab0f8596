"""Recording: a trace is played against live sessions in real time, and everything that happens is kept."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.records import Records
from vramlab.live.loops import run_to_end
from vramlab.live.runtime import Inputs, LiveRuntime
from vramlab.live.sessions import make_inputs
from vramlab.traces.trace import Trace, check_models

_MOST_BYTES = 2**33  # of the inputs of one request


async def play(
    trace: Trace,
    runtime: LiveRuntime,
    rng: np.random.Generator,
    speed: float = 1.0,
    done: Callable[[], object] | None = None,
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
    """
    inputs = _Inputs(runtime, rng)
    columns = trace.frame
    optional = {
        key: columns[key].tolist() for key in ("requester", "priority", "input_key") if key in columns
    }
    driver = runtime.driver
    first_s = float(trace.times_s[0])
    begin_s = driver.clock()
    tasks: list[asyncio.Task[Any]] = []
    rows = zip(trace.times_s.tolist(), columns["model"].tolist(), trace.items.tolist(), strict=True)
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


def check_playable(trace: Trace, inventory: Inventory, speed: float) -> None:
    """Refuse what :func:`play` could not play to its end.

    Raises
    ------
    InputError
        For a speed that is none, a model that the inventory lacks, one whose file is no model, or more items
        than memory has room for.
    """
    if not 0 < speed < math.inf:
        raise InputError("--speed", "", speed, "a finite number of more than 0")
    check_models(trace, inventory)
    for name in trace.model_names:
        path = inventory[name].path
        if path is not None:  # the runtime says what has no file
            one = make_inputs(path, 1, np.random.default_rng(0))
            most = int(trace.items[trace.frame["model"] == name].max())
            if most * sum(array.nbytes for array in one.values()) > _MOST_BYTES:
                raise InputError(trace.source, f"items of {name}", most, "inputs of a few GB at most")


class _Inputs:
    """Inputs that fit a model, made once for each number of items."""

    def __init__(self, runtime: LiveRuntime, rng: np.random.Generator) -> None:
        self._runtime, self._rng = runtime, rng
        self._made: dict[tuple[str, int], dict[str, np.ndarray]] = {}

    def of(self, model: str, items: int) -> dict[str, np.ndarray]:
        made = self._made.get((model, items))
        if made is None:
            path = self._runtime.inventory[model].path
            assert path is not None  # the runtime has refused what has no file
            made = self._made[model, items] = make_inputs(path, items, self._rng)
        return made


def record(
    trace: Trace,
    config: VramConfig,
    inventory: Inventory,
    journal: Path | str,
    device: str = "auto",
    speed: float = 1.0,
    seed: int = 0,
    done: Callable[[], object] | None = None,
    opened: Callable[[dict[str, Any]], object] | None = None,
) -> tuple[Records, dict[str, Any]]:
    """Play a trace against live sessions.

    Parameters
    ----------
    trace, config, inventory
        What to play, and how to serve it; every model needs a ``path``.
    journal : Path or str
        File that the journal is written to while the run goes on.
    device : str
        ``auto``, ``cuda`` or ``cpu-emulated``.
    speed : float
        Times faster than the trace.
    seed : int
        For the inputs.
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
    check_playable(trace, inventory, speed)

    async def run() -> tuple[Records, dict[str, Any]]:
        runtime = LiveRuntime(config, inventory, device, journal)
        file = runtime.journal
        assert file is not None
        if file.path != Path(journal):  # somebody else records there
            file.close()
            file.path.unlink()
            raise InputError(journal, "", "a journal of another recording", "a new file")
        environment = runtime.backend.describe() | {"speed": speed, "seed": seed}
        if opened is not None:
            opened(environment)
        async with runtime:
            playing = asyncio.ensure_future(play(trace, runtime, np.random.default_rng(seed), speed, done))
            loop = asyncio.get_running_loop()
            # a recording without its journal is none: there is no use in going on
            file.on_trouble = lambda: loop.call_soon_threadsafe(playing.cancel)
            if file.trouble:  # by now
                playing.cancel()
            try:
                await playing
            except asyncio.CancelledError:
                if file.trouble:
                    raise InputError(
                        file.path, "", file.trouble, "a disk with room for the journal"
                    ) from None
                raise
        return runtime.records(), environment

    return run_to_end(run())
