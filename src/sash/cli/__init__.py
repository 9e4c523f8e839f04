"""The `sash` command.  typer and rich are imported from here on and nowhere else in sash.

Imports: extras.
"""

from __future__ import annotations

import sys

from sash.cli.extras import needed
from sash.errors import MissingLibrary

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script `sash` and `python -m sash` come here."""
    try:
        with needed("The commands of sash"):
            from sash.cli.app import app
    except MissingLibrary as missing:
        print(f"sash: {missing}", file=sys.stderr)
        sys.exit(2)
    app(prog_name="sash")
