"""The result cache against cachetools' own, by random use."""

from cachetools import TTLCache
from hypothesis import given
from hypothesis import strategies as st

from vramlab.config.schema import CachingConfig
from vramlab.engine.cache import MISS, Kept, ResultCache
from vramlab.engine.requests import Request

MIB = 2**20
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


def of_bytes(size_bytes):
    return Kept(object(), size_bytes)


def test_answers_have_so_many_bytes_together():
    cache = ResultCache(CachingConfig(result_cache_mb=1))
    for number in range(5):
        cache.put(Request("m", input_key=str(number)), of_bytes(MIB // 4), float(number))
    assert len(cache) == 4
    assert cache.get(Request("m", input_key="0"), 5.0) is MISS  # the longest not asked for
    cache.get(Request("m", input_key="1"), 5.0)
    cache.put(Request("m", input_key="large"), of_bytes(MIB // 2), 6.0)
    assert [cache.get(Request("m", input_key=key), 7.0) is MISS for key in "1234"] == [
        False, True, True, False
    ]  # fmt: skip
    cache.put(Request("m", input_key="larger"), of_bytes(MIB + 1), 8.0)
    assert cache.get(Request("m", input_key="larger"), 8.0) is MISS
    assert len(cache) == 3
    cache.put(Request("m", input_key="large"), of_bytes(1), 9.0)
    assert cache.held_bytes == MIB // 2 + 1


def test_answers_of_a_model_whose_file_is_another_one_are_forgotten():
    cache = ResultCache(CachingConfig())
    for model in "mn":
        cache.put(Request(model, input_key="k"), of_bytes(10), 0.0)
    cache.forget("m")
    assert cache.get(Request("m", input_key="k"), 1.0) is MISS
    assert cache.get(Request("n", input_key="k"), 1.0) is not MISS
    assert cache.held_bytes == 10


@given(STEPS, st.lists(st.integers(0, 3 * MIB // 4), min_size=100, max_size=100))
def test_bytes_are_counted_whatever_comes(steps, sizes):
    cache = ResultCache(CachingConfig(result_cache_mb=1, cache_ttl=4.0))
    now_s, live = 0.0, {}
    for (what, key, pause_s), size in zip(steps, sizes, strict=False):
        now_s += pause_s
        request = Request("m", input_key=key)
        if what == "put":
            live[key] = of_bytes(size)
            cache.put(request, live[key], now_s)
        else:
            assert cache.get(request, now_s) in (MISS, live.get(key))
        asked, ends = around(cache._ring, "asked_after"), around(cache._ring, "ends_after")
        assert cache.held_bytes == sum(entry.answer.size_bytes for entry in asked) <= MIB
        assert sorted(map(id, asked)) == sorted(map(id, ends))
        assert len(cache) == len(asked)
        assert [entry.until_s for entry in ends] == sorted(entry.until_s for entry in ends)


def around(ring, after):
    """All entries of a ring."""
    entries, entry = [], getattr(ring, after)
    while entry is not ring:
        entries.append(entry)
        entry = getattr(entry, after)
    return entries
