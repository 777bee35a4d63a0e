"""A shop's own tokens: signed by an issuer that the settings name, and exchanged once each for a bearer of ours.

The algorithm is the settings' one, never the token's: ``alg: none`` and a public key taken for a shared secret have
nothing to choose from. Every token that is refused is refused in the same words.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from backend.accounts.contacts import normal_email
from backend.core.errors import Code, Refused
from backend.core.log import get_logger
from backend.settings import Settings

log = get_logger()

TOKEN_MAX_CHARS = 4_096
LEEWAY_S = 30
"""Two hosts' clocks; more would keep spent tokens for nothing."""
LIFE_MAX_S = 3_600
"""From now. A token is exchanged at once: one that lasts longer is a bearer, and had to be remembered as long."""
NAME_MAX_CHARS = 255
JWKS_MAX_BYTES = 65_536
JWKS_TIMEOUT_S = 3.0
JWKS_MAX_AGE_S = 600.0
JWKS_AGAIN_S = 30.0
"""An unknown key makes us ask again, but not for every forged token."""
RSA_MIN_BITS = 2_048
_REQUIRED = ["iss", "aud", "sub", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class ShopClaims:
    """What a genuine token says."""

    issuer: str
    subject: str
    token_id: str
    expires_at: datetime
    """Until when it would be taken, leeway included."""
    email: str | None
    """Only one that the issuer says it has verified."""


class _Unusable(Exception):
    """The issuer's keys cannot be read now."""


def refused() -> Refused:
    """One answer for every token that is not taken."""
    return Refused(Code.UNAUTHENTICATED, "This token is not valid, or not any more.")


class ShopTokens:
    """Verifies tokens of the one issuer that the settings name."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for a key that does not fit the algorithm; the text shows nothing of it."""
        assert settings.shop_token_issuer is not None
        assert settings.shop_token_audience is not None
        assert settings.shop_token_algorithm is not None
        self._issuer = settings.shop_token_issuer
        self._audience = settings.shop_token_audience
        self._algorithm: str = settings.shop_token_algorithm
        self._url = settings.shop_token_jwks_url
        self._keys: list[tuple[str | None, Any]] = []
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        if settings.shop_token_key is not None:
            self._keys = self._read_key(settings.shop_token_key)

    @classmethod
    def of(cls, settings: Settings) -> "ShopTokens | None":
        """None when no issuer is configured."""
        return None if settings.shop_token_issuer is None else cls(settings)

    async def claims(self, token: str) -> ShopClaims:
        """What a token says. Raises ``UNAUTHENTICATED``, and ``DEGRADED`` while the issuer's keys cannot be had."""
        try:
            found = await self._decoded(token)
        except _Unusable as error:
            log.warning("shop_token.keys_unavailable", error=str(error))
            raise Refused(Code.DEGRADED, "The shop's keys cannot be read now.", retry_after_ms=5_000) from None
        # A payload may be any JSON: nested so deep that reading it gives up, or with a time beyond the calendar.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
            raise refused() from None
        return self._checked(found)

    async def _decoded(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_MAX_CHARS:
            raise jwt.DecodeError
        header = jwt.get_unverified_header(token)
        last: Exception = jwt.InvalidKeyError()
        for key in await self._candidates(header.get("kid")):
            try:
                found: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[self._algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY_S,
                    options={"require": _REQUIRED},
                )
            except jwt.InvalidSignatureError as error:
                last = error
            else:
                return found
        raise last

    def _checked(self, found: dict[str, Any]) -> ShopClaims:
        subject, token_id = found["sub"], found["jti"]
        now = time.time()
        # Printable: PostgreSQL takes no NUL, and no name may pass for another by marks that cannot be seen.
        for name in (subject, token_id):
            if not isinstance(name, str) or not 1 <= len(name) <= NAME_MAX_CHARS or not name.isprintable():
                raise refused()
        if found["exp"] > now + LIFE_MAX_S + LEEWAY_S:
            raise refused()
        email = None
        if found.get("email_verified") is True and isinstance(found.get("email"), str):
            try:
                email = normal_email(found["email"])
            except ValueError:
                email = None
        expires_at = datetime.fromtimestamp(int(found["exp"]), UTC) + timedelta(seconds=LEEWAY_S + 1)
        return ShopClaims(self._issuer, subject, token_id, expires_at, email)

    async def _candidates(self, kid: object) -> list[Any]:
        """The keys that may have signed: the one the token names, or all, if its header names none."""
        found = self._named(kid)
        age_s = time.monotonic() - self._asked_at
        if self._url is not None and (age_s > JWKS_MAX_AGE_S or (not found and age_s > JWKS_AGAIN_S)):
            async with self._asking:
                if time.monotonic() - self._asked_at >= age_s:
                    await self._ask(self._url)
            found = self._named(kid)
        return found

    def _named(self, kid: object) -> list[Any]:
        return [key for name, key in self._keys if kid is None or name is None or name == kid]

    async def _ask(self, url: str) -> None:
        """Read the issuer's keys; those known before stay good while it does not answer."""
        self._asked_at = time.monotonic()
        try:
            async with (
                asyncio.timeout(JWKS_TIMEOUT_S),
                httpx.AsyncClient(timeout=JWKS_TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
                client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
            ):
                if answer.status_code != 200:
                    raise ValueError(f"status {answer.status_code}")
                raw = b""
                async for chunk in answer.aiter_bytes():
                    raw += chunk
                    if len(raw) > JWKS_MAX_BYTES:
                        raise ValueError(f"more than {JWKS_MAX_BYTES} bytes")
            self._keys = self._read_jwks(raw)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            if not self._keys:
                raise _Unusable(type(error).__name__) from None
            log.warning("shop_token.keys_unavailable", error=type(error).__name__)

    def _read_key(self, text: str) -> list[tuple[str | None, Any]]:
        if self._algorithm == "HS256":
            return [(None, text.encode())]
        if text.lstrip().startswith("{"):
            return self._read_jwks(text.encode())
        try:
            key = jwt.get_algorithm_by_name(self._algorithm).prepare_key(text.replace("\\n", "\n"))
        except Exception:  # noqa: BLE001 - whatever the parser calls it, its text may show the key
            raise ValueError(f"shop_token_key is no public key in PEM for {self._algorithm}") from None
        return [(None, self._fit(key))]

    def _read_jwks(self, raw: bytes) -> list[tuple[str | None, Any]]:
        """The keys of a JWKS document that fit the algorithm. Raises ValueError when there is none."""
        try:
            entries = orjson.loads(raw)["keys"]
            keys = []
            for entry in entries[:100]:
                usable = entry.get("use", "sig") == "sig" and entry.get("alg", self._algorithm) == self._algorithm
                if usable and entry.get("kty") == {"RS256": "RSA", "EdDSA": "OKP"}.get(self._algorithm):
                    keys.append((entry.get("kid"), self._fit(jwt.PyJWK(entry, self._algorithm).key)))
        except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
            raise ValueError("this is no JWKS document") from None
        if not keys:
            raise ValueError(f"the JWKS document has no key for {self._algorithm}")
        return keys

    def _fit(self, key: Any) -> Any:
        """A public key that is large enough. A private one has no business here."""
        if not hasattr(key, "verify") or hasattr(key, "sign"):
            raise ValueError("give the public key, not the private one")
        if isinstance(key, RSAPublicKey) and key.key_size < RSA_MIN_BITS:
            raise ValueError(f"an RSA key has {RSA_MIN_BITS} bits or more")
        return key
