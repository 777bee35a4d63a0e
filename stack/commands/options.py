"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Broker = Literal["redis", "rabbitmq"]

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="STAMPEDE_DATA_DIR",
        help="The local stack's folder. [default: data, in the project's root]",
        file_okay=False,
        show_default=False,
    ),
]
