"""One JSON line per event on standard error, for our own events and for those of the libraries."""

import logging
import sys
from datetime import UTC, datetime

import orjson

_ADOPTED = ("streamlit", "uvicorn", "websockets")
TEXT_LIMIT = 4_000


class JsonFormatter(logging.Formatter):
    """A log record as one bounded line; control characters cannot leave the JSON string."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": "console",
            "logger": record.name,
            "event": record.getMessage()[:TEXT_LIMIT],
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-TEXT_LIMIT:]
        return orjson.dumps(line, default=str).decode("utf-8", "replace")


def configure(level: str) -> None:
    """Send everything to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.root.handlers = [handler]
    logging.root.setLevel(level.upper())
    # httpx logs every request at info, one a second for each live view.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    adopt()


def adopt() -> None:
    """Take over loggers that libraries gave handlers of their own.

    Streamlit makes a plain-text handler for each of its loggers when a module is first imported, so
    this is called again once the application has started.
    """
    logging.getLogger("uvicorn.access").disabled = True  # the edge keeps the access log
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _ADOPTED:
            logger.handlers.clear()
            logger.propagate = True
