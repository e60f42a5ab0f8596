"""`serving.order`, and `serving.queue` as it was called."""

import pytest

from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_scenario, write_config
from vramlab.config.schema import ServingConfig


def a_file(folder, text, name="config.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("old", "order"), [("fifo", "arrival"), ("affinity", "affinity")])
def test_the_old_name_is_read_and_means_what_it_did(tmp_path, old, order):
    path = a_file(tmp_path, f"vram_management: {{serving: {{queue: {old}}}}}")
    assert load_config(path).serving.order == order
    assert load_config(None, [f"serving.queue={old}"]).serving.order == order
    assert ServingConfig.model_validate({"queue": old}).order == order


def test_the_new_name_is_written(tmp_path):
    config = load_config(a_file(tmp_path, "vram_management: {serving: {queue: affinity}}"))
    write_config(config, tmp_path / "again.yaml")
    assert "queue:" not in (tmp_path / "again.yaml").read_text().replace("fallback_queue", "")
    assert load_config(tmp_path / "again.yaml") == config


def test_two_orders_in_one_file_are_one_clear_line(tmp_path):
    path = a_file(tmp_path, "vram_management: {serving: {queue: fifo, order: backlog}}")
    with pytest.raises(InputError, match=r"config.yaml: vram_management.serving: found two orders"):
        load_config(path)


def test_a_scenario_may_have_another_order_than_the_one_it_extends(tmp_path):
    a_file(tmp_path, "vram_management: {serving: {queue: affinity}}", "base.yaml")
    path = a_file(
        tmp_path, "scenario: {extends: base.yaml}\nvram_management: {serving: {order: fifo}}", "top.yaml"
    )
    assert load_scenario(path).config.serving.order == "fifo"


@pytest.mark.parametrize("bound", ["0", "-1", ".inf", "soon"])
def test_a_bound_that_is_none_is_one_clear_line(bound):
    with pytest.raises(InputError, match=r"serving.max_wait_s"):
        load_config(None, [f"serving.max_wait_s={bound}"])


def test_the_sooner_end_needs_an_order_that_decides_late():
    with pytest.raises(InputError, match="decides late"):
        load_config(None, ["serving.order=arrival", "fallback.when=earliest_finish"])
