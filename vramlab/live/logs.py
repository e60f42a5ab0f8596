"""The live side's log as one JSON object per line, through the standard library.

Everything below the logger ``vramlab`` says what it has to say in words, and hands the same in fields
(``extra``): those of a line are the keys that a plain record does not have.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from vramlab.config.errors import InputError

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object: time (seconds since 1970), level, logger, message and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "time_s": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to(path: Path | str, level: int = logging.INFO) -> logging.Handler:
    """Append vramlab's log to a file, as JSON lines. The handler that is returned can be taken off again.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        raise InputError(path, "", found, "a file that can be written") from error
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("vramlab")
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > level:
        logger.setLevel(level)
    return handler
