"""The command line ``stampede``: each module of ``stack.commands`` adds its commands."""

import importlib
import pkgutil
import sys
from typing import Any

import typer

import stack.commands
from stack.errors import StackError


class _CommandLine(typer.Typer):
    """Typer, with expected faults as one line on standard error and exit status 1."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().__call__(*arguments, **options)
        except StackError as error:
            typer.echo(f"stampede: {error}", err=True)
            sys.exit(1)


app = _CommandLine(
    name="stampede",
    help="Flash sales that are never oversold and never stranded.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals hold passwords
)

for _found in sorted(pkgutil.iter_modules(stack.commands.__path__), key=lambda module: module.name):
    _module = importlib.import_module(f"stack.commands.{_found.name}")
    if hasattr(_module, "register"):
        _module.register(app)

if __name__ == "__main__":
    app()
