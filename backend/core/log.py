"""Structured logs: one JSON line an event on standard error, a static event name, ids as fields.

Tokens, links, tickets and contacts never go into a log; ids do.
"""

import logging
import sys
from typing import Any

import orjson
import structlog

MAX_VALUE_CHARS = 2_000
"""A field longer than this is cut: a one-megabyte header must not become a one-megabyte line."""


def _bounded(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name, value in event.items():
        if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
            # Of a traceback the end tells what happened, of everything else the beginning.
            tail = name == "exception"
            event[name] = "…" + value[-MAX_VALUE_CHARS:] if tail else value[:MAX_VALUE_CHARS] + "…"
    return event


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def configure_logging(role: str, level: str = "info") -> None:
    """Send structlog's and the standard library's records to standard error as JSON lines.

    ``role`` (``api``, ``worker``, ``clock``) stands in every line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _bounded,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Their INFO lines are one per request or message: on the hot path that would cost more than the work.
    for noisy in ("uvicorn.access", "apprise", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of every nudge that was too old to be worth doing, which is how nudges are meant to end.
    logging.getLogger("dramatiq").setLevel(logging.ERROR)
    structlog.contextvars.bind_contextvars(role=role)


def get_logger() -> Any:
    """A bound logger: ``log.info("reservation.expired", reservation_id=…)``."""
    return structlog.get_logger()
