"""What commands share apart from their options: which of them were given, progress lines, and errors as one line."""

import json
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from contracts.errors import ServiceError
from infra.errors.galleries import GalleryNotFound
from models.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.training.engine.loop import Progress

# Paddle misses a compiler cache that nothing here would use, in two lines before every answer.
warnings.filterwarnings("ignore", message="No ccache found")


def given(option: str) -> bool:
    """Whether the option stands on the command line of the command that runs, be it with its default value."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def report(line: "Progress") -> None:
    """Print a line of a run's log, and the eval sets' metrics below it."""
    losses = "  ".join(f"{name} {value:.3f}" for name, value in line.losses.items())
    left = f"{line.eta_s:.0f} s" if line.eta_s < 100 else f"{line.eta_s / 60:.0f} min"
    click.echo(f"step {line.step}/{line.steps}  {losses}  {line.images_per_s:.0f} images/s  {left} left")
    if line.eval:
        click.echo("  " + json.dumps(line.eval))
    sys.stdout.flush()


@contextmanager
def errors() -> "Iterator[None]":
    """Shows what models and stores raise, and a file or folder that can't be read or made, as one line, not as a traceback."""
    try:
        yield
    except GalleryNotFound as error:
        remedy = "`shitu gallery list` lists those there are, `shitu gallery add` makes one."
        raise click.ClickException(f"{error.detail} {remedy} ({error.code})") from error
    except (ModelError, ServiceError) as error:
        raise click.ClickException(f"{error.detail} ({error.code})") from error
    except OSError as error:
        if error.filename is None:  # a closed pipe, a bug, or a full disk, which `shitu` reports for all commands
            raise
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
