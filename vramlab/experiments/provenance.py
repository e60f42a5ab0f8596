"""Where results come from: hashes of the code, and versions of what it ran on."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

from vramlab import __version__

# Folders that no result of a replay depends on.
_BESIDE = {"cli", "live", "widgets"}
_PACKAGES = ("numpy", "pandas", "pyarrow", "pydantic", "scipy", "simpy")


@cache
def code_sha256() -> str:
    """Return SHA-256 of the source files that a replay may depend on, by their names in order."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in _BESIDE:
            continue
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of vramlab, Python, the system, and of the packages that results may depend on."""
    found = {"vramlab": __version__, "python": platform.python_version(), "system": platform.platform()}
    return found | {name: metadata.version(name) for name in _PACKAGES}
