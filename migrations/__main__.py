"""``python -m migrations [upgrade|downgrade] [REVISION]``: bring the database to a revision (default: the newest)."""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config


def alembic_config() -> Config:
    """Alembic's configuration without a file: everything else comes from the environment."""
    config = Config()
    # "%" starts an interpolation in Alembic's options; a folder may be called that.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def main(argv: list[str]) -> int:
    direction = argv[0] if argv else "upgrade"
    revision = argv[1] if len(argv) > 1 else "head"
    if direction not in ("upgrade", "downgrade") or (direction == "downgrade" and len(argv) < 2):
        sys.stderr.write("usage: python -m migrations [upgrade|downgrade] [REVISION]\n")
        return 2
    if direction == "upgrade":
        command.upgrade(alembic_config(), revision)
    else:
        command.downgrade(alembic_config(), revision)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
