"""`python -m sash`: the `sash` command.  Imports: cli."""

from sash.cli import main

if __name__ == "__main__":
    main()
