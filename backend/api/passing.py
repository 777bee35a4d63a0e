"""Which failures of the database say "not now" rather than "never"."""

from sqlalchemy import exc

# SQLSTATE classes and codes: connection, resources, shut-down and cancelled statements, a lock or a serialisation
# that did not come about, a server that only reads.
_CLASSES = ("08", "53", "57", "40")
_CODES = ("55P03", "25006", "25P03")


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well succeed in a moment: 503, not 500."""
    if isinstance(error, exc.DBAPIError):
        code = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or code.startswith(_CLASSES) or code in _CODES
    # The pool's own time-out, and what asyncpg raises unwrapped when it cannot connect.
    return isinstance(error, (exc.TimeoutError, OSError, TimeoutError))
