"""When requests arrive: a renewal process on a clock that runs as fast as the rate is high.

Requests come at unit rate in *operational time*, with gamma-distributed gaps; the cumulative rate maps that
time to seconds (Cinlar, "Introduction to Stochastic Processes", 1975, section 4.7). So burstiness, Markov
states, cycles and flash crowds multiply freely, and each is a step function of time.
"""

from __future__ import annotations

import numpy as np

from vramlab.traces.spec import Cycle, FlashCrowd, MarkovState, Stream

DAY_S, WEEK_S = 86_400.0, 7 * 86_400.0

# A flash crowd ends after so many half-lives (then a thousandth is left), and is drawn in so many steps.
_CROWD_HALF_LIVES, _CROWD_STEPS = 10, 200


def arrival_times(rng: np.random.Generator, stream: Stream, end_s: float) -> np.ndarray:
    """Return the times of a stream's arrivals before `end_s`, in seconds, in order."""
    start_s, end_s = stream.from_s, min(end_s, stream.until_s or end_s)
    if start_s >= end_s:
        return np.empty(0)
    factors = [_markov_steps(rng, stream.markov, start_s, end_s)] if stream.markov else []
    if stream.cycle is not None:
        factors.append(_cycle_steps(stream.cycle, start_s, end_s))
    edges = np.unique(
        np.concatenate(
            [[start_s, end_s], *(steps for steps, _ in factors), *map(_crowd_edges, stream.flash_crowds)]
        )
    )
    edges = edges[(edges >= start_s) & (edges <= end_s)]
    middles = (edges[:-1] + edges[1:]) / 2
    rate = np.full(len(middles), stream.rate_per_s)
    for steps, values in factors:
        rate *= values[np.searchsorted(steps, middles, side="right") - 1]
    for crowd in stream.flash_crowds:
        rate += stream.rate_per_s * crowd_at(crowd, middles)
    cumulative = np.concatenate([[0.0], np.cumsum(rate * np.diff(edges))])
    return np.asarray(np.interp(_renewals(rng, stream.burstiness, cumulative[-1]), cumulative, edges))


def crowd_at(crowd: FlashCrowd, times_s: np.ndarray) -> np.ndarray:
    """Return the rate of a flash crowd at each time, in units of the stream's mean rate."""
    since = times_s - crowd.at_s
    rising = since / crowd.rise_s if crowd.rise_s > 0 else np.zeros_like(since)
    falling = np.exp2(-np.maximum(since - crowd.rise_s, 0.0) / crowd.half_life_s)
    inside = (since >= 0) & (since < crowd.rise_s + _CROWD_HALF_LIVES * crowd.half_life_s)
    return np.where(inside, crowd.peak * np.where(since < crowd.rise_s, rising, falling), 0.0)


def _renewals(rng: np.random.Generator, burstiness: float, end: float) -> np.ndarray:
    """Return points before `end` of a process of unit rate; `burstiness` is the variation of its gaps."""
    if burstiness == 0:
        return np.arange(1.0, np.floor(end) + 1)
    variance = burstiness**2
    parts, reached = [], 0.0
    while reached < end:
        missing = end - reached
        # four standard deviations of the count on top, so that one draw is nearly always enough
        size = int(missing + 4 * burstiness * np.sqrt(missing)) + 16
        points = reached + np.cumsum(rng.gamma(1 / variance, variance, size=size))
        parts.append(points)
        reached = float(points[-1])
    points = np.concatenate(parts)
    return points[: np.searchsorted(points, end)]


def _markov_steps(
    rng: np.random.Generator, states: tuple[MarkovState, ...], start_s: float, end_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Start and factor of each stay; the next state is any of the others, the mean factor over time is 1."""
    factors = np.array([state.factor for state in states])
    means = np.array([state.mean_s for state in states])
    factors = factors / (factors @ means / means.sum())
    if len(states) == 1:
        return np.array([start_s]), factors
    state = rng.choice(len(states), p=means / means.sum())
    starts, visited, now = [np.array([start_s])], [np.array([state])], start_s
    while now < end_s:
        size = int((end_s - now) / means.mean()) + 16
        # each step moves on by 1 to n - 1 places in the ring of states
        moves = np.cumsum(rng.integers(1, len(states), size=size))
        stays = rng.exponential(means[np.concatenate([[state], (state + moves[:-1]) % len(states)])])
        begun = now + np.cumsum(stays)
        starts.append(begun)
        visited.append((state + moves) % len(states))
        state, now = int(visited[-1][-1]), float(begun[-1])
    return np.concatenate(starts), factors[np.concatenate(visited)]


def _cycle_steps(cycle: Cycle, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Start and factor of each part of a day; the mean factor over a week is 1."""
    week = np.outer(cycle.weekly, cycle.daily).ravel()
    week = week / week.mean()
    part_s = DAY_S / len(cycle.daily)
    first = int((start_s + cycle.starts_at_s) // part_s)
    last = int((end_s + cycle.starts_at_s) // part_s)
    parts = np.arange(first, last + 1)
    return parts * part_s - cycle.starts_at_s, week[parts % len(week)]


def _crowd_edges(crowd: FlashCrowd) -> np.ndarray:
    peak_s = crowd.at_s + crowd.rise_s
    rising = np.linspace(crowd.at_s, peak_s, _CROWD_STEPS)
    falling = np.linspace(peak_s, peak_s + _CROWD_HALF_LIVES * crowd.half_life_s, _CROWD_STEPS)
    return np.concatenate([rising, falling])


def rate_changes(streams: tuple[Stream, ...], end_s: float) -> float:
    """Return the expected steps of the rates of all streams from 0 to `end_s`."""
    steps = 0.0
    for stream in streams:
        active_s = max(min(end_s, stream.until_s or end_s) - stream.from_s, 0.0)
        if stream.cycle is not None:
            steps += active_s / DAY_S * len(stream.cycle.daily)
        if stream.markov:
            steps += active_s / float(np.mean([state.mean_s for state in stream.markov]))
    return steps


def expected_arrivals(streams: tuple[Stream, ...], end_s: float) -> float:
    """Return the expected arrivals of all streams until `end_s`, with cycles and states at their mean."""
    expected = 0.0
    for stream in streams:
        active_s = max(min(end_s, stream.until_s or end_s) - stream.from_s, 0.0)
        expected += stream.rate_per_s * active_s
        for crowd in stream.flash_crowds:
            edges = np.clip(_crowd_edges(crowd), stream.from_s, stream.from_s + active_s)
            middles = (edges[:-1] + edges[1:]) / 2
            expected += stream.rate_per_s * float(crowd_at(crowd, middles) @ np.diff(edges))
    return expected
