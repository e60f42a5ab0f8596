"""Bad files and settings: each is one line that names file, key, what was found and what was expected."""

from pathlib import Path

import pytest

from vramlab.config.errors import InputError, nearest, shown
from vramlab.config.loading import check_fit, load_config, load_inventory, load_scenario, with_overrides

CONFIG = Path(__file__).parents[2] / "config"


def write(folder, text, name="file.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def error_of(call, *args):
    with pytest.raises(InputError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "key", "found", "expected"),
    [
        (
            "vram_management: {total_memory: 5}",
            "vram_management.total_memory",
            "an unknown key",
            "a known key",
        ),
        (
            "vram_management: {zones: {flexible: {sise_mb: 5}}}",
            "vram_management.zones.flexible.sise_mb",
            "an unknown key",
            "a known key (did you mean 'size_mb'?)",
        ),
        (
            "vram_management: {scoring: {weigths: {}}}",
            "vram_management.scoring.weigths",
            "an unknown key",
            "a known key (did you mean 'weights'?)",
        ),
        ("vram_managment: {}", "vram_managment", "an unknown key", "(did you mean 'vram_management'?)"),
        (
            "vram_management: {total_memory_mb: lots}",
            "vram_management.total_memory_mb",
            "'lots' (text)",
            "number",
        ),
        (
            "vram_management: {total_memory_mb: '6144'}",
            "vram_management.total_memory_mb",
            "'6144' (text)",
            "number",
        ),
        (
            "vram_management: {total_memory_mb: yes}",
            "vram_management.total_memory_mb",
            "True (a switch)",
            "number",
        ),
        ("vram_management: {total_memory_mb: -1}", "vram_management.total_memory_mb", "-1", "greater than 0"),
        ("vram_management: {total_memory_mb: .nan}", "vram_management.total_memory_mb", "nan", "number"),
        (
            "vram_management: {total_memory_mb: .inf}",
            "vram_management.total_memory_mb",
            "inf",
            "finite number",
        ),
        ("vram_management: {total_memory_mb: }", "vram_management.total_memory_mb", "nothing", "number"),
        (
            "vram_management: {zones: {flexible: {size_mb: -5}}}",
            "vram_management.zones.flexible.size_mb",
            "-5",
            "greater than 0",
        ),
        (
            "vram_management: {zones: {flexible: {max_models: 2.5}}}",
            "vram_management.zones.flexible.max_models",
            "2.5",
            "whole number",
        ),
        (
            "vram_management: {zones: {flexible: {eviction_policy: lru}}}",
            "vram_management.zones.flexible.eviction_policy",
            "'lru' (text)",
            "'never', 'reluctant_lru' or 'aggressive_lru'",
        ),
        (
            "vram_management: {zones: {flexible: {borrowers: [hihg]}}}",
            "vram_management.zones.flexible.borrowers.0",
            "'hihg' (text)",
            "'critical', 'high', 'medium' or 'low'",
        ),
        ("vram_management: {zones: {mine: {}}}", "vram_management.zones.mine.size_mb", "nothing", "required"),
        ("vram_management: {zones: {}}", "vram_management.zones", "an empty mapping", "at least 1"),
        ("vram_management: {zones: [1]}", "vram_management.zones", "a list", "a mapping"),
        ("vram_management: {fallback: 3}", "vram_management.fallback", "3", "a mapping"),
        ("vram_management: 3", "vram_management", "3", "a mapping"),
        ("scenario: 3", "scenario", "3", "a mapping"),
        ("scenario: {titel: x}", "scenario.titel", "an unknown key", "(did you mean 'title'?)"),
        ("- 1", "", "a list", "a mapping"),
        ("", "", "nothing", "a mapping"),
        ("a: [1", "line 1", "expected ',' or ']'", "valid YAML"),
        (
            "vram_management:\n  total_memory_mb: 1\n  total_memory_mb: 2\n",
            "line 3",
            "'total_memory_mb'",
            "valid",
        ),
        ("vram_management:\n  [1]: 2\n", "line 2", "a list as a key", "valid YAML"),
        ("vram_management: !!python/name:os.system {}", "line 1", "could not determine", "valid YAML"),
        ("vram_management: {total_memory_mb: 700}", "vram_management.overhead", "800 MB", "less than"),
        (
            "vram_management: {total_memory_mb: 2500}",
            "vram_management.zones.high_priority.size_mb",
            "2560",
            "at most total_memory_mb (2500)",
        ),
        (
            "vram_management: {optimization: {optimization_threshold: 85}}",
            "vram_management.optimization.optimization_threshold",
            "85",
            "less than or equal to 1",
        ),
    ],
)
def test_a_bad_configuration(tmp_path, text, key, found, expected):
    path = write(tmp_path, text)
    error = error_of(load_config, path)
    assert (error.source, error.key) == (str(path), key)
    assert found in error.found
    assert expected in error.expected
    assert str(error).startswith(f"{path}: ")


def test_several_errors_are_counted(tmp_path):
    path = write(tmp_path, "vram_management: {total_memory_mb: a, admission: b, zoness: 1}")
    assert "(and 2 more errors)" in error_of(load_config, path).expected


def test_files_that_cannot_be_read(tmp_path):
    missing = error_of(load_config, tmp_path / "none.yaml")
    assert (missing.found, missing.expected) == ("no such file or directory", "a readable YAML file")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    assert error_of(load_config, tmp_path / "latin.yaml").found == "bytes that are not UTF-8"
    assert error_of(load_config, tmp_path).found == "is a directory"


def test_merge_keys_may_be_overridden(tmp_path):
    text = """
vram_management:
  zones:
    a: &zone {size_mb: 10, max_models: 3}
    b: {<<: *zone, size_mb: 20}
"""
    zones = load_config(write(tmp_path, text)).zones
    assert (zones["b"].size_mb, zones["b"].max_models) == (20, 3)


# -- inventories --------------------------------------------------------------------------------------

GOOD = "priority: high, vram_size_mb: 1, load_time_ms: 1"


@pytest.mark.parametrize(
    ("text", "key", "found", "expected"),
    [
        ("models: {g: {m: {GOOD, zon: a}}}", "models.g.m.zon", "an unknown key", "(did you mean 'zone'?)"),
        (
            "models: {g: {m: {priority: high, load_time_ms: 1}}}",
            "models.g.m.vram_size_mb",
            "nothing",
            "required",
        ),
        ("models: {g: {m: {GOOD, batch_size: 0}}}", "models.g.m.batch_size", "0", "greater than or equal"),
        ("models: {g: {m: {GOOD, cpu_fallback: }}}", "models.g.m.cpu_fallback", "nothing", "a text"),
        (
            "models: {g: {m: {priority: top, vram_size_mb: 1, load_time_ms: 1}}}",
            "models.g.m.priority",
            "'top'",
            "low",
        ),
        (
            "models: {g: {m: {priority: low, vram_size_mb: -9, load_time_ms: 1}}}",
            "models.g.m.vram_size_mb",
            "-9",
            "greater than 0",
        ),
        ("models: {g: {m: 3}}", "models.g.m", "3", "a mapping"),
        ("models: {g: 3}", "models.g", "3", "a mapping of model names"),
        ("models: {g: {}}", "models", "only empty groups", "at least one model"),
        ("models: {}", "models", "an empty mapping", "groups"),
        ("model: {}", "model", "an unknown key", "(did you mean 'models'?)"),
        ("models: {g: {m: {GOOD}}, h: {m: {GOOD}}}", "models.h.m", "a second time", "one group"),
        ("models:\n  g:\n    m: {GOOD}\n    m: {GOOD}\n", "line 4", "'m' a second time", "valid YAML"),
        ("models: {g: {1: {GOOD}, '1': {GOOD}}}", "models.g.1", "a second time", "one group"),
    ],
)
def test_a_bad_inventory(tmp_path, text, key, found, expected):
    path = write(tmp_path, text.replace("GOOD", GOOD))
    error = error_of(load_inventory, path)
    assert (error.source, error.key) == (str(path), key)
    assert found in error.found
    assert expected in error.expected


def test_a_models_path_is_beside_the_inventory(tmp_path):
    path = write(tmp_path, "models: {g: {m: {GOOD, path: onnx/m.onnx}}}".replace("GOOD", GOOD))
    assert load_inventory(path)["m"].path == str(tmp_path / "onnx" / "m.onnx")


# -- both together ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "models", "source", "key", "found", "expected"),
    [
        ("{}", "m: {GOOD, zone: flexibel}", "M", "models.m.zone", "'flexibel'", "did you mean 'flexible'"),
        (
            "{zones: {critical: {reserved_models: [modle]}}}",
            "model: {GOOD}",
            "C",
            "vram_management.zones.critical.reserved_models",
            "'modle'",
            "a model of M (did you mean 'model'?)",
        ),
        (
            "{zones: {a: {size_mb: 9, reserved_models: [m]}, b: {size_mb: 9, reserved_models: [m]}}}",
            "m: {GOOD}",
            "C",
            "vram_management.zones.b.reserved_models",
            "'m'",
            "no model that belongs to zone a",
        ),
        (
            "{zones: {a: {size_mb: 9, reserved_models: [m]}, b: {size_mb: 9}}}",
            "m: {GOOD, zone: b}",
            "C",
            "vram_management.zones.a.reserved_models",
            "'m'",
            "no model that belongs to zone b",
        ),
        (
            "{zones: {critical: {size_mb: 10}}}",
            "m: {priority: critical, vram_size_mb: 6, load_time_ms: 1}, "
            "n: {priority: critical, vram_size_mb: 5, load_time_ms: 1}",
            "M",
            "models.n",
            "11.0 MB of critical models",
            "at most 10.0 MB, as critical models never leave zone critical",
        ),
        (
            "{zones: {a: {size_mb: 10, reserved_models: [m]}, critical: {}}}",
            "m: {priority: critical, vram_size_mb: 11, load_time_ms: 1}",
            "M",
            "models.m",
            "11.0 MB",
            "never leave zone a",
        ),
        (
            "{total_memory_mb: 810, zones: {critical: {size_mb: 20}}}",
            "m: {priority: critical, vram_size_mb: 11, load_time_ms: 1}",
            "M",
            "models.m",
            "11.0 MB",
            "at most 10.0 MB, as critical models never leave the budget",
        ),
    ],
)
def test_a_configuration_and_an_inventory_that_do_not_fit(
    tmp_path, config, models, source, key, found, expected
):
    settings = load_config(write(tmp_path, f"vram_management: {config}"))
    inventory = load_inventory(
        write(tmp_path, f"models: {{g: {{{models}}}}}".replace("GOOD", GOOD), "models.yaml")
    )
    error = error_of(check_fit, settings, inventory, "C", "M")
    assert (error.source, error.key) == (source, key)
    assert found in error.found
    assert expected in error.expected


# -- overrides ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "key", "found", "expected"),
    [
        ("admision=always", "admision", "an unknown key", "(did you mean 'admission'?)"),
        ("zones.flexible.sizemb=5", "zones.flexible.sizemb", "an unknown key", "'zones.flexible.size_mb'"),
        ("scoring.weights.costs=1", "scoring.weights.costs", "an unknown key", "'scoring.weights.cost'"),
        ("zones.flexibel.size_mb=5", "zones.flexibel.size_mb", "an unknown key", "'zones.flexible.size_mb'"),
        ("total_memory_mb.x=5", "total_memory_mb.x", "an unknown key", "'total_memory_mb'"),
        ("admission", "admission", "no value", "KEY=VALUE"),
        ("=5", "", "an unknown key", "a key"),
        ("admission=sometimes", "admission", "'sometimes' (text)", "'always', 'free_only' or 'compete'"),
        ("total_memory_mb=abc", "total_memory_mb", "'abc' (text)", "number"),
        ("total_memory_mb=[1", "total_memory_mb", "'[1'", "a YAML value"),
        ("zones.flexible.size_mb=-1", "zones.flexible.size_mb", "-1", "greater than 0"),
        ("zones=3", "zones", "3", "a mapping"),
    ],
)
def test_a_bad_override(override, key, found, expected):
    for call in (load_config, with_overrides):
        error = error_of(call, None if call is load_config else load_config(None), [override])
        assert (error.source, error.key) == ("--set", key)
        assert found in error.found
        assert expected in error.expected


def test_overrides_are_typed_and_checked_together():
    config = load_config(
        None,
        [
            "vram_management.total_memory_mb=8192",
            "zones.flexible.max_models=null",
            "scoring.weights.cost=-0.5",
        ],
    )
    assert config.total_memory_mb == 8192
    assert config.zones["flexible"].max_models is None
    assert config.scoring.weights.cost == -0.5
    error = error_of(load_config, CONFIG / "vram_config.yaml", ["total_memory_mb=100"])
    assert error.source.endswith("vram_config.yaml with --set")


# -- scenarios ----------------------------------------------------------------------------------------


def test_a_scenario_extends_another(tmp_path):
    (tmp_path / "deep").mkdir()
    write(tmp_path, "vram_management: {total_memory_mb: 9000, admission: compete}", "base.yaml")
    write(
        tmp_path,
        "scenario: {title: middle, extends: base.yaml, models: m.yaml}\n"
        "vram_management: {zones: {flexible: {size_mb: 100}}}",
        "middle.yaml",
    )
    top = write(
        tmp_path / "deep",
        "scenario: {extends: ../middle.yaml}\nvram_management: {zones: {flexible: {max_models: 2}}}",
    )
    scenario = load_scenario(top, ["admission=always"])
    assert scenario.title == "file"  # a title is a file's own
    assert (scenario.config.total_memory_mb, scenario.config.admission) == (9000, "always")
    flexible = scenario.config.zones["flexible"]
    assert (flexible.size_mb, flexible.max_models, flexible.min_retention_time) == (100, 2, 60)
    assert scenario.models_path == (tmp_path / "m.yaml").resolve()


def test_zones_of_a_configuration_are_its_only_ones(tmp_path):
    scenario = load_scenario(write(tmp_path, "vram_management: {zones: {only: {size_mb: 5}}}"))
    assert list(scenario.config.zones) == ["only"]
    assert scenario.models_path is None


@pytest.mark.parametrize(
    ("extends", "found", "expected"),
    [("file.yaml", "'file.yaml'", "does not extend this one"), ("3", "3", "a file name")],
)
def test_a_bad_base(tmp_path, extends, found, expected):
    path = write(tmp_path, f"scenario: {{extends: {extends}}}")
    error = error_of(load_scenario, path)
    assert error.key == "scenario.extends"
    assert found in error.found
    assert expected in error.expected


def test_files_that_extend_each_other(tmp_path):
    write(tmp_path, "scenario: {extends: b.yaml}", "a.yaml")
    path = write(tmp_path, "scenario: {extends: a.yaml}", "b.yaml")
    assert error_of(load_scenario, path).key == "scenario.extends"


def test_a_base_that_is_missing_or_wrong_is_named_itself(tmp_path):
    path = write(tmp_path, "scenario: {extends: base.yaml}\nvram_management: {admission: always}")
    assert error_of(load_scenario, path).source == str((tmp_path / "base.yaml").resolve())
    write(tmp_path, "vram_management: {admission: never}", "base.yaml")
    error = error_of(load_scenario, path)
    assert error.source == str((tmp_path / "base.yaml").resolve())
    assert error.key == "vram_management.admission"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "priority: hgih, vram_size_mb: 2",
            "priority: found 'hgih' (text), expected 'critical', 'high', 'medium' or 'low' "
            "(did you mean 'high'?)",
        ),
        (
            "priority: low, vram_sizemb: 2",
            "vram_sizemb: found an unknown key, expected a known key (did you mean 'vram_size_mb'?) "
            "(and 1 more error)",
        ),
        ("priority: low, vram_size_mb: much", "vram_size_mb: found 'much' (text), expected a number"),
        (
            "priority: low, vram_size_mb: 2, batch_size: 1.5",
            "batch_size: found 1.5, expected a whole number",
        ),
        (
            "priority: low, vram_size_mb: 2, always_loaded: 3",
            "always_loaded: found 3, expected true or false",
        ),
        ("priority: low, vram_size_mb: 2, zone: [a]", "zone: found a list, expected a text"),
    ],
)
def test_a_models_error_in_the_words_of_the_file(tmp_path, text, message):
    path = write(tmp_path, f"models: {{g: {{m: {{{text}, load_time_ms: 3}}}}}}")
    assert str(error_of(load_inventory, path)) == f"{path}: models.g.m.{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zones: {}", "zones: found an empty mapping, expected at least 1 in it"),
        ("zones: [a]", "zones: found a list, expected a mapping"),
        ("zones: {a: 5}", "zones.a: found 5, expected a mapping"),
        (
            "zones: {a: {size_mb: 5, borrowers: low}}",
            "zones.a.borrowers: found 'low' (text), expected a list",
        ),
        (
            "placement: pagd",
            "placement: found 'pagd' (text), expected 'paged' or 'contiguous' (did you mean 'paged'?)",
        ),
        ("placement: 5", "placement: found 5, expected 'paged' or 'contiguous'"),
    ],
)
def test_a_settings_error_in_the_words_of_the_file(tmp_path, text, message):
    path = write(tmp_path, f"vram_management: {{{text}}}")
    assert str(error_of(load_config, path)) == f"{path}: vram_management.{message}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("total_memory_mb: 0777", "0777, which YAML takes for the number 511"),
        ("total_memory_mb: 1:30", "1:30, which YAML takes for the number 90"),
        ("total_memory_mb: -1:30.5", "-1:30.5, which YAML takes for the number -90.5"),
        ("total_memory_mb: 2026-02-30", "day is out of range"),
        ("total_memory_mb: " + "[" * 100_000, "nested too deeply"),
        ("total_memory_mb: !!int many", "invalid literal"),
        ("total_memory_mb: 1e308", "a number"),
        ("total_memory_mb: 1.0e+308", "1e+308"),
        ("optimization: {monitoring_interval: 0.000000001}", "1e-09"),
        ("optimization: {preload_interval: 1.0e-9}", "1e-09"),
        ("serving: {gpu_streams: 1000000}", "1000000"),
        ("caching: {result_cache_size: 100000000000000000000}", "100000000000000000000"),
    ],
    ids=lambda value: value[:40],
)
def test_what_yaml_reads_otherwise_than_people_or_not_at_all(tmp_path, text, found):
    error = error_of(load_config, write(tmp_path, f"vram_management:\n  {text}\n"))
    assert "\n" not in str(error)
    if found != "a number":
        assert found in str(error)


def test_names_are_as_they_are_written(tmp_path):
    names = ["1.10", "no", "0777", "1:30", "2026-02-30", "007", "1e3", "~", "7", "null", "1_000"]
    path = write(tmp_path, "models:\n  g:\n" + "".join(f"    {name}: {{{GOOD}}}\n" for name in names))
    assert list(load_inventory(path)) == names


def test_an_octal_name_in_quotes_and_numbers_as_people_read_them_are_fine(tmp_path):
    path = write(tmp_path, "vram_management: {total_memory_mb: 6_144, scoring: {seed: 0x10}}")
    config = load_config(path)
    assert (config.total_memory_mb, config.scoring.seed) == (6144, 16)


def test_a_near_name_among_many_is_found_and_long_ones_are_cut():
    known = [f"model_{number:06d}.onnx" for number in range(10_000)]
    assert nearest("modle_000123.onnx", known) == " (did you mean 'model_000123.onnx'?)"
    assert nearest("m" * 100_000, known) == ""
    assert shown("abc") == "'abc'"
    assert len(shown("m" * 100_000)) < 220
