"""The service times of a simulation, chosen by name.

============= ========================================================================================
name          how long effects take
============= ========================================================================================
``spec``      constants of the inventory
``link``      the same, but loads take a latency plus bytes over the bandwidth that the profile's loads
              show; loads that run at once share it
``median``    medians of the profile's samples, by batch size
``sampled``   the samples themselves, drawn with a seed
``contended`` drawn samples that depend on how long the model has not run, on a machine whose cores effects
              share (:mod:`vramlab.simulation.machine`)
``recorded``  what a run has seen itself, drawn in the like situation, on the same machine
              (:mod:`vramlab.simulation.recorded`)
============= ========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError, check_choice
from vramlab.config.schema import Inventory, VramConfig
from vramlab.simulation.in_turns import TimesInTurns, Windows
from vramlab.simulation.link import LinkTimes, fit_link
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.profile_times import ProfileTimes
from vramlab.simulation.recorded import RecordedTimes, SeenTimes
from vramlab.simulation.service_times import ServiceTimes, SpecTimes

Times = Literal["spec", "link", "median", "sampled", "contended", "recorded"]


def choose_times(
    name: Times,
    config: VramConfig,
    inventory: Inventory,
    profile: pd.DataFrame | None = None,
    rng: np.random.Generator | None = None,
) -> ServiceTimes:
    """Service times by name.

    Parameters
    ----------
    name : str
        See the module's table.
    config, inventory
        Of the run.
    profile : DataFrame, optional
        Measurements; all but ``spec`` need them.
    rng : Generator, optional
        Draws the samples of ``sampled``, ``contended`` and ``recorded``; without it they take medians.

    Raises
    ------
    InputError
        For an unknown name, and if there is no profile where one is needed.
    """
    check_choice("service_times", "", name, get_args(Times))
    if name == "spec":
        return SpecTimes(config, inventory)
    if profile is None:
        expected = "measurements beside the inventory, as `vramlab profile` writes them"
        raise InputError("--service-times", name, "no profile", expected)
    if name == "link":
        times = LinkTimes(config, inventory, fit_link(profile, inventory))
        return SharedMachine(times, one_link=True)
    if name == "median":
        return ProfileTimes(profile, config, inventory)
    cores = profile.attrs.get("cpu_count")
    device_cores = device_cores_of(profile.attrs, config.serving.gpu_streams)
    if name == "recorded":
        return SharedMachine(recorded_times(profile, config, inventory, rng), cores, device_cores)
    times_drawn = ProfileTimes(profile, config, inventory, rng)
    if name == "sampled":
        return times_drawn
    return SharedMachine(times_drawn, cores, device_cores)


def recorded_times(
    frame: pd.DataFrame, config: VramConfig, inventory: Inventory, rng: np.random.Generator | None = None
) -> SeenTimes:
    """Make times of a run's own samples: of two halves in turns, where they have come in such."""
    windows = frame.attrs.get("windows")
    if windows is None:
        return RecordedTimes(frame, config, inventory, rng)
    halves = [RecordedTimes(frame[frame.half == half], config, inventory, rng) for half in (0, 1)]
    return TimesInTurns(Windows(*windows), halves)


def device_cores_of(machine: Mapping[Any, Any], streams: int) -> int:
    """How many cores the device would have with so many streams, on a machine where it had some.

    Parameters
    ----------
    machine : mapping
        Facts of it, ``cpu_count`` and ``device_cores``, as a profile or a run keeps them.
    """
    can_choose, cores = machine.get("device_cores", 0) > 0, machine.get("cpu_count")
    return streams if can_choose and cores is not None and streams < cores else 0
