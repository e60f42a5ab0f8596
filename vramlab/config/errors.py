"""The one error for bad input: a line that names source, key, what was found and what was expected."""

from __future__ import annotations

import difflib
import heapq
import importlib
import os
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Something that the user gave us cannot be used.

    Parameters
    ----------
    source : str
        The file, option or argument the input came from.
    key : str
        Dotted key, row or column within the source; empty when the source as a whole is at fault.
    found : object
        What stands there.
    expected : str
        What should stand there.
    """

    def __init__(self, source: object, key: object, found: object, expected: str) -> None:
        self.source, self.key, self.found, self.expected = str(source), str(key), found, expected
        where = f"{self.source}: {shortened(self.key)}" if self.key else self.source
        # what stands there may be the whole file
        self.text = f"{where}: found {shortened(str(found))}, expected {shortened(expected, 600)}"
        # SimPy and process pools make an exception anew from its arguments
        super().__init__(self.source, self.key, self.found, self.expected)

    def __str__(self) -> str:
        return self.text


class MissingPackage(InputError):
    """An optional package is not installed; the message is a sentence that says how to get it.

    Parameters
    ----------
    needed_by : str
        The command or option.
    package : str
        What it imports.
    requirement : str
        What to install, as ``vramlab[tune]``.
    """

    def __init__(self, needed_by: str, package: str, requirement: str) -> None:
        super().__init__(needed_by, "", f"no package {package}", requirement)
        self.args = needed_by, package, requirement
        self.text = f"{needed_by} needs {package}: pip install '{requirement}'"


def check_package(needed_by: str, package: str, requirement: str) -> None:
    """Import an optional package, or say how to install it.

    Raises
    ------
    MissingPackage
        If it cannot be imported; the parameters are those of the error.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingPackage(needed_by, package, requirement) from error


def shortened(text: str, most: int = 300) -> str:
    """Cut a text in the middle if it is longer than `most` signs, so that its end can be seen too."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def check_choice(source: object, key: object, value: object, known: Sequence[str]) -> None:
    """Refuse what is none of `known`, with the nearest of them; types alone stop nobody in a notebook."""
    if value not in known:
        expected = f"one of {', '.join(known)}{nearest(str(value), known)}"
        raise InputError(source, key, repr(value), expected)


_MANY = 300  # words; beyond, difflib would take a tenth of a second and more
_LONG = 200  # characters; longer words are nobody's typing


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word closest to `word`, or an empty string."""
    if len(word) > _LONG:
        return ""
    names = [name for name in known if len(name) <= _LONG]
    if len(names) > _MANY:
        names = heapq.nlargest(_MANY, names, key=lambda name: _shared(word, name))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _shared(word: str, name: str) -> int:
    """Return how many characters two words begin and end with alike: a mistyped one differs in the middle."""
    alike = os.path.commonprefix  # of any texts
    return len(alike((word, name))) + len(alike((word[::-1], name[::-1])))


def shown(word: object) -> str:
    """Return a word of the user's for a message: quoted, and not longer than a line."""
    text = repr(word)
    return text if len(text) <= _LONG else f"{text[: _LONG - 20]}... ({len(text):,} characters)"
