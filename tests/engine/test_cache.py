"""The result cache against cachetools' own, by random use."""

import numpy as np
from cachetools import TTLCache
from hypothesis import given
from hypothesis import strategies as st

from vramlab.config.schema import CachingConfig
from vramlab.engine.cache import MISS, ResultCache
from vramlab.engine.requests import Request

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["get", "put"]), st.sampled_from("abcdefg"), st.sampled_from([0.0, 0.5, 1.0, 3.0])
    )
)


@given(STEPS, st.integers(1, 4))
def test_the_same_as_cachetools(steps, size):
    now_s = 0.0
    other = TTLCache(size, 4.0, timer=lambda: now_s)
    cache = ResultCache(CachingConfig(result_cache_size=size, cache_ttl=4.0))
    for number, (what, key, pause_s) in enumerate(steps):
        now_s += pause_s
        request = Request("m", input_key=key)
        if what == "get":
            assert cache.get(request, now_s) == other.get(key, MISS)
        else:
            cache.put(request, number, now_s)
            other[key] = number
            assert len(cache) == len(other)


def test_requests_without_a_key_are_not_kept():
    cache = ResultCache(CachingConfig())
    cache.put(Request("m"), 1, 0.0)
    assert len(cache) == 0
    assert cache.get(Request("m"), 0.0) is MISS


def test_an_answer_of_none_is_an_answer():
    cache = ResultCache(CachingConfig())
    cache.put(Request("m", input_key="k"), None, 0.0)
    assert cache.get(Request("m", input_key="k"), 1.0) is None


def test_an_answer_belongs_to_its_caller():
    cache = ResultCache(CachingConfig())
    request, outputs = Request("m", input_key="k"), [np.zeros(3)]
    cache.put(request, outputs, 0.0)
    outputs[0][:] = 1  # by whom the model answered
    cache.get(request, 1.0)[0][:] = 2  # and by whom the cache did
    assert cache.get(request, 1.0)[0].tolist() == [0, 0, 0]
    assert cache.get(request, 1.0)[0].flags.owndata
