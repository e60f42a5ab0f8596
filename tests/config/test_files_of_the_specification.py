"""The files in ``config/``: the specification's two as they are, and the scenarios."""

from pathlib import Path

import pytest

from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import (
    check_fit,
    load_config,
    load_inventory,
    load_scenario,
    write_config,
    write_inventory,
)
from vramlab.config.schema import Priority, VramConfig, zone_of
from vramlab.config.units import MIB

CONFIG = Path(__file__).parents[2] / "config"
SCENARIOS = sorted((CONFIG / "scenarios").glob("*.yaml"))


def test_vram_config_has_the_specifications_values():
    config = load_config(CONFIG / "vram_config.yaml")
    assert config.total_bytes == 6144 * MIB
    assert config.overhead_bytes == 800 * MIB
    assert config.budget_bytes == 5344 * MIB
    critical, high, flexible = config.zones.values()
    assert list(config.zones) == ["critical", "high_priority", "flexible"]
    assert (critical.size_mb, critical.eviction_policy, critical.max_models) == (2048, "never", None)
    assert critical.reserved_models == ("yolov10n-face.onnx", "AntiSpoofing_bin_1.5_128.onnx")
    assert (high.size_mb, high.max_models, high.eviction_policy) == (2560, 5, "reluctant_lru")
    assert (flexible.size_mb, flexible.max_models, flexible.eviction_policy) == (1536, 10, "aggressive_lru")
    assert [zone.min_retention_time for zone in config.zones.values()] == [0, 300, 60]
    assert [zone.borrowers for zone in config.zones.values()] == [(), (Priority.MEDIUM,), (Priority.HIGH,)]
    optimization = config.optimization
    assert optimization.monitoring_interval == 5
    assert optimization.optimization_threshold == 0.85
    assert optimization.defragmentation_threshold == 0.3
    assert optimization.preload_prediction_threshold == 0.7
    assert config.fallback.model_dump() == {
        "cpu_fallback_enabled": True,
        "cpu_performance_ratio": 0.3,
        "fallback_queue_size": 100,
        "when": "full",
    }
    assert config.caching.model_dump() == {
        "result_cache_size": 1000,
        "result_cache_mb": 256,
        "cache_ttl": 3600,
        "enable_result_caching": True,
    }


def test_the_defaults_are_the_specifications():
    defaults = load_config(None)
    named = load_config(CONFIG / "vram_config.yaml")
    critical = named.zones["critical"].model_copy(update={"reserved_models": ()})
    zones = {**named.zones, "critical": critical}
    assert defaults == named.model_copy(update={"zones": zones})


# name: priority, size, load time, CPU fallback, always loaded, multiplier, batch size
NINE = {
    "yolov10n-face.onnx": ("critical", 9, 50, "mediapipe", True, 1.0, 1),
    "yolov5s-face.onnx": ("low", 28, 100, "mediapipe", False, 1.2, 1),
    "facenet_vggface2.onnx": ("high", 89, 200, "cpu_optimized", False, 1.0, 32),
    "arcface_r100.onnx": ("medium", 249, 600, "cpu_standard", False, 1.3, 16),
    "adaface_ir101.onnx": ("medium", 249, 600, "cpu_standard", False, 1.4, 16),
    "AntiSpoofing_bin_1.5_128.onnx": ("critical", 1.9, 30, "none", True, 1.0, 1),
    "AntiSpoofing_print-replay_1.5_128.onnx": ("high", 1.9, 30, "none", False, 1.0, 1),
    "model.onnx": ("low", 44, 150, "cpu_standard", False, 1.5, 1),
    "genderage.onnx": ("medium", 1.3, 40, "cpu_optimized", False, 1.0, 1),
}


def test_model_config_has_the_specifications_values():
    inventory = load_inventory(CONFIG / "model_config.yaml")
    assert {
        name: (
            spec.priority.value,
            spec.vram_size_mb,
            spec.load_time_ms,
            spec.cpu_fallback,
            spec.always_loaded,
            spec.performance_multiplier,
            spec.batch_size,
        )
        for name, spec in inventory.items()
    } == NINE
    assert list(inventory) == list(NINE)
    assert not inventory["AntiSpoofing_bin_1.5_128.onnx"].may_run_on_cpu
    assert inventory["AntiSpoofing_bin_1.5_128.onnx"].footprint_bytes == 1_992_295  # 1.9 MB, rounded up


def test_home_zones():
    config = load_config(CONFIG / "vram_config.yaml")
    inventory = load_inventory(CONFIG / "model_config.yaml")
    check_fit(config, inventory, "config", "models")
    homes = {name: zone_of(spec, config, name) for name, spec in inventory.items()}
    assert homes["arcface_r100.onnx"] == homes["model.onnx"] == "flexible"
    assert homes["facenet_vggface2.onnx"] == "high_priority"
    assert homes["yolov10n-face.onnx"] == "critical"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenarios_load_and_fit_their_models(path):
    scenario = load_scenario(path)
    assert scenario.title
    assert scenario.title != path.stem
    if scenario.models_path is not None:
        check_fit(scenario.config, load_inventory(scenario.models_path), str(path), "models")


def test_what_the_scenarios_are_for():
    inventory = load_inventory(CONFIG / "model_config.yaml")
    total = sum(spec.footprint_bytes for spec in inventory.values())
    seed = load_scenario(CONFIG / "scenarios" / "seed_6gb.yaml")
    assert seed.config == load_config(CONFIG / "vram_config.yaml")
    assert total < seed.config.budget_bytes  # everything fits
    tight = load_scenario(CONFIG / "scenarios" / "tight.yaml").config
    assert total > tight.budget_bytes
    flexible = tight.zones["flexible"].size_bytes
    arcface, adaface = (
        inventory[name].footprint_bytes for name in ("arcface_r100.onnx", "adaface_ir101.onnx")
    )
    assert max(arcface, adaface) <= flexible < arcface + adaface  # one or the other
    genai = load_scenario(CONFIG / "scenarios" / "genai_24gb.yaml")
    assert genai.models_path is None
    assert genai.config.budget_bytes == genai.config.zones["flexible"].size_bytes == 24_576 * MIB
    assert list(genai.config.zones) == ["flexible"]
    assert genai.config.zones["flexible"].max_models is None
    assert genai.config.zones["flexible"].min_retention_time == 0
    assert not genai.config.fallback.cpu_fallback_enabled


@pytest.mark.parametrize("path", [CONFIG / "vram_config.yaml", *SCENARIOS], ids=lambda path: path.stem)
def test_a_written_configuration_is_the_same(path, tmp_path):
    config = load_config(path)
    write_config(config, tmp_path / "copy.yaml", comment="A copy\nin two lines")
    assert load_config(tmp_path / "copy.yaml") == config
    assert fingerprint(load_config(tmp_path / "copy.yaml")) == fingerprint(config)
    assert (tmp_path / "copy.yaml").read_text().startswith("# A copy\n# in two lines\n")


def test_a_written_inventory_is_the_same(tmp_path):
    inventory = load_inventory(CONFIG / "model_config.yaml")
    write_inventory(inventory, tmp_path / "models.yaml")
    assert load_inventory(tmp_path / "models.yaml") == inventory
    changed = {name: spec for name, spec in inventory.items() if name != "model.onnx"}
    assert fingerprint(changed) != fingerprint(inventory)


def test_one_zone_makes_a_plain_cache():
    config = VramConfig.model_validate({"zones": {"flexible": {"size_mb": 100}}})
    inventory = load_inventory(CONFIG / "model_config.yaml")
    assert {zone_of(spec, config, name) for name, spec in inventory.items()} == {"flexible"}
