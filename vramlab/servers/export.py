"""Settings for somebody's own server, out of what a trace says of its models.

:func:`candidates` gives the settings that are worth trying, as texts of presets; :func:`written` writes one
of them as the server's own file would have it, with what it cannot say. Which is best is told by replaying
(:mod:`vramlab.experiments.exporting`).

What a model is worth keeping is its requests times its load time, per byte: the load seconds that a byte
spares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import Inventory, VramConfig
from vramlab.servers.preset import server_of
from vramlab.traces.trace import Trace

EXPORTS = ("ollama", "llama-swap", "localai", "lemonade", "vramd")
_MOST_PINS = 8
_NO_LIMIT = 1000  # requests of one model at once
_KEEP_S, _STEP_S = 3600, 60  # keep_alive of the model least worth keeping, and what each better one has more

CANNOT = {
    "ollama": (
        "sizes and load times play no part in who leaves: only the order of the keep_alives does",
        "nothing is pinned for good: where all are idle, the shortest keep_alive leaves",
        "requests are not put in another order, but that those for loaded models go at once",
    ),
    "llama-swap": (
        "bytes: the sets are those that fit, with one place for whichever model is not kept",
        "recency and frequency as they change: who is kept is decided once, from this trace",
    ),
    "localai": (
        "bytes: the number of models is the one that fits whichever they are, beside those that are pinned",
        "load times and frequency: the least recently used leaves",
    ),
    "lemonade": (
        "bytes, unless the eviction engine is on: the number of models is per type",
        "priorities beyond weights and pins",
    ),
    "vramd": (
        "recency: the most MiB per point of priority leave, however recently they were used",
        "load times: a priority has to stand for them",
    ),
}


@dataclass(frozen=True)
class Card:
    """What is exported for: the memory for models, and what each model is worth.

    Parameters
    ----------
    budget_bytes : int
        Memory for models.
    sizes : mapping of str to int
        Footprints, bytes, of the models of the trace.
    by_worth : list of str
        Those models, the one most worth keeping first.
    streams : int
        How many requests may run at once.
    """

    budget_bytes: int
    sizes: Mapping[str, int]
    by_worth: list[str]
    streams: int = 1

    def kept(self, most: int) -> list[str]:
        """The first models by worth beside which any other one fits."""
        found: list[str] = []
        for name in self.by_worth:
            if len(found) < most and self.places([*found, name]) >= 1:
                found.append(name)
        return found

    def places(self, kept: Sequence[str]) -> int:
        """How many others always fit beside some."""
        others = [size for name, size in self.sizes.items() if name not in kept]
        free = self.budget_bytes - sum(self.sizes[name] for name in kept)
        return free // max(others) if others and free > 0 else 0


def card_of(trace: Trace, config: VramConfig, inventory: Inventory) -> Card:
    """What a trace says of the models on a card."""
    names = trace.model_names
    asked = np.bincount(trace.model_codes, minlength=len(names)).tolist()
    counts = dict(zip(names, asked, strict=True))
    worth = {n: counts[n] * inventory[n].load_s / inventory[n].footprint_bytes for n in counts}
    sizes = {name: inventory[name].footprint_bytes for name in counts}
    by_worth = sorted(counts, key=lambda name: (-worth[name], name))
    return Card(config.budget_bytes, sizes, by_worth, config.serving.gpu_streams)


def candidates(server: str, card: Card, timeouts: Mapping[str, float]) -> list[str]:
    """Texts of presets to try, the server's defaults first.

    Parameters
    ----------
    server : str
        One of :data:`EXPORTS`.
    card : Card
        Memory and models.
    timeouts : mapping of str to float
        Idle time-outs that are best where nothing else sends models away, seconds.

    Raises
    ------
    InputError
        For a server that nothing is written for.
    """
    if server not in EXPORTS:
        raise InputError("--for", "", repr(server), f"one of {', '.join(EXPORTS)}{nearest(server, EXPORTS)}")
    tried = {
        "ollama": lambda: _for_ollama(card, timeouts),
        "llama-swap": lambda: _for_llama_swap(card),
        "localai": lambda: _with_pins(card, "localai", "max_active_backends"),
        "lemonade": lambda: [
            *_with_pins(card, "lemonade", "max_loaded_models"),
            "lemonade:eviction_engine=true+idle_timeout=1000000",
        ],
        "vramd": lambda: [
            f"vramd:max_inflight={inflight}+idle_timeout={idle}"
            for inflight in dict.fromkeys((1, card.streams))
            for idle in (120, 3600, 1_000_000)
        ],
    }[server]()
    return list(dict.fromkeys([server, *tried]))


def _text(server: str, **options: Any) -> str:
    return f"{server}:" + "+".join(f"{key}={json.dumps(value)}" for key, value in options.items())


def _for_ollama(card: Card, timeouts: Mapping[str, float]) -> list[str]:
    last = len(card.by_worth) - 1
    ranked = {name: _KEEP_S + _STEP_S * (last - place) for place, name in enumerate(card.by_worth)}
    rounded = {name: max(1, round(timeout_s)) for name, timeout_s in timeouts.items()}
    return [
        _text("ollama", max_loaded_models=most, **more)
        for most in (3, max(3, card.places([])), len(card.sizes))
        for more in (
            {},
            {"keep_alive": -1},
            {"keep_alive_by_model": ranked},
            {"keep_alive_by_model": rounded},
        )
    ]


def _for_llama_swap(card: Card) -> list[str]:
    found = []
    for most in range(_MOST_PINS + 1):
        kept = card.kept(most)
        if len(kept) < most:
            break
        sets = [[*kept, name] for name in card.by_worth if name not in kept]
        costs = {name: len(card.by_worth) - card.by_worth.index(name) for name in kept}
        found.append(_text("llama-swap", matrix=sets, evict_costs=costs, concurrency_limit=_NO_LIMIT))
    return found


def _with_pins(card: Card, server: str, count: str) -> list[str]:
    found = []
    for most in range(_MOST_PINS + 1):
        kept = card.kept(most)
        if len(kept) < most:
            break
        places = max(1, len(kept) + card.places(kept))  # 0 would be no limit there, and memory that runs out
        found.append(_text(server, **{count: places, "pinned": kept}))
    return found


# -- writing -----------------------------------------------------------------------------------------


def written(text: str, comments: Sequence[str]) -> str:
    """Settings in the server's own words.

    Parameters
    ----------
    text : str
        Of a preset, as :func:`candidates` gives it.
    comments : sequence of str
        Lines to stand on top.
    """
    server, options = server_of(text)
    document = _WRITERS[server.name](options)
    head = [f"{server.title} ({server.version}), written by `vramlab export`", *comments]
    head += [f"Cannot be said: {sentence}" for sentence in CANNOT[server.name]]
    return "".join(f"# {line}\n" for line in head) + yaml.safe_dump(document, sort_keys=False, width=100)


def _write_ollama(options: Mapping[str, Any]) -> dict[str, Any]:
    keep_alive = options["keep_alive"]
    document: dict[str, Any] = {
        "environment": {
            "OLLAMA_MAX_LOADED_MODELS": str(options["max_loaded_models"]),
            "OLLAMA_KEEP_ALIVE": "-1" if keep_alive < 0 else f"{keep_alive}s",
        }
    }
    if options["keep_alive_by_model"]:
        # goes into each request for the model: {"model": ..., "keep_alive": seconds}
        document["keep_alive"] = dict(options["keep_alive_by_model"])
    return document


def _write_llama_swap(options: Mapping[str, Any]) -> dict[str, Any]:
    sets = options["matrix"]
    if not sets:
        return {"ttl": options["ttl"]}
    # of a single set the last has the place that others would share
    kept = [name for name in sets[0] if all(name in one for one in sets)] if len(sets) > 1 else sets[0][:-1]
    others = [name for one in sets for name in one if name not in kept]
    variables = {name: f"m{place}" for place, name in enumerate([*kept, *others])}
    choice = " | ".join(variables[name] for name in others)
    expression = " & ".join([*(variables[name] for name in kept), f"({choice})"])
    return {
        "models": {
            name: {"ttl": options["ttl"], "concurrencyLimit": options["concurrency_limit"]}
            for name in variables
        },
        "matrix": {
            "vars": {variable: name for name, variable in variables.items()},
            "evict_costs": {variables[name]: cost for name, cost in (options["evict_costs"] or {}).items()},
            "sets": {"kept": expression},
        },
    }


def _write_localai(options: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "environment": {"LOCALAI_MAX_ACTIVE_BACKENDS": str(options["max_active_backends"])}
    }
    if options["pinned"]:
        document["models"] = {name: {"pinned": True} for name in options["pinned"]}
    return document


def _write_lemonade(options: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"serve": f"--max-loaded-models {options['max_loaded_models']}"}
    if options["eviction_engine"]:
        engine = {"enabled": True, "idle_timeout_s": options["idle_timeout"]}
        document = {"serve": "--max-loaded-models -1", "eviction_engine": engine}
    if options["pinned"]:
        document["pinned"] = list(options["pinned"])
    return document


def _write_vramd(options: Mapping[str, Any]) -> dict[str, Any]:
    environment = {"VRAMD_IDLE_EVICT_SEC": str(options["idle_timeout"])}
    if options["max_inflight"]:
        environment["VRAMD_MAX_INFLIGHT"] = str(options["max_inflight"])
    return {"environment": environment}


_WRITERS = {
    "ollama": _write_ollama,
    "llama-swap": _write_llama_swap,
    "localai": _write_localai,
    "lemonade": _write_lemonade,
    "vramd": _write_vramd,
}
