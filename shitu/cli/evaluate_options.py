"""What the commands that evaluate on photos of your own share: options about lists, their checks, and how each ends."""

import sys
from pathlib import Path

import click

from shitu.cli.options import out
from shitu.cli.searched import Passed
from shitu.cli.terminal import given

DELIMITER = click.option(
    "--delimiter", help="Between the columns of lists; default: a tab where there are tabs, else a blank."
)
WRITE_TO = out("Write metrics and pictures to this folder.")


def check_lists(option: str, *paths: Path | None) -> None:
    """Raises UsageError for an option about lists where no path is one."""
    named = [path for path in paths if path is not None]
    if given(option) and all(path.is_dir() or path.suffix.lower() == ".json" for path in named):
        raise click.UsageError(f"--{option} is about lists, and {' and '.join(map(str, named))} is none")


def end(passed: Passed, *paths: Path | None) -> None:
    """Reports what of lists and folders was left out; exit status 1 if it may have been meant."""
    passed.count_unread(*paths)
    passed.report()
    sys.exit(1 if passed.bad else 0)
