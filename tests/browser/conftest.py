"""A headless Chromium, and servers whose folder is a copy of the notebook beside the bundled data.

Skipped where there is no Chromium (looked for in PATH, or named by ``VRAMLAB_CHROMIUM``) or no playwright; no
browser is ever downloaded. Screenshots go to ``build/screenshots``.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server",
]  # fmt: skip


def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    given = os.environ.get("VRAMLAB_CHROMIUM")
    return given or next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")  # playwright keeps an event loop running, in which others cannot start theirs
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium in PATH or VRAMLAB_CHROMIUM")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser, request):
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(120_000)  # other tests use the cores too
    yield opened
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=SCREENSHOTS / f"last_{request.node.name}.png")  # what a failed test saw
    opened.close()


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """What a user sees: notebook, configuration and traces; nothing is written into the repository."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "09_explorer.ipynb", folder / "notebooks")
    for name in ("config", "traces"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Settings of the user's own Jupyter play no part, and no news are asked for."""
    home = tmp_path_factory.mktemp("jupyter")
    quiet = home / "lab" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    return os.environ | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }


class Server:
    """A server in a process of its own, on a free port; ended with the test."""

    def __init__(self, module, arguments, folder, environment, ready):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{module}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments(self.port)],
                cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._await(self.url + ready)

    def _await(self, url):
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2)
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"no server at {url}: {self.log.read_text()[-2000:]}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.fixture(scope="session")
def lab(workplace, environment):
    def arguments(port):
        return [
            "--no-browser", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={workplace}",
        ]  # fmt: skip

    server = Server("jupyterlab", arguments, workplace, environment, "/api")
    yield server
    server.stop()
