"""The shape of a generator spec: what a synthetic trace is made of (:mod:`vramlab.traces.generate` makes it).

A spec is a mixture of streams. Each stream has a rate that may change over time. Its requests name one model
each, by popularity, or start a pipeline of several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from vramlab.config.bundled import there
from vramlab.config.schema import Count, Fraction, NonNegative, Positive, PriorityField, Section
from vramlab.config.validation import validated
from vramlab.config.yaml_files import read_yaml

Name = Annotated[str, Field(min_length=1)]


class MarkovState(Section):
    """A state of the rate: `factor` relative to the other states', kept for `mean_s` on average."""

    factor: NonNegative
    mean_s: Positive


class Cycle(Section):
    """Rates relative to each other, in equal parts of a day and in the days of a week.

    ``starts_at_s`` is the time of time 0, in seconds from Monday, 00:00.
    """

    daily: tuple[NonNegative, ...] = Field(default=(1.0,), strict=False, min_length=1)
    weekly: tuple[NonNegative, ...] = Field(default=(1.0,) * 7, strict=False, min_length=7, max_length=7)
    starts_at_s: NonNegative = 0

    @model_validator(mode="after")
    def _has_requests(self) -> Cycle:
        if sum(self.daily) <= 0 or sum(self.weekly) <= 0:
            raise ValueError("at least one part of the day and one day of the week above 0")
        return self


class FlashCrowd(Section):
    """Additional requests: up to `peak` times the stream's rate on top of it.

    They rise in a straight line for ``rise_s`` from ``at_s`` on, and then fall exponentially, to a half in
    each ``half_life_s``. Where a `model` is named they all want that one.
    """

    at_s: NonNegative
    peak: Positive
    rise_s: NonNegative = 0
    half_life_s: Positive
    model: Name | None = None


class Drift(Section):
    """In each period in which there are requests a `share` of the ranks, drawn at random, changes places."""

    period_s: Positive
    share: Fraction = 0.25


class Reuse(Section):
    """With `probability` a request names the model of the one so many requests before it in its stream.

    The lag is drawn evenly from ``lags`` (first and last). Popularity stays as it is.
    """

    probability: Fraction
    lags: tuple[Count, Count] = Field(default=(1, 1), strict=False)

    @model_validator(mode="after")
    def _in_order(self) -> Reuse:
        if self.lags[0] > self.lags[1]:
            raise ValueError("the first lag not above the last")
        return self


class Stage(Section):
    """One request of a pipeline, for one model or one of several by weight.

    It comes with `probability`, ``delay_s`` after the stage that it follows, if that one came: the stage
    named by `after`, or the stage before it. A stage's name is `name`, or its model where it has one only.
    """

    model: Name | dict[Name, Positive]
    probability: Fraction = 1
    delay_s: NonNegative = 0
    after: str | None = None
    name: str | None = None

    @property
    def title(self) -> str:
        """What `after` calls this stage."""
        return self.name or (self.model if isinstance(self.model, str) else "/".join(self.model))


class Labels(Section):
    """Names drawn from a number of them: the one of rank r in proportion to ``r ** -exponent``.

    A `share` of the requests has one; with 1 all have.
    """

    distinct: Count
    exponent: NonNegative = 0
    share: Fraction = 1


class Stream(Section):
    """Requests of one kind.

    Arrivals: ``rate_per_s`` on average (without flash crowds) from ``from_s`` to ``until_s``; `burstiness`
    is the coefficient of variation of the (gamma-distributed) times between requests at a constant rate: 1
    is Poisson, 0 a clock. `markov` states and a `cycle` change the rate and leave its mean.

    Models: either `models` (most popular first; or a mapping to weights; or a number of them, named
    ``prefix`` and a number), with `exponent` of the Zipf law where no weights are given, `drift` and
    `reuse`; or `pipeline`, whose requests share requester and input.
    """

    rate_per_s: Positive
    burstiness: NonNegative = 1
    from_s: NonNegative = 0
    until_s: Positive | None = None
    markov: tuple[MarkovState, ...] = Field(default=(), strict=False)
    cycle: Cycle | None = None
    flash_crowds: tuple[FlashCrowd, ...] = Field(default=(), strict=False)

    models: Count | list[Name] | dict[Name, Positive] | None = None
    prefix: str = "m"
    exponent: float = Field(default=0.9, allow_inf_nan=False)
    drift: Drift | None = None
    reuse: tuple[Reuse, ...] = Field(default=(), strict=False)
    pipeline: tuple[Stage, ...] = Field(default=(), strict=False)

    items: dict[Annotated[int, Field(ge=1)], Positive] = Field(default={1: 1.0}, min_length=1)
    requesters: Labels | None = None
    input_keys: Labels | None = None
    priority: PriorityField | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Stream:
        if bool(self.models) == bool(self.pipeline):
            raise ValueError("either models or a pipeline")
        if isinstance(self.models, list) and len(set(self.models)) < len(self.models):
            raise ValueError("each model once")
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError("until_s after from_s")
        if sum(reuse.probability for reuse in self.reuse) > 1 + 1e-9:
            raise ValueError("probabilities of reuse that add up to 1 at most")
        if self.markov and not any(state.factor for state in self.markov):
            raise ValueError("a Markov state with a factor above 0")
        if self.pipeline and any(crowd.model for crowd in self.flash_crowds):
            raise ValueError("no model of a flash crowd in a pipeline: its stages have theirs")
        earlier: list[str] = []
        for stage in self.pipeline:
            if stage.after is not None and stage.after not in earlier:
                raise ValueError(f"stage {stage.title} after an earlier stage, not {stage.after!r}")
            if stage.title in earlier:
                raise ValueError(f"stage {stage.title} once, or another name for it")
            earlier.append(stage.title)
        return self

    @property
    def model_weights(self) -> dict[str, float]:
        """Model to weight, most popular rank first; empty for a pipeline."""
        if isinstance(self.models, dict):
            return self.models
        if isinstance(self.models, int):
            digits = len(str(self.models - 1))
            names = [f"{self.prefix}{number:0{digits}}" for number in range(self.models)]
        else:
            names = self.models or []
        return {name: float(rank) ** -self.exponent for rank, name in enumerate(names, start=1)}


class TraceSpec(Section):
    """A synthetic trace: streams, and when it ends: after ``duration_s`` or after so many `requests`.

    Times are rounded to `decimals` of a second.
    """

    title: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    duration_s: Positive | None = None
    requests: Count | None = None
    decimals: Annotated[int, Field(ge=0, le=9)] = 6
    streams: tuple[Stream, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _one_end(self) -> TraceSpec:
        if (self.duration_s is None) == (self.requests is None):
            raise ValueError("either duration_s or requests")
        if not self.streams:
            raise ValueError("at least one stream")
        return self


def load_spec(path: Path | str) -> TraceSpec:
    """Read a generator spec from a YAML file.

    Raises
    ------
    InputError
        Naming file, key, found and expected.
    """
    return make_spec(read_yaml(there(path)), str(path))


def make_spec(data: object, source: str = "<spec>") -> TraceSpec:
    """Validate a spec given as mappings and lists, as YAML gives them.

    Raises
    ------
    InputError
        Naming source, key, found and expected.
    """
    return validated(TraceSpec, data, source, "")


def spec_yaml(spec: TraceSpec) -> str:
    """Return the spec as YAML that :func:`load_spec` reads; keys at their default are left out."""
    data: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    # JSON has text for keys only; the numbers of items are numbers in YAML
    for stream, dumped in zip(spec.streams, data["streams"], strict=True):
        if "items" in dumped:
            dumped["items"] = dict(stream.items)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
