"""The YAML that inventories are made of, read line by line: names, numbers and words in nested mappings.

An inventory of 50,000 models takes PyYAML 1.1 s even in C, which makes nodes and marks of all that it reads;
this takes 0.25 s. It knows a small part of the language, of which no line can mean anything else, and leaves
a text with any other line to PyYAML. ``tests/config/test_many_models.py`` holds both equal.
"""

from __future__ import annotations

import re
from typing import Any

_NAME = r"[A-Za-z][A-Za-z0-9_./-]{0,200}"
_NUMBER = r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,20})?"
_LINE = re.compile(rf"( {{0,40}})({_NAME}):(?: ({_NUMBER})| ({_NAME}))?\n")
_COMMENTS = re.compile(r"(?:#[^\n]*\n)*")
_NO_TEXTS = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("null", "Null", "NULL"), None),
}


def read_plainly(text: str) -> dict[str, Any] | None:
    """Return the mapping that a YAML text is; None where there is more to it than is known here."""
    comments = _COMMENTS.match(text)
    start = end = comments.end() if comments else 0
    mappings: list[tuple[int, dict[str, Any]]] = [(0, {})]  # those that are open, with their indent
    name, empty = "", False
    for line in _LINE.finditer(text, start):
        if line.start() != end:
            return None
        end, indent = line.end(), len(line[1])
        if indent > mappings[-1][0]:
            if not empty:
                return None
            mappings.append((indent, {}))
            mappings[-2][1][name] = mappings[-1][1]
        while indent < mappings[-1][0]:
            mappings.pop()
        here, holder = mappings[-1]
        name, number, word = line[2], line[3], line[4]
        if here != indent or name in holder:
            return None
        empty = number is None and word is None
        if number is not None:
            holder[name] = float(number) if "." in number else int(number)
        else:
            holder[name] = _NO_TEXTS.get(word, word)
    return mappings[0][1] if start < end == len(text) else None
