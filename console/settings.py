"""Where the console finds the API, and how it is seen from outside."""

from functools import lru_cache
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

BASE_PATH = "/console"
"""The path the edge serves the console under; every route and cookie of ours starts with it."""


def _origin(value: str) -> str:
    """Cut an address down to `scheme://host[:port]`, the form browsers send as `Origin`."""
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError("must be an http or https address")
    return f"{parts.scheme}://{parts.netloc.lower()}"


Origin = Annotated[str, AfterValidator(_origin)]


class Settings(BaseSettings):
    """Read from `STAMPEDE_*` variables (or `.env`); the same names as the other processes use."""

    model_config = SettingsConfigDict(env_prefix="STAMPEDE_", env_file=".env", extra="ignore", frozen=True)

    environment: Literal["local", "production"] = "production"
    api_url: Origin
    public_url: Origin
    log_level: str = "info"

    @property
    def secure_cookies(self) -> bool:
        """Cookies carry `Secure` everywhere but on the local stack, which speaks plain HTTP."""
        return self.environment != "local"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
