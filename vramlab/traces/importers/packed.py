"""Bytes of a source, unpacked by what they are and not by what the file is called.

gzip (of several members too), zstd, bzip2 and xz; zip and tar archives that hold one file.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from vramlab.config.errors import InputError

_STREAMS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
_ZIP, _TAR, _TAR_AT = b"PK\x03\x04", b"ustar", 257
_SUFFIXES = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}

# What people have at hand that is no table, and how one is made of it.
_OTHERS = {
    b"SQLite format 3": ("an SQLite database", "a log; `vramlab import csv` reads its tables"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "a table: save the sheet as CSV"),
    b"7z\xbc\xaf": ("a 7z archive", "the file in it, unpacked"),
    b"Rar!": ("a rar archive", "the file in it, unpacked"),
    b"ARROW1": ("an Arrow file", "Parquet or CSV"),
    b"Obj\x01": ("an Avro file", "Parquet, CSV or JSON lines"),
    b"ORC": ("an ORC file", "Parquet or CSV"),
    b"\x89HDF": ("an HDF5 file", "Parquet or CSV"),
    b"%PDF": ("a PDF", "a table"),
}

BROKEN = (
    OSError, EOFError, RuntimeError, NotImplementedError, pa.ArrowException,
    zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
"""What reading from an opened source may raise; :func:`unreadable` makes an InputError of it."""


def open_source(source: Path | str) -> pa.NativeFile:
    """Open a file for reading bytes, unpacked.

    Raises
    ------
    InputError
        If it cannot be opened, is an archive of several files, or of a kind that is no table.
    """
    path = Path(source)
    if path.exists() and not path.is_file():
        # a source is read more than once: to see what it is, and to tell the line of a bad row
        found = "a folder" if path.is_dir() else "a pipe or device"
        raise InputError(source, "", found, "a file")
    try:
        with open(path, "rb") as raw:
            head = raw.read(_TAR_AT + len(_TAR))
        _refuse_others(source, head)
        packing = next((name for magic, name in _STREAMS.items() if head.startswith(magic)), None)
        promised = _SUFFIXES.get(path.suffix.lower())
        if head.startswith(_ZIP):
            return pa.PythonFile(_only_of_zip(source), mode="r")
        if promised is not None and packing != promised:
            raise InputError(source, "", f"no {promised} data", "a file that is what its suffix says")
        with _unpacked(path, packing) as stream:
            inner = stream.read(_TAR_AT + len(_TAR))
        if inner[_TAR_AT:] == _TAR:
            return pa.PythonFile(_only_of_tar(source, packing), mode="r")
        return _unpacked(path, packing)
    except BROKEN as error:
        raise unreadable(source, error) from error


def unreadable(source: Path | str, error: Exception) -> InputError:
    """Return the InputError for what reading raised."""
    if isinstance(error, FileNotFoundError):
        return InputError(source, "", "no such file or directory", "a file that can be read")
    if isinstance(error, PermissionError):
        return InputError(source, "", "no right to read it", "a file that can be read")
    text = (str(error).splitlines() or ["nothing readable"])[0]
    return InputError(source, "", text, "a file that is whole and can be read, and is what its suffix says")


def _refuse_others(source: Path | str, head: bytes) -> None:
    for magic, (found, expected) in _OTHERS.items():
        if head.startswith(magic):
            raise InputError(source, "", found, expected)


def _unpacked(path: Path, packing: str | None) -> Any:
    if packing == "xz":
        return pa.PythonFile(lzma.open(path), mode="r")
    return pa.input_stream(str(path), compression=packing)


def _only_of_zip(source: Path | str) -> IO[bytes]:
    archive = zipfile.ZipFile(source)
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if "[Content_Types].xml" in names:
        raise InputError(source, "", "an Excel workbook", "a table: save the sheet as CSV")
    return archive.open(_only(source, names))


def _only_of_tar(source: Path | str, packing: str | None) -> IO[bytes]:
    with tarfile.open(fileobj=_unpacked(Path(source), packing), mode="r|") as archive:
        wanted = _only(source, [entry.name for entry in archive if entry.isfile()])
    # a stream has no way back: read once for the names, and once for the file
    archive = tarfile.open(fileobj=_unpacked(Path(source), packing), mode="r|")  # noqa: SIM115  read from later
    found = next(archive.extractfile(entry) for entry in archive if entry.name == wanted)
    assert found is not None  # it was a file a moment ago
    return found


def _only(source: Path | str, names: Sequence[str]) -> str:
    shown = [name for name in names if not _hidden(name)]
    if len(shown) != 1:
        listed = ", ".join(shown[:5]) + (f" and {len(shown) - 5:,} more" if len(shown) > 5 else "")
        found = f"{len(shown):,} files in it ({listed})" if shown else "no file in it"
        raise InputError(source, "", found, "one file; unpack it and import the one that you want")
    return shown[0]


def _hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")
