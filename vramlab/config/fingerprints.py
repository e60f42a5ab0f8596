"""Fingerprints of settings and inventories: what results say they were made from."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from operator import is_
from typing import Any

from pydantic import BaseModel

from vramlab.config.rules import RulesConfig
from vramlab.config.schema import VramConfig
from vramlab.config.study import StudyConfig

LATER: dict[str, Any] = {
    "rules": RulesConfig().model_dump(mode="json"),
    "server": None,
    "study": StudyConfig().model_dump(mode="json"),
}
"""Settings that there were none of once, as they are where nobody sets them."""


def fingerprint(value: BaseModel | Mapping[str, BaseModel]) -> str:
    """Return SHA-256 of a configuration or inventory, independent of file format, comments and key order."""
    if not isinstance(value, BaseModel):
        return _fingerprint_of_all(value)
    data: Any = value.model_dump(mode="json")
    # what came later counts where it is set: the fingerprints of settings without it stay
    data = {key: part for key, part in data.items() if key not in LATER or part != LATER[key]}
    if isinstance(value, VramConfig):
        data["scoring"] = value.scoring.as_before(data["scoring"])
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _fingerprint_of_all(sections: Mapping[str, BaseModel]) -> str:
    """Return SHA-256 of the JSON of sections by name, sorted; the same sections again are known.

    Every run of a study asks for that of its inventory, and sections never change.
    """
    names, values = list(sections), list(sections.values())
    for known_names, known, found in tuple(_KNOWN):
        if len(known) == len(values) and all(map(is_, known, values)) and known_names == names:
            return found
    digest = hashlib.sha256(b"{")
    texts: dict[int, bytes] = {}  # of sections that several names may have
    for place, name in enumerate(sorted(names)):
        section = sections[name]
        if id(section) not in texts:
            if len(texts) == 1000:  # all of 50,000 models would take 30 MB
                texts.clear()
            texts[id(section)] = _IN_ORDER.encode(section.model_dump(mode="json")).encode()
        digest.update(f"{', ' * bool(place)}{json.dumps(name)}: ".encode())
        digest.update(texts[id(section)])
    digest.update(b"}")
    remember(sections, digest.hexdigest())
    return digest.hexdigest()


def remember(sections: Mapping[str, BaseModel], found: str) -> None:
    """Note the fingerprint of sections, which another process has worked out."""
    _KNOWN.appendleft((list(sections), list(sections.values()), found))


_IN_ORDER = json.JSONEncoder(sort_keys=True)
_KNOWN: deque[tuple[list[str], list[BaseModel], str]] = deque(maxlen=2)
