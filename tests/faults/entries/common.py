"""What the entry modules share: reading their own options, and putting a seam before or after a function."""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.broken import install_all
from tests.faults.seams import Seams

Visit = Callable[..., None]
"""Called with what the wrapped function returned (after) or with nothing (before)."""


def read_options() -> Seams:
    """Take ``--seams DIR`` and ``--breakable`` off the command line; the rest is the real module's."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--seams", type=Path, required=True)
    parser.add_argument("--breakable", action="store_true")
    options, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    if options.breakable:
        install_all(options.seams)
    return Seams(options.seams)


def visit(owner: Any, name: str, *, before: Visit | None = None, after: Visit | None = None) -> None:
    """Wrap a coroutine function of a class or module. AttributeError when the product has it no longer."""
    wrapped = getattr(owner, name)

    @functools.wraps(wrapped)
    async def seam(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before()
        result = await wrapped(*args, **kwargs)
        if after is not None:
            after(result)
        return result

    setattr(owner, name, seam)
