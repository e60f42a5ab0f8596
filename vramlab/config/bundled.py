"""The bundled inputs: configurations, traces and notebooks, in a checkout and in an installed package alike.

In a checkout they are the folders of its root; a wheel carries them in ``vramlab/bundled``. A path that the
current folder has not, but the bundle has (``traces/forty_models.csv.gz``), is the bundle's: so what the
README shows works in any folder, and a file of one's own always comes first. Nothing is written here.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
ROOT = _PACKAGE / "bundled" if (_PACKAGE / "bundled").is_dir() else _PACKAGE.parent
FOLDERS = ("config", "traces")
"""Folders whose files are found from anywhere."""


def there(path: Path | str) -> Path:
    """Return the file or folder at `path`, else the bundled one of that name, else `path`."""
    path = Path(path)
    if path.is_absolute() or path.exists() or path.parts[:1] not in [(folder,) for folder in FOLDERS]:
        return path
    return ROOT / path if (ROOT / path).exists() and ".." not in path.parts else path
