"""One `Idempotency-Key` for one intended action, however often the script runs.

Streamlit runs the whole script again at every touch. A double click is two runs in which the same
button is pressed; a slow answer tempts to a second press; a dropped websocket replays the last run.
None of them may pause, top up or create twice. So:

- each place an action can be taken from (its *scope*, such as "sale 7: pause") has a *turn*, a
  random value made when its button is first drawn and kept in the session;
- the button's own widget key contains the turn, and the idempotency key is a hash of turn, path and
  body: the same press of the same button with the same values is always the same key, and changed
  values are another key (the API answers 422 to a key that comes back with another body);
- when the API has answered for certain (any 2xx or 4xx), the turn ends. The next drawing shows a
  button with another widget key, so the second half of a double click falls on a button that no
  longer exists. After a time-out or a 5xx the turn goes on, and pressing again repeats the action.
"""

import hashlib
import secrets
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

import orjson

REST_S = 0.7
"""Longer than the half second in which two clicks are one double click on every common desktop."""
_STORE = "intents.turns"
_RESTS = "intents.settled-at"


class Intents:
    """The turns of one browser session, kept in the mapping that is given (`st.session_state`)."""

    def __init__(self, state: MutableMapping[Any, Any]) -> None:
        if _STORE not in state:
            state[_STORE] = {}
        self._turns: dict[str, str] = state[_STORE]
        self._settled_at_s: dict[str, float] = state.setdefault(_RESTS, {})

    def turn(self, scope: str) -> str:
        """The current turn of `scope`: part of the widget key of the button that acts."""
        return self._turns.setdefault(scope, secrets.token_hex(8))

    def key(self, scope: str, method: str, path: str, body: Mapping[str, Any] | None) -> str:
        """The idempotency key of this action in the current turn."""
        payload = orjson.dumps([self.turn(scope), method, path, body], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(payload).hexdigest()[:40]

    def settle(self, scope: str) -> None:
        """End the turn: the API has answered for certain."""
        self._turns.pop(scope, None)
        self._settled_at_s[scope] = time.monotonic()

    def rests(self, scope: str) -> bool:
        """Whether a press of `scope` is the second half of the double click whose first half has acted."""
        return time.monotonic() - self._settled_at_s.get(scope, float("-inf")) < REST_S
