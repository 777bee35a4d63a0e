"""The image's own scripts, loaded from their files: ``deploy`` is a folder, not a package."""

import importlib.util
from types import ModuleType

from tests.deploy.project import ROOT


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", ROOT / "deploy" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


entrypoint = _load("entrypoint")
healthcheck = _load("healthcheck")
