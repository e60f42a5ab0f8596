"""The explorer as a user meets it: notebook 09 in JupyterLab, and the same page under Voilà."""

import hashlib

import pytest

from tests.browser.conftest import SCREENSHOTS, Server
from vramlab.config.loading import load_config

PICTURES = "img.widget-image"
# A picture's bytes, by the address of its blob.
_BYTES = """async (image) => Array.from(new Uint8Array(await (await fetch(image.src)).arrayBuffer()))"""


def shoot(page, name, top=None):
    """Keep what is to be seen, scrolled so that `top` stands at the top."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    if top is not None:
        top.evaluate("element => element.scrollIntoView({block: 'start'})")
        page.wait_for_timeout(100)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def picture(page, number=0):
    """SHA-256 of a picture of the page: the first is the explorer's."""
    image = page.locator(PICTURES).nth(number)
    image.wait_for()
    return hashlib.sha256(bytes(image.evaluate(_BYTES))).hexdigest()


def drag(page, label, share, number=0):
    """Drag the handle of a slider (the first of that label) to a share of its length, and let go."""
    row = page.locator(f".widget-slider:has-text('{label}')").nth(number)
    row.evaluate("element => element.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(150)
    handle, bar = row.locator(".noUi-handle").bounding_box(), row.locator(".noUi-target").bounding_box()
    y = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(bar["x"] + share * bar["width"], y, steps=8)
    page.mouse.up()


def changed(page, before, number=0):
    """The picture, once it is another."""
    for _ in range(300):
        if picture(page, number) != before:
            page.wait_for_timeout(200)
            # on a busy machine the latencies, and with them the last picture, come a moment later
            page.get_by_text("simulating …").first.wait_for(state="detached")
            return picture(page, number)
        page.wait_for_timeout(50)
    pytest.fail("the picture did not change within fifteen seconds")


def try_it(page, workplace, name):
    """Move a slider and see the figure and the table change; pin; break it and mend it; export."""
    export = workplace / "build" / "explored.yaml"
    export.unlink(missing_ok=True)
    table = page.locator(".widget-html table").first
    top = page.get_by_text("Score: exponents").first
    first, figures = picture(page), table.inner_text()
    page.get_by_role("button", name="Pin this setting").click()
    page.get_by_text("The pinned setting.").wait_for()
    drag(page, "flexible", 0.35)
    second = changed(page, first)
    page.get_by_text("Changed since pinned").wait_for()
    assert table.inner_text() != figures
    shoot(page, f"{name}_pinned", top)
    page.get_by_role("button", name="Unpin").click()
    page.get_by_text("Changed since pinned").wait_for(state="detached")

    drag(page, "high_priority", 1.0)
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "MB left for it" in alert.inner_text()
    assert picture(page) == second
    shoot(page, f"{name}_error", top)
    page.get_by_role("button", name="Reset").click()
    assert changed(page, second) == first
    assert alert.count() == 0

    drag(page, "high_priority", 0.6)
    changed(page, first)
    page.get_by_role("button", name="Export as YAML").click()
    page.get_by_text("written to").wait_for()
    shoot(page, f"{name}_exported", top)
    exported = load_config(export)
    assert exported.zones["high_priority"].size_mb > 143
    assert sum(zone.size_mb for zone in exported.zones.values()) == 480


def test_in_jupyterlab(lab, page, workplace):
    page.goto(f"{lab.url}/lab/tree/notebooks/09_explorer.ipynb")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    broken = page.locator("[data-mime-type='application/vnd.jupyter.error'],[data-mime-type$='stderr']")
    last = page.get_by_text("the runtime has closed")  # the last cell's doing: all have run
    last.or_(broken).first.wait_for(state="attached")
    assert broken.all_inner_texts() == []
    shoot(page, "lab_run_all")
    try_it(page, workplace, "lab")

    page.get_by_role("button", name="eviction ▸").scroll_into_view_if_needed()
    before = picture(page, 2)
    page.get_by_role("button", name="eviction ▸").click()
    changed(page, before, 2)
    page.get_by_text("onnx leaves").wait_for()
    shoot(page, "lab_memory_map")
    shoot(page, "lab_monitor", page.get_by_text("Live runtime"))


def test_under_voila(workplace, environment, page):
    pytest.importorskip("voila", reason="Voilà is not installed")

    def arguments(port):
        return [f"--port={port}", "--no-browser", "--Voila.ip=127.0.0.1", "notebooks/09_explorer.ipynb"]

    server = Server("voila", arguments, workplace, environment, "/voila/static/nothing")
    try:
        page.goto(server.url)
        page.get_by_role("button", name="Pin this setting").wait_for()
        assert page.get_by_text("from vramlab.widgets import").count() == 0  # no code on this page
        shoot(page, "voila")
        try_it(page, workplace, "voila")
    finally:
        server.stop()
