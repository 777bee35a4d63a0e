"""The stack's servers without the product, under the real supervisor: ``python small_stack.py DATA_DIR``.

``--broken`` adds a process that cannot start, after the others.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from stack.errors import StackError
from stack.roles import PortServer
from stack.servers import EdgeServer, GateServer, PostgresServer
from stack.supervisor import Stage, Supervisor


async def main(data_dir: Path, *, broken: bool) -> None:
    """Print one line when ready, then stay."""

    def build() -> Sequence[Stage]:
        smtp = PortServer("smtp", "smtp", data_dir, "stack.smtp", "--maildir", str(data_dir / "mail"), env={})
        edge = EdgeServer(data_dir, api_ports=(1,), console_port=1, pages_dir=data_dir / "pages")
        stages = [Stage([PostgresServer(data_dir), GateServer(data_dir)]), Stage([smtp, edge])]
        if broken:
            stages.append(Stage([PortServer("broken", "api", data_dir, "no.such.module", env={})]))
        return stages

    async def stay() -> None:
        print("ready", flush=True)
        await asyncio.Event().wait()

    await Supervisor(data_dir, build).run(stay)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--broken", action="store_true")
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.data_dir, broken=arguments.broken))
    except StackError as error:
        raise SystemExit(str(error)) from error
