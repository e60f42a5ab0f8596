"""Settings for all tests: what begins first, and how long hypothesis searches.

``HYPOTHESIS_PROFILE=fuzz`` searches for minutes (50,000 steps of the allocator's state machine); ``ci`` is
the default. Both are reproducible: the examples depend on the tests alone, unless ``--hypothesis-seed``
asks for others.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from vramlab.config.compiled import outdated

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile(
    "fuzz", max_examples=1000, stateful_step_count=50, deadline=None, suppress_health_check=_SLOW
)
# for `make mutants`: the tests run once for every mutant
settings.register_profile(
    "mutants",
    max_examples=4,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # that it fails is enough, no need to shrink it
    suppress_health_check=[*_SLOW, HealthCheck.differing_executors, HealthCheck.filter_too_much],
)


def pytest_configure():
    """Test the source as it is: Python would rather take machine code that was made of an older one."""
    for path in outdated():
        pytest.exit(f"{path} is older than its source: make compiled, or make interpreted", returncode=2)


def pytest_collection_modifyitems(items):
    """Begin with what takes a minute, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_installed.py", "test_guides.py"))


settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
