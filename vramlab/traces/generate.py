"""Synthetic traces from a spec; all randomness from one generator, everything vectorised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.traces.arrivals import arrival_times, crowd_at, expected_arrivals, rate_changes
from vramlab.traces.popularity import draw, drifted, reused
from vramlab.traces.spec import Labels, Stream, TraceSpec, spec_yaml
from vramlab.traces.trace import Trace

SPEC_KEY = "generator_spec"
"""Key of a trace's metadata under which the spec stands, as YAML."""

MAX_REQUESTS = 200_000_000
MAX_RATE_CHANGES = 20_000_000

# A trace of so many requests rather than seconds is made this much longer than expected, and cut.
_MARGIN = 1.05


@dataclass
class _Requests:
    """Columns of one stream; codes are indices into `models`, and -1 is a missing label."""

    times_s: np.ndarray
    codes: np.ndarray
    models: list[str]
    arrival: np.ndarray  # which arrival of the stream caused the request: labels hang on that


def generate(spec: TraceSpec, rng: np.random.Generator | int | None = None) -> Trace:
    """Make the trace of a spec.

    Parameters
    ----------
    spec : TraceSpec
        What to make.
    rng : numpy.random.Generator or int, optional
        Source of all randomness, or a seed; the spec's own seed where it is left out. Each stream draws from
        a generator of its own, so adding a stream leaves those before it as they are.

    Returns
    -------
    Trace
        With the spec in its metadata.

    Raises
    ------
    InputError
        If the spec makes no request, too many, or never as many as it asks for.
    """
    source = f"<generated: {spec.title}>" if spec.title else "<generated>"
    if rng is None or isinstance(rng, int):
        seed = spec.seed if rng is None else rng
        if seed < 0:
            raise InputError(source, "seed", seed, "0 or more")
        spec = spec.model_copy(update={"seed": seed})
        rng = np.random.default_rng(seed)
    frame = _frame(spec, rng, source)
    if frame.empty:
        raise InputError(source, "duration_s", f"no request in {spec.duration_s:g} s", "at least one request")
    return Trace.from_frame(frame, source, {SPEC_KEY: spec_yaml(spec)})


def _frame(spec: TraceSpec, rng: np.random.Generator, source: str) -> pd.DataFrame:
    if spec.duration_s is not None:
        _check_size(expected_arrivals(spec.streams, spec.duration_s), source)
        return _until(spec, rng, spec.duration_s, source)
    assert spec.requests is not None
    _check_size(spec.requests, source)
    rate = sum(stream.rate_per_s for stream in spec.streams)
    end_s = max(stream.from_s for stream in spec.streams) + _MARGIN * spec.requests / rate
    while expected_arrivals(spec.streams, end_s) <= 2 * MAX_REQUESTS:
        frame = _until(spec, rng, end_s, source)
        if len(frame) >= spec.requests:
            return frame.head(spec.requests)
        if all(stream.until_s is not None and stream.until_s <= end_s for stream in spec.streams):
            break
        end_s *= 2
    raise InputError(source, "requests", spec.requests, "no more than the streams have")


def _check_size(expected: float, source: str) -> None:
    if expected > MAX_REQUESTS:
        raise InputError(source, "streams", f"{expected:.3g} requests", f"at most {MAX_REQUESTS:,}")


def _until(spec: TraceSpec, rng: np.random.Generator, end_s: float, source: str) -> pd.DataFrame:
    changes = rate_changes(spec.streams, end_s)
    if changes > MAX_RATE_CHANGES:
        found = f"{changes:.3g} changes of rate in {end_s:g} s"
        raise InputError(source, "streams", found, f"at most {MAX_RATE_CHANGES:,}")
    parts = [
        _stream_frame(stream, own, end_s, spec.decimals)
        for stream, own in zip(spec.streams, rng.spawn(len(spec.streams)), strict=True)
    ]
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    order = np.argsort(frame["time_s"].to_numpy(), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def _stream_frame(stream: Stream, rng: np.random.Generator, end_s: float, decimals: int) -> pd.DataFrame:
    arrivals_s = arrival_times(rng, stream, end_s)
    requests = _pipeline if stream.pipeline else _by_popularity
    made = requests(rng, stream, arrivals_s)
    keep = made.times_s < end_s
    arrival = made.arrival[keep]
    columns: dict[str, object] = {
        "time_s": np.round(made.times_s[keep], decimals),
        "model": _texts(made.models, made.codes[keep]),
    }
    sizes = np.array(list(stream.items), dtype=np.int64)
    columns["items"] = sizes[draw(rng, list(stream.items.values()), len(arrivals_s))][arrival]
    for column, labels, letter in (
        ("requester", stream.requesters, "r"),
        ("input_key", stream.input_keys, "k"),
    ):
        if labels is not None:
            names = [
                f"{letter}{number:0{len(str(labels.distinct - 1))}}" for number in range(labels.distinct)
            ]
            columns[column] = _texts(names, _labels(rng, labels, len(arrivals_s))[arrival])
    if stream.priority is not None:
        columns["priority"] = _texts([stream.priority.value], np.zeros(len(arrival), dtype=np.int64))
    return pd.DataFrame(columns)


def _by_popularity(rng: np.random.Generator, stream: Stream, arrivals_s: np.ndarray) -> _Requests:
    weights = stream.model_weights
    models, count = list(weights), len(arrivals_s)
    codes = draw(rng, list(weights.values()), count)
    if stream.drift is not None:
        codes = drifted(rng, codes, arrivals_s, stream.drift, len(models))
    codes = reused(rng, codes, stream.reuse)
    crowds = [crowd_at(crowd, arrivals_s) for crowd in stream.flash_crowds]
    if crowds:
        # which of the crowds a request came with, if with any, by their parts in the rate at that time
        edges = np.cumsum(crowds, axis=0) / (1 + np.sum(crowds, axis=0))
        drawn = rng.random(count)
        for crowd, lower, upper in zip(stream.flash_crowds, [np.zeros(count), *edges], edges, strict=False):
            if crowd.model is not None:
                if crowd.model not in models:
                    models.append(crowd.model)
                codes = np.where((drawn >= lower) & (drawn < upper), models.index(crowd.model), codes)
    return _Requests(arrivals_s, codes, models, np.arange(count))


def _pipeline(rng: np.random.Generator, stream: Stream, arrivals_s: np.ndarray) -> _Requests:
    count = len(arrivals_s)
    models = sorted({name for stage in stream.pipeline for name in _choices(stage.model)})
    came: dict[str, np.ndarray] = {}
    at_s: dict[str, np.ndarray] = {}
    times, codes, arrival = [], [], []
    before = None
    for stage in stream.pipeline:
        parent = stage.after or before
        taken = rng.random(count) < stage.probability
        start_s = arrivals_s if parent is None else at_s[parent]
        came[stage.title] = taken if parent is None else taken & came[parent]
        at_s[stage.title] = start_s + stage.delay_s
        choices = _choices(stage.model)
        drawn = draw(rng, list(choices.values()), count)
        which = np.array([models.index(name) for name in choices])[drawn]
        rows = np.flatnonzero(came[stage.title])
        times.append(at_s[stage.title][rows])
        codes.append(which[rows])
        arrival.append(rows)
        before = stage.title
    return _Requests(np.concatenate(times), np.concatenate(codes), models, np.concatenate(arrival))


def _choices(model: str | dict[str, float]) -> dict[str, float]:
    return {model: 1.0} if isinstance(model, str) else model


def _labels(rng: np.random.Generator, labels: Labels, count: int) -> np.ndarray:
    weights = np.arange(1, labels.distinct + 1, dtype=np.float64) ** -labels.exponent
    codes = draw(rng, weights, count)
    return codes if labels.share == 1 else np.where(rng.random(count) < labels.share, codes, -1)


def _texts(names: Sequence[str], codes: np.ndarray) -> pd.Series:
    """Return the names of the codes; code -1 takes the last entry, None."""
    return pd.Series(np.array([*names, None], dtype=object)[codes], dtype=object)
