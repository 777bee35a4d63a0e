"""Settings, from ``STAMPEDE_*`` variables and ``.env`` alone."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PostgresDsn, TypeAdapter, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.core.store_address import StoreAddress

LOCAL_SECRET_KEY = "local-only-secret-key-not-for-production"  # noqa: S105 refused outside the local stack

_database_url = TypeAdapter(PostgresDsn)


def _asyncpg(url: str) -> str:
    _database_url.validate_python(url)
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise ValueError("use postgresql+asyncpg://user:password@host:port/name")
    return "postgresql+asyncpg://" + rest


def _store(url: str) -> str:
    StoreAddress.parse(url)
    return url


StoreUrl = Annotated[str, AfterValidator(_store)]
"""One of the forms of ``backend.core.store_address``."""
DatabaseUrl = Annotated[str, AfterValidator(_asyncpg)]


class Settings(BaseSettings):
    """What a process of ours needs to know about its surroundings."""

    model_config = SettingsConfigDict(
        env_prefix="STAMPEDE_",
        env_file=".env",
        # A deployment passes what is optional as an empty text.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Literal["local", "production"] = "production"
    secret_key: str = Field(default=LOCAL_SECRET_KEY, min_length=32)
    database_url: DatabaseUrl
    gate_url: StoreUrl
    broker_url: str = Field(pattern=r"^(rediss?|amqps?)://")
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://")
    pages_dir: Path
    notify_email_url: str | None = None
    notify_private_hosts: bool = False
    """Whether merchants' own channels may lead to addresses inside; always so on the local stack."""
    shop_token_issuer: str | None = Field(default=None, min_length=1, max_length=200)
    """``iss`` of a shop's own tokens. All of these four, or none: then no such token is taken."""
    shop_token_audience: str | None = Field(default=None, min_length=1, max_length=200)
    shop_token_algorithm: Literal["HS256", "RS256", "EdDSA"] | None = None
    shop_token_key: str | None = Field(default=None, min_length=1, max_length=16_384)
    """HS256: the shared secret. Else the public key in PEM (``\\n`` for its line ends), or a JWKS document."""
    shop_token_jwks_url: str | None = Field(default=None, pattern=r"^https?://")
    """In the key's place: where the issuer publishes its keys; https, beyond the local stack."""
    metrics_listen: str | None = Field(default=None, pattern=r"^[^:\s]+:\d{1,5}$")
    """Where this process tells Prometheus what it measures: a private address, ``host:port``."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    database_pool_size: int = Field(default=10, ge=1, le=200)
    database_timeout_s: float = Field(default=10.0, gt=0)
    gate_timeout_s: float = Field(default=2.0, gt=0)
    backlog_max: int = Field(default=50_000, ge=1)
    """Undecided journal entries of a lane above which the gate answers ``BACKLOG``."""

    @model_validator(mode="after")
    def _no_default_secret_outside_local(self) -> Self:
        if self.environment != "local" and self.secret_key == LOCAL_SECRET_KEY:
            raise ValueError("set STAMPEDE_SECRET_KEY: the default is for the local stack alone")
        return self

    @model_validator(mode="after")
    def _shop_tokens_whole(self) -> Self:
        named = (self.shop_token_issuer, self.shop_token_audience, self.shop_token_algorithm)
        keys = [one for one in (self.shop_token_key, self.shop_token_jwks_url) if one is not None]
        if any(one is not None for one in named) or keys:
            if None in named or len(keys) != 1:
                raise ValueError(
                    "a shop's tokens need shop_token_issuer, shop_token_audience, shop_token_algorithm and one of "
                    "shop_token_key, shop_token_jwks_url"
                )
            shared = self.shop_token_algorithm not in ("RS256", "EdDSA")
            if shared and len((self.shop_token_key or "").encode()) < 32:
                raise ValueError("shop_token_key: HS256 needs a shared secret of 32 bytes or more")
            if not self.is_local and (self.shop_token_jwks_url or "https://").startswith("http://"):
                raise ValueError("shop_token_jwks_url: use https")
        return self

    @property
    def is_local(self) -> bool:
        return self.environment == "local"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
