"""Who leaves though nobody asks for its place."""

import pytest

from tests.allocator.building import an_allocator, load, mb
from vramlab.allocator.relief import unused_models, unused_since

MODELS = {
    "small": {"vram_size_mb": 10, "zone": "flexible"},
    "large": {"vram_size_mb": 30, "priority": "low", "zone": "flexible"},
    "later": {"vram_size_mb": 10, "zone": "flexible"},
    "high": {"vram_size_mb": 10, "priority": "high", "zone": "flexible"},
    "pinned": {"vram_size_mb": 10, "always_loaded": True, "zone": "flexible"},
    "kept": {"vram_size_mb": 10, "zone": "critical"},
}
ZONES = {
    "flexible": {"size_mb": 100, "min_retention_time": 5},
    "critical": {"size_mb": 10, "eviction_policy": "never"},
}


@pytest.fixture
def filled():
    allocator = an_allocator(ZONES, MODELS)
    for now_s, name in enumerate(MODELS):
        load(allocator, name, float(now_s))
    return allocator


def names(models):
    return [model.name for model in models]


def test_unused_models_are_low_or_medium_and_come_largest_first(filled):
    everybody = filled.models.values()
    assert names(unused_models(everybody, 100.0, 10.0)) == ["large", "small", "later"]
    filled.request("large", 99.0)  # in use
    assert names(unused_models(everybody, 200.0, 10.0)) == ["small", "later"]


def test_unused_begins_after_the_time_and_after_retention(filled):
    everybody = filled.models.values()
    assert names(unused_models(everybody, 10.0, 10.0)) == []  # at the moment itself not yet
    assert names(unused_models(everybody, 10.5, 10.0)) == ["small"]
    assert unused_since(filled.models["large"], 10.0) == 11.0
    assert unused_since(filled.models["large"], 1.0) == 6.0  # loaded at 1, retained for 5


def test_pressure_takes_the_lowest_and_spares_whom_later_ones_make_unnecessary(filled):
    # by last use: small 10, large 30, later 10; 35 MB want small and large, 30 want large alone
    assert filled.relieve(mb(30), 6.0) == ["large"]
    assert filled.relieve(0, 6.0) == []
