"""``python -m stack.render_edge``: the edge's configuration for a deployment, from the local stack's template.

What differs from the local stack stands in the options: it listens on every address, knows the API by name, takes its
public names from ``STAMPEDE_PUBLIC_URL``, exempts nobody from the limits, and logs to standard output.
"""

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from stack.errors import StackError
from stack.servers.edge import EdgeConfig, render_edge_config

_READABLE = 0o644
_DEFAULT_PORTS = {"http": 80, "https": 443}


def edge_config(
    *,
    public_url: str,
    listen: tuple[str, ...],
    api: tuple[str, ...],
    console: str,
    pages_dir: Path,
    trusted_proxies: tuple[str, ...] = (),
    worker_processes: int = 2,
) -> EdgeConfig:
    """The template's input. Raises StackError unless ``public_url`` is an ``http`` or ``https`` origin."""
    parts = urlsplit(public_url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise StackError(f"STAMPEDE_PUBLIC_URL must be an origin such as https://shop.example.org, not {public_url}")
    port = None if parts.port == _DEFAULT_PORTS[parts.scheme] else parts.port
    return EdgeConfig(
        listen=listen,
        hosts=(parts.hostname,),
        api=api,
        console=console,
        pages_dir=pages_dir,
        public_scheme=parts.scheme,
        public_port=port,
        exempt_loopback=False,
        trusted_proxies=trusted_proxies,
        worker_processes=worker_processes,
    )


def _networks(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m stack.render_edge", description=__doc__)
    options.add_argument("--output", type=Path, required=True, help="the file to write")
    options.add_argument("--listen", action="append", required=True, metavar="ADDRESS:PORT")
    options.add_argument("--api", action="append", required=True, metavar="HOST:PORT")
    options.add_argument("--console", required=True, metavar="HOST:PORT")
    options.add_argument("--pages-dir", type=Path, required=True, help="where the edge sees the published pages")
    options.add_argument(
        "--trusted-proxies", type=_networks, default=(), help="networks in front of the edge, separated by commas"
    )
    options.add_argument("--worker-processes", type=int, choices=range(1, 65), default=2, metavar="1..64")
    return options


def main(argv: list[str]) -> int:
    """Render. Exit status 1, with the reason, when it cannot be done."""
    options = parser().parse_args(argv)
    try:
        config = edge_config(
            public_url=os.environ.get("STAMPEDE_PUBLIC_URL", ""),
            listen=tuple(options.listen),
            api=tuple(options.api),
            console=options.console,
            pages_dir=options.pages_dir,
            trusted_proxies=options.trusted_proxies,
            worker_processes=options.worker_processes,
        )
        text = render_edge_config(config)
    except StackError as error:
        sys.stderr.write(f"render_edge: {error}\n")
        return 1
    replace_file(options.output, text)
    return 0


def replace_file(path: Path, text: str) -> None:
    """Write a file that others may read; they see the old text or the new one, never half."""
    scratch = path.with_name(f"{path.name}.new")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(_READABLE)
    scratch.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
