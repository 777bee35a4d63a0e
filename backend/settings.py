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
        env_prefix="STAMPEDE_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: Literal["local", "production"] = "production"
    secret_key: str = Field(default=LOCAL_SECRET_KEY, min_length=32)
    database_url: DatabaseUrl
    gate_url: StoreUrl
    broker_url: str = Field(pattern=r"^(rediss?|amqps?)://")
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://")
    pages_dir: Path
    notify_email_url: str | None = None
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

    @property
    def is_local(self) -> bool:
        return self.environment == "local"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
