"""The backend's settings and database for commands. Imports the backend, so commands import this when they run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import ValidationError

from backend.models import Database, make_engine
from backend.settings import Settings
from stack.errors import StackError


@asynccontextmanager
async def open_database() -> AsyncIterator[tuple[Settings, Database]]:
    """Settings from this process's environment (see ``stack.state.adopt_env``), and the database they name."""
    try:
        settings = Settings(_env_file=None)  # the fields come from the environment
    except ValidationError as error:
        # Only the names: a value could be a secret.
        names = ", ".join(sorted({str(one["loc"][-1]) for one in error.errors() if one["loc"]}))
        raise StackError(f"the settings are not complete or not valid: {names}") from None
    database = Database(make_engine(settings, role="command-line"))
    try:
        yield settings, database
    except OSError as error:
        raise StackError(f"the database cannot be reached: {error}") from None
    finally:
        await database.close()
