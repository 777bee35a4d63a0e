"""What can go wrong between the console and the API, as types and as words.

An operator reads what happened and what to do; the code stays visible for support.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field the API refused: `field` is a path such as `items.0.allotment`."""

    field: str
    message: str


@dataclass(eq=False)
class ApiError(Exception):
    """The API answered with a problem (RFC 9457)."""

    status: int
    code: str
    title: str
    detail: str = ""
    fields: tuple[FieldError, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """Members beyond the standard ones, such as `checks` of a failed pre-flight."""

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.title}"

    @property
    def settled(self) -> bool:
        """True when the API surely did not act; a 5xx leaves that open."""
        return self.status < 500


class SessionEnded(ApiError):
    """401: the token has expired, was revoked, or never was one."""


@dataclass(eq=False)
class Unreachable(Exception):
    """No usable answer came. A change that was under way may have been made or not."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Explanation:
    """An error for reading: what happened, and what to do about it."""

    what: str
    advice: str


_BY_CODE = {
    "FORBIDDEN": Explanation("Your role may not do this.", "Ask an owner of this merchant."),
    "NOT_FOUND": Explanation("This does not exist, or belongs to another merchant.", "Go back to the list of sales."),
    "STALE": Explanation(
        "Somebody else changed this since you opened it.",
        "Nothing of yours was saved. Load the current version, then make your change again.",
    ),
    "INVALID_FIELD": Explanation("Some fields cannot be saved as they are.", "Correct the fields marked below."),
    "INVALID": Explanation("The API could not read the request.", "Reload the page and try again."),
    "CONFLICT": Explanation("This name is already taken.", "Choose another slug or SKU."),
    "WRONG_STATE": Explanation("The sale is no longer in a state that allows this.", "Look at its state now."),
    "PREFLIGHT_FAILED": Explanation("The sale is not ready.", "Settle what the pre-flight list names."),
    "BELOW_COMMITTED": Explanation(
        "That many units are no longer available: some are reserved or sold.", "Reduce by less."
    ),
    "KEY_REUSED": Explanation("This action was already sent with other values.", "Reload the page and try again."),
    "RATE_LIMITED": Explanation("Too many requests in a short time.", "Wait a few seconds and try again."),
    "DEGRADED": Explanation("Part of the platform is not answering.", "Try again in a few seconds; repeating is safe."),
}
_SERVER_FAULT = Explanation(
    "The API had a fault of its own.", "Try again; repeating is safe. If it stays, look at the API's log."
)
_UNREACHABLE = Explanation(
    "The API did not answer.",
    "Try again. If an action was under way, pressing the same button again completes or confirms it; "
    "it is never done twice.",
)


def explain(error: ApiError | Unreachable) -> Explanation:
    """The words for an error: ours by code, else the API's own title and detail."""
    if isinstance(error, Unreachable):
        return _UNREACHABLE
    known = _BY_CODE.get(error.code)
    if known is not None:
        return known
    if error.status >= 500:
        return _SERVER_FAULT
    return Explanation(error.title or "The API refused this.", error.detail)
