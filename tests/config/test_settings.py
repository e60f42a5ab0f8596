"""The table of settings is the schema: every key once, with its default and its effect."""

import importlib.util
import json

import pytest
import yaml

from tests.test_guides import FOLDER, ROOT
from vramlab.allocator.policies.about import ABOUT, about_policy
from vramlab.allocator.policies.lru import LRU
from vramlab.allocator.policies.registry import POLICIES, PRESETS
from vramlab.allocator.policies.sieve import Sieve
from vramlab.cli.app import run
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config
from vramlab.config.schema import VramConfig
from vramlab.config.settings import MODELS, all_settings, settings_like


def keys_in(document, prefix=""):
    """Dotted keys of a dumped configuration; zones have names of their own."""
    for key, value in document.items():
        name = "NAME" if prefix == "zones." else key
        if isinstance(value, dict) and value:
            yield from keys_in(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_key_of_a_configuration_is_in_the_table_once():
    known = [setting.key for setting in all_settings()]
    assert len(known) == len(set(known))
    dumped = set(keys_in(VramConfig().model_dump())) - {"rules.groups"}
    own = {key for key in known if not key.startswith((MODELS, "rules.groups."))}
    assert own == dumped


def test_each_has_an_effect_in_words():
    for setting in all_settings():
        assert setting.effect.endswith("."), setting
        assert len(setting.effect) > 10
        assert setting.values not in ("null", "null or null"), setting


@pytest.mark.parametrize("setting", all_settings(), ids=lambda setting: setting.key)
def test_a_default_is_what_the_schema_has_where_the_key_is_left_out(setting):
    if "NAME" in setting.key or setting.key == "serving.order":
        return
    value = VramConfig()
    for part in setting.key.split("."):
        value = getattr(value, part)
    told = yaml.safe_load(setting.default)
    assert told == (list(value) if isinstance(value, tuple) else value)
    load_config(None, [f"{setting.key}={setting.default}"])  # and can be written


def test_zones_have_the_defaults_of_the_specification():
    (size,) = settings_like("zones.NAME.size_mb")
    assert size.default == "2048 (critical), 2560 (high_priority), 1536 (flexible)"
    (retention,) = settings_like("zones.flexible.min_retention_time")
    assert (retention.unit, retention.values) == ("s", "number from 0 on")


def test_a_key_is_found_by_its_path_or_by_a_part_and_a_wrong_one_has_a_neighbour():
    assert [setting.key for setting in settings_like("vram_management.scoring.k")] == ["scoring.k"]
    assert {setting.key for setting in settings_like("fallback")} >= {"fallback.when"}
    assert [setting.key for setting in settings_like("half_life")] == ["scoring.half_life_s"]
    with pytest.raises(InputError, match=r"did you mean 'scoring.policy'"):
        settings_like("scoring.polcy")


def test_every_policy_of_ours_has_its_line_and_its_source():
    assert set(ABOUT) <= {*PRESETS, *POLICIES}
    found = [about_policy(name, factory) for name, factory in POLICIES.items()]
    assert all(about.line.endswith(".") and about.source not in ("", "vramlab") for about in found)


def test_a_new_policy_of_ours_says_in_its_docstring_what_it_is(capsys, monkeypatch):
    """One file and one line: no row anywhere else."""

    class Mine(LRU):
        """Most recently used leaves first.

        Source: somebody, "A title
        in two lines", 1985. And more.
        """

    monkeypatch.setitem(POLICIES, "mine", Mine)
    assert about_policy("mine", Mine) == (
        "Most recently used leaves first.", 'somebody, "A title in two lines", 1985. And more'
    )  # fmt: skip
    assert about_policy("another", Sieve).source.startswith("Y. Zhang et al., ")
    assert run(["policies"]) == 0
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("mine ")]
    assert "Most recently used leaves first. [somebody, " in said


def test_on_the_command_line(capsys):
    assert run(["settings", "serving.max_wait_s"]) == 0
    assert "serving.max_wait_s: 300 s  (number above 0)" in capsys.readouterr().out
    assert run(["settings", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(all_settings())
    assert run(["policies", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert {"lru", "backlog", "arrival", "profile"} <= set(names)
    assert run(["settings", "no.such.key"]) == 2


@pytest.mark.parametrize("page", ["settings.md", "policies.md", "figures.md"])
def test_the_pages_are_what_the_code_says(page):
    found = importlib.util.spec_from_file_location("pages", ROOT / ".ci" / "pages.py")
    pages = importlib.util.module_from_spec(found)
    found.loader.exec_module(pages)
    text = (FOLDER / page).read_text(encoding="utf-8")
    assert text == pages.filled(text, pages.tables()[page]), "python .ci/pages.py writes it again"
