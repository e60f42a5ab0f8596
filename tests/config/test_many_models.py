"""Inventories of many models: read in C where that is to be had, hashed once, the same as in small."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlab.config import fingerprints, yaml_files
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import load_inventory, write_inventory
from vramlab.config.models import ModelSpec, of_models
from vramlab.config.plain_yaml import read_plainly
from vramlab.config.schema import Priority, VramConfig, homes_of, zone_of

HEAD = "models:\n  m:\n"
MODEL = """    {name}:
      priority: medium
      vram_size_mb: {size}
      load_time_ms: 1_000.5
      cpu_fallback: none
      always_loaded: no
"""


def written(folder, text):
    path = folder / "models.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(params=["C", "Python"])
def reader(request, monkeypatch):
    """The reader of long texts; in C all are long."""
    if request.param == "C" and yaml_files._IN_C is None:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_files, "_LONG", 0 if request.param == "C" else 1e9)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (MODEL.format(name="b", size=8) + MODEL.format(name="b", size=8), "key 'b' a second time"),
        (MODEL.format(name="b", size="0777"), "0777, which YAML takes for the number 511"),
        (MODEL.format(name="b", size="[8"), "line"),
        (MODEL.format(name="b", size="2026-02-30"), "day is out of range"),
        (MODEL.format(name="b", size="[" * 5000), "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_alike_by_both_readers(tmp_path, lines, found):
    with pytest.raises(InputError, match=found):
        load_inventory(written(tmp_path, HEAD + lines))


@pytest.mark.usefixtures("reader")
def test_keys_and_texts_are_as_they_are_written(tmp_path):
    text = HEAD + "".join(MODEL.format(name=name, size=8) for name in ("1.10", "no", "'007'", "ünï", "a b"))
    text += (
        "    merged:\n      <<: {priority: low, vram_size_mb: 1, load_time_ms: 2}\n      vram_size_mb: 3\n"
    )
    inventory = load_inventory(written(tmp_path, text))
    assert list(inventory) == ["1.10", "no", "007", "ünï", "a b", "merged"]
    assert inventory["no"].load_time_ms == 1000.5
    assert inventory["no"].always_loaded is False
    assert inventory["merged"].vram_size_mb == 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_both_readers_read_what_is_written_alike(value):
    in_c = yaml_files._IN_C
    if in_c is None:
        pytest.skip("PyYAML was built without libyaml")
    text = yaml_files.yaml.safe_dump(value)
    try:
        expected = yaml_files.yaml.load(text, yaml_files._LOADER)
    except yaml_files.yaml.YAMLError:  # a key that is no text, say
        with pytest.raises(yaml_files.yaml.YAMLError):
            yaml_files.yaml.load(text, in_c)
    else:
        assert yaml_files.yaml.load(text, in_c) == expected


WORDS = [
    "a", "b-1", "no", "On", "null", "NULL", "Null", "yes", "TRUE", "y", "N", "x.y/z", "nan", "1.10", "007",
    "1:30", "0x1F", "1e5", "1.5e+3", "-0", "-0.0", "12", "1.", ".5", "+1", "1_000", "2001-12-14", "~", "'q'",
    "a b", "[]", "{}", "é", "&a", "*a", "!!str 1", "|", "", " ", "# c", "a # c", "<<", "=", "a:", "a: b",
    "- a", "99999999999999999999", "0.1000000000000000055511",
]  # fmt: skip
LINES = st.tuples(
    *map(st.sampled_from, (["", "  ", "    ", "   "], WORDS, [":", ": ", ""], [*WORDS, *[""] * 20]))
)


@given(st.lists(LINES.map("".join), max_size=6), st.sampled_from(["", "\n", "\n\n", "\n..."]))
def test_what_is_read_plainly_is_read_so_by_yaml(lines, ending):
    text = "\n".join(lines) + ending
    plainly = read_plainly(text)
    if plainly is not None:
        assert repr(yaml_files.yaml.load(text, yaml_files._LOADER)) == repr(plainly)


def test_what_is_written_is_read_plainly(tmp_path):
    inventory = {"b.1": a_spec(2), "org/a": a_spec(3, path="x.onnx", always_loaded=True), "c": a_spec(1)}
    write_inventory(inventory, tmp_path / "models.yaml", comment="two\nlines")
    text = (tmp_path / "models.yaml").read_text()
    plainly = read_plainly(text)
    assert plainly == yaml_files.yaml.load(text, yaml_files._LOADER)
    assert list(plainly["models"]["models"]) == ["b.1", "org/a", "c"]


def a_spec(size, **more):
    return ModelSpec(priority="medium", vram_size_mb=size, load_time_ms=1, **more)


def test_a_fingerprint_is_that_of_all_sorted_and_sees_every_change(monkeypatch):
    def plainly(inventory):
        data = {name: spec.model_dump(mode="json") for name, spec in inventory.items()}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    inventory = {"b": a_spec(2), "ä": a_spec(3, path="x.onnx"), "a": a_spec(1)}
    for one in ({}, {"a": a_spec(1)}, inventory, dict(sorted(inventory.items()))):
        assert fingerprint(one) == plainly(one)
    monkeypatch.setattr(ModelSpec, "model_dump", None)  # what is known is not written again
    assert fingerprint(dict(inventory)) == fingerprint(inventory)
    monkeypatch.undo()
    inventory["a"] = a_spec(4)  # the same dict, with another model in it
    assert fingerprint(inventory) == plainly(inventory)
    inventory["c"] = inventory.pop("a")
    assert fingerprint(inventory) == plainly(inventory)
    assert len(fingerprints._KNOWN) == 2


def test_models_of_which_a_file_says_the_same_have_one_spec_and_what_follows_from_it_once(tmp_path):
    text = HEAD + "".join(MODEL.format(name=name, size=size) for name, size in (("a", 1), ("b", 2), ("c", 1)))
    inventory = load_inventory(written(tmp_path, text))
    assert inventory["a"] is inventory["c"]
    assert inventory["a"] != inventory["b"]
    asked = []
    sizes = of_models(inventory, lambda spec: asked.append(spec) or spec.vram_size_mb)
    assert list(sizes.items()) == [("a", 1), ("b", 2), ("c", 1)]
    assert len(asked) == 2


def test_one_and_true_are_not_the_same(tmp_path):
    text = HEAD + MODEL.format(name="a", size=1) + MODEL.format(name="b", size="true")
    with pytest.raises(InputError, match=r"m\.b\.vram_size_mb: found True"):
        load_inventory(written(tmp_path, text))


@given(st.lists(st.tuples(st.sampled_from(Priority), st.sampled_from([None, "x", "flexible"])), max_size=6))
def test_homes_of_all_are_those_of_each(kinds):
    specs = {
        kind: ModelSpec(priority=kind[0], vram_size_mb=1, load_time_ms=1, zone=kind[1]) for kind in kinds
    }
    inventory = {f"m{number}": specs[kind] for number, kind in enumerate(kinds)}
    zones = {
        "x": {"size_mb": 9, "reserved_models": ["m1", "m3"]},
        "flexible": {"reserved_models": ["m3", "m0"]},
    }
    config = VramConfig.model_validate({"zones": zones})
    homes = homes_of(inventory, config)
    assert list(homes.items()) == [(name, zone_of(spec, config, name)) for name, spec in inventory.items()]
