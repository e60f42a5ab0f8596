"""What tuning may change: settings by dotted key, and the values that they may take.

Which settings make sense depends on the policy that a trial has drawn: exponents belong to the scores, the
half-life to ``decayed``, k to ``lru_k``. Sizes of zones are shares of what the zones have together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from vramlab.allocator.policies import PRESETS, policy_names
from vramlab.config.errors import InputError, check_choice
from vramlab.config.loading import with_overrides
from vramlab.config.schema import Inventory, VramConfig, zone_of
from vramlab.experiments.grids import override_texts, parse_grid

if TYPE_CHECKING:
    import optuna


class Dimension(Protocol):
    """The values that one setting may take."""

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        """Return a value for this trial."""

    def contains(self, value: Any) -> bool:
        """Return whether a trial may take this value."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, evenly in their logarithm where `log`."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        """Return a value for this trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        """Return whether a trial may take this value."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        """Return a value for this trial."""
        return trial.suggest_categorical(key, self.values)

    def contains(self, value: Any) -> bool:
        """Return whether a trial may take this value."""
        return value in self.values


GROUPS = ("policy", "weights", "half_life", "victims", "zones", "retention", "thresholds", "order", "memory")

DEFAULT_OVER = GROUPS[:-2]
"""What may change unless told otherwise: ``order`` does nothing for the load cost that is tuned for, and of
``memory`` more is never worse."""

POLICIES = ("decayed", "seed_fixed", "gdsf", "hyperbolic", "lhd", "lru_k", "lru", "lfu_da")
"""Policies that tuning chooses from unless it is told others."""

_WEIGHTS = {
    "frequency": Range(0.0, 3.0),
    "recency": Range(0.0, 2.0),
    "size": Range(-1.0, 2.0),
    "cost": Range(-2.0, 1.0),
    "priority": Range(0.0, 2.0),
}


@dataclass(frozen=True)
class SearchSpace:
    """Everything that a trial may draw.

    Parameters
    ----------
    policies : tuple of str
        Names to choose from.
    weights, half_life, victims : bool
        Whether the settings of the policy are drawn.
    shared_mb : float
        What the zones of `shares` have together, MB.
    shares : mapping of str to float
        Zones whose sizes are drawn, and the least size of each, MB; empty for none.
    settings : mapping of str to Dimension
        Other settings by dotted key; of one that a policy's settings have, the values that it may take.
    priorities : bool
        Whether there are models of several priorities, whose exponent matters.
    cards_mb : tuple of float
        Least and most memory of the card that is drawn, MB; empty where the card stays.
    zones_mb, overhead_mb
        Sizes of the zones on the largest card, which keep their shares of it, and what is lost of any; MB.
    """

    policies: tuple[str, ...]
    weights: bool
    half_life: bool
    victims: bool
    shared_mb: float
    shares: Mapping[str, float]
    settings: Mapping[str, Dimension]
    priorities: bool
    cards_mb: tuple[float, ...] = ()
    zones_mb: Mapping[str, float] = field(default_factory=dict)
    overhead_mb: float = 0.0

    def draw(self, trial: optuna.Trial) -> list[tuple[str, Any]]:
        """Return the settings of a trial, as for :func:`~vramlab.experiments.grids.settled`."""
        policy = (
            self.policies[0]
            if len(self.policies) == 1
            else trial.suggest_categorical("scoring.policy", self.policies)
        )
        drawn: list[tuple[str, Any]] = [("scoring.policy", policy)]
        scored = policy in PRESETS
        if self.weights:
            for name, dimension in _WEIGHTS.items():
                key = f"scoring.weights.{name}"
                if name != "priority" or self.priorities or key in self.settings:
                    drawn.append((key, self._suggest(trial, key, dimension) if scored else None))
        if self.half_life:
            if policy == "decayed":
                key = "scoring.half_life_s"
                drawn.append((key, self._suggest(trial, key, Range(60.0, 14 * 86_400.0, log=True))))
            if policy == "lru_k":
                drawn.append(("scoring.k", self._suggest(trial, "scoring.k", Range(2, 8))))
        if self._has_victims(policy):
            key = "scoring.victims"
            drawn.append((key, self._suggest(trial, key, Choice(("pruned", "exact")))))
        if self.shares:
            drawn += self._sizes(trial)
        own = self.of_policies()
        drawn += [
            (key, dimension.suggest(trial, key)) for key, dimension in self.settings.items() if key not in own
        ]
        return drawn + self._card(trial, dict(drawn)) if self.cards_mb else drawn

    def _card(self, trial: optuna.Trial, drawn: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Memory of the card, and the zones with it."""
        low, high = self.cards_mb
        card_mb = float(trial.suggest_float("total_memory_mb", low, high, step=(high - low) / 64))
        share = (card_mb - self.overhead_mb) / (high - self.overhead_mb)
        sizes = {name: drawn.get(f"zones.{name}.size_mb", size) for name, size in self.zones_mb.items()}
        zones = [(f"zones.{name}.size_mb", round(size * share, 3)) for name, size in sizes.items()]
        return [("total_memory_mb", card_mb), *zones]

    def of_policies(self) -> set[str]:
        """Return the settings that are drawn only with the policies that have them."""
        keys = {f"scoring.weights.{name}" for name in _WEIGHTS} if self.weights else set()
        keys |= {"scoring.half_life_s", "scoring.k"} if self.half_life else set()
        return keys | ({"scoring.victims"} if self.victims else set())

    def _suggest(self, trial: optuna.Trial, key: str, dimension: Dimension) -> Any:
        return self.settings.get(key, dimension).suggest(trial, key)

    def known(self, config: VramConfig) -> list[dict[str, Any]]:
        """Return what each policy has by itself, with all else as `config` has it: for the first trials."""
        found: list[dict[str, Any]] = []
        parts = {name: max(config.zones[name].size_mb - least, 0.0) for name, least in self.shares.items()}
        most = max(parts.values(), default=0.0) or 1.0
        here = {f"share.{name}": max(0.02, part / most) for name, part in parts.items()}
        here |= {key: value for key in self.settings if (value := _setting(config, key)) is not None}
        for policy in self.policies:
            for victims in ("exact", "pruned"):
                params: dict[str, Any] = here | {"scoring.policy": policy, "scoring.victims": victims}
                for name, value in asdict(PRESETS.get(policy, PRESETS["seed"])).items():
                    # a set is worth the sum of what its models are worth as a whole, not per byte
                    whole = victims == "exact" and name == "size"
                    params[f"scoring.weights.{name}"] = 0.0 if whole else value
                params |= {"scoring.half_life_s": 21_600.0, "scoring.k": 2}
                found.append(
                    {
                        key: value
                        for key, value in params.items()
                        if key not in self.settings or self.settings[key].contains(value)
                    }
                )
                if not self._has_victims(policy):
                    break
        return found

    def _has_victims(self, policy: str) -> bool:
        return self.victims and (policy in PRESETS or policy in ("hyperbolic", "lhd"))

    def _sizes(self, trial: optuna.Trial) -> list[tuple[str, float]]:
        """Return sizes of the zones: their least, and a share of the rest in proportion to what was drawn."""
        parts = {name: trial.suggest_float(f"share.{name}", 0.02, 1.0) for name in self.shares}
        rest, whole = self.shared_mb - sum(self.shares.values()), sum(parts.values())
        return [
            (f"zones.{name}.size_mb", round(least + rest * parts[name] / whole, 3))
            for name, least in self.shares.items()
        ]


def default_space(
    config: VramConfig,
    inventory: Inventory,
    over: Iterable[str] = DEFAULT_OVER,
    policies: Iterable[str] = POLICIES,
    search: Iterable[str] = (),
) -> SearchSpace:
    """Search space that fits a configuration.

    Parameters
    ----------
    over : iterable of str
        Groups of settings that may change, of :data:`GROUPS`. Without ``policy`` the configuration's stays.
    policies : iterable of str
        Policies to choose from.
    search : iterable of str
        Further settings, or other values of those of `over`: ``KEY=LOW..HIGH``, ``KEY=LOW..HIGH:log`` or
        ``KEY=V1,V2,...``.

    Raises
    ------
    InputError
        For an unknown group or policy, a text that is no range and no list, and values for what a group draws
        otherwise.
    """
    over, policies = tuple(over), tuple(policies)
    for name in over:
        check_choice("--over", "", name, GROUPS)
    for name in policies:
        if ":" not in name:
            check_choice("--policies", "", name, policy_names())
    settings: dict[str, Dimension] = {}
    if "retention" in over:
        for name, zone in config.zones.items():
            if zone.eviction_policy != "never":
                settings[f"zones.{name}.min_retention_time"] = Range(0.0, max(120.0, zone.min_retention_time))
    if "thresholds" in over:
        settings |= _thresholds(config)
    if "order" in over:
        settings |= _orders(config)
    settings |= dict(map(parse_dimension, search))
    for key in settings:  # a wrong key is an error now, not in each trial
        with_overrides(config, override_texts([(key, _setting(config, key))]))
    shares: dict[str, float] = {}
    if "zones" in over and len(config.zones) > 1:
        shares = {name: _least_mb(name, config, inventory) for name in config.zones}
    shared_mb = sum(zone.size_mb for zone in config.zones.values())
    space = SearchSpace(
        policies=policies if "policy" in over else (config.scoring.policy,),
        weights="weights" in over,
        half_life="half_life" in over,
        victims="victims" in over,
        shared_mb=shared_mb,
        shares=shares if sum(shares.values()) < shared_mb else {},
        settings=settings,
        priorities=len({spec.priority for spec in inventory.values()}) > 1,
        cards_mb=_cards_mb(config) if "memory" in over else (),
        zones_mb={name: zone.size_mb for name, zone in config.zones.items()},
        overhead_mb=config.overhead.total_mb,
    )
    _check_apart(space)
    return space


def _check_apart(space: SearchSpace) -> None:
    """Refuse settings of the user's of which a group would draw another value for the same trial."""
    sizes = {f"zones.{name}.size_mb" for name in space.shares}
    for keys in space.settings:
        for key in keys.split("+"):
            if key == "scoring.policy":
                raise InputError("--search", keys, "the policy", "policies in --policies")
            if key in sizes:
                raise InputError(
                    "--search", keys, "a size that --over zones shares out", "--over without zones"
                )
            if key in space.of_policies() and key != keys:
                found = f"{key} with others, which --over draws by itself"
                raise InputError("--search", keys, found, "each by itself, or an --over without it")


def _cards_mb(config: VramConfig) -> tuple[float, float]:
    """From an eighth of what models have today to all of it."""
    overhead_mb, total_mb = config.overhead.total_mb, config.total_memory_mb
    return overhead_mb + (total_mb - overhead_mb) / 8, total_mb


def _orders(config: VramConfig) -> dict[str, Dimension]:
    """Return the orders of serving, and how long and how often they may pass somebody over."""
    bound_s = config.serving.max_wait_s
    return {
        "serving.order": Choice(("backlog", "affinity", "arrival")),
        "serving.max_wait_s": Range(bound_s / 30, bound_s * 3, log=True),
        "serving.max_skips": Range(1, 30, log=True),
    }


def _thresholds(config: VramConfig) -> dict[str, Dimension]:
    """Return the thresholds of the loops that run under this configuration."""
    found: dict[str, Dimension] = {}
    if config.optimization.monitor:
        found["optimization.optimization_threshold"] = Range(0.5, 1.0)
    if config.optimization.predictor is not None:
        found["optimization.preload_prediction_threshold"] = Range(0.2, 0.98)
    return found


def _setting(config: VramConfig, key: str) -> Any:
    """Return the value of a dotted key, None where there is none."""
    node: Any = config.model_dump(mode="json")
    for part in key.split("+")[0].split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _least_mb(zone: str, config: VramConfig, inventory: Inventory) -> float:
    """Return what a zone needs for those that are always there, or else for its largest model."""
    its = {name: spec for name, spec in inventory.items() if zone_of(spec, config, name) == zone}
    reserved = config.zones[zone].reserved_models
    fixed = [
        spec.vram_size_mb + spec.workspace_mb
        for name, spec in its.items()
        if spec.always_loaded or spec.priority == "critical" or name in reserved
    ]
    largest = max((spec.vram_size_mb + spec.workspace_mb for spec in its.values()), default=1.0)
    # sizes of models are rounded up to bytes one by one
    return max(sum(fixed) + 1.0, largest + 1.0)


def parse_dimension(text: str) -> tuple[str, Dimension]:
    """Parse ``KEY=LOW..HIGH``, ``KEY=LOW..HIGH:log`` or ``KEY=V1,V2,...``.

    Raises
    ------
    InputError
        For anything else.
    """
    key, _, values = text.partition("=")
    low, dots, high = values.partition("..")
    if not dots:
        ((key, choices),) = parse_grid([text], "--search").items()
        return key, Choice(tuple(choices))
    high, _, scale = high.partition(":")
    try:
        ends = [int(end) if end.strip().lstrip("-").isdigit() else float(end) for end in (low, high)]
    except ValueError:
        ends = [1, 0]
    if ends[0] >= ends[1] or scale not in ("", "log") or (scale == "log" and ends[0] <= 0):
        raise InputError("--search", key, values, "LOW..HIGH or LOW..HIGH:log with LOW below HIGH")
    return key.strip(), Range(ends[0], ends[1], scale == "log")
