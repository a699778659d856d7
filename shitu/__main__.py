"""`shitu` and `python -m shitu`: the command line, or one line where only the client is installed."""

from __future__ import annotations

import importlib.util
import sys

NEEDED = "click"  # the first thing that the command line imports and the client does not


def start() -> None:
    """Runs the command that the arguments name."""
    if importlib.util.find_spec(NEEDED) is None:
        print(
            "Only ShiTu's client is installed here; the commands need more: pip install 'shitu[serve]'", file=sys.stderr
        )
        raise SystemExit(1)
    from shitu.cli.main import main

    main(prog_name="shitu")


if __name__ == "__main__":  # a process that it spawns imports this file again, and must not run it
    start()
