"""ShiTu: the command line, and the public Python API.

    from shitu import Recognizer, Detector, Embedder, Gallery, RecognizeOptions, resolve   # examples: docs/python.md

Commands and names are loaded when they are first used, so that `shitu --help` is instant and a web process loads no network.
"""

import importlib
import io
import re
import sys
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

import shitu_packages  # noqa: F401 - first: it makes sure that the packages below are ours
from commands.suggestions import Group
from infra.version import VERSION

if TYPE_CHECKING:
    from models.artifacts.folders import resolve
    from models.classifier import Classifier
    from models.detector import Detection, Detector
    from models.embedder import Embedder
    from models.errors import ImageError, ModelError
    from models.galleries.gallery import Gallery
    from models.recognition.pipeline import RecognizeOptions, Recognizer

__all__ = [
    "Classifier", "Detection", "Detector", "Embedder", "Gallery", "ImageError", "ModelError", "RecognizeOptions",
    "Recognizer", "main", "resolve",
]  # fmt: skip

_API = {
    "Classifier": "models.classifier",
    "Detection": "models.detector",
    "Detector": "models.detector",
    "Embedder": "models.embedder",
    "Gallery": "models.galleries.gallery",
    "ImageError": "models.errors",
    "ModelError": "models.errors",
    "RecognizeOptions": "models.recognition.pipeline",
    "Recognizer": "models.recognition.pipeline",
    "resolve": "models.artifacts.folders",
}

# command -> module and attribute, and the line that `shitu --help` shows without importing it
_COMMANDS = {
    "up": ("commands.stack", "up", "Run the whole service in this terminal."),
    "web": ("commands.stack", "web", "Run the HTTP front end alone."),
    "worker": ("commands.stack", "worker", "Run one recognition worker alone."),
    "courier": ("commands.stack", "courier", "Run the webhook courier alone."),
    "keeper": ("commands.stack", "keeper", "Run the keeper alone."),
    "demo": ("commands.demo", "demo", "Show the whole service at work on rendered products."),
    "doctor": ("commands.doctor", "doctor", "Check what the service needs on this machine."),
    "settings": ("commands.settings", "settings", "Show the settings in force, and why."),
    "recognize": ("commands.recognize", "recognize", "Recognise photos, here or through a service."),
    "detect": ("commands.run", "detect", "Run a detector on photos."),
    "embed": ("commands.run", "embed", "Run an embedder on photos."),
    "classify": ("commands.classify", "classify", "Say which classes photos show."),
    "gallery": (
        "commands.gallery",
        "gallery",
        "Look at galleries, change them, carry them elsewhere.",
    ),
    "models": ("commands.models", "models_group", "List, pull and verify models."),
    "data": ("commands.data", "data", "Validate a data set before training on it."),
    "train": ("commands.train", "train", "Train a network by a recipe."),
    "evaluate": ("commands.evaluate", "evaluate", "Measure artifacts on pictures never trained on."),
    "export": ("commands.export", "export", "Turn a training run into an artifact."),
    "completion": ("commands.completion", "completion", "Complete commands and options in your shell."),
}
_EPILOG = """\b
Examples:
  shitu up
  shitu recognize shelf.jpg --gallery my-pictures
  shitu gallery add my-pictures --gallery drinks
  shitu doctor
"""


_PROCESSES = {"up", "web", "worker", "courier", "keeper"}  # they give each process its threads by themselves


class _LazyGroup(Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names and lines as they stand above: a key in a shell must not load every command."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        names = ((name, line) for name, (_, _, line) in _COMMANDS.items() if name.startswith(incomplete))
        return [CompletionItem(name, help=line) for name, line in names] + options

    def invoke(self, ctx: click.Context) -> Any:
        """A disk that is full, over a quota, read-only or failing ends any command with one line.

        Whatever ends a command, the names in its line do nothing to the terminal.
        """
        from contracts.names import shown

        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = "\n".join(map(shown, error.message.split("\n")))  # type: ignore[misc]  # final only by its annotation
            raise
        except OSError as error:
            if (reason := _disk_trouble(error)) is None:
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{reason}.") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="shitu")
def main() -> None:
    """Visual recognition as an asynchronous service on plain CPU machines."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal can't write must not cost the work before it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if click.get_current_context().invoked_subcommand not in _PROCESSES:
        from infra.runtime.machine import limit_math_threads

        limit_math_threads()


def _disk_trouble(error: OSError) -> str | None:
    from infra.objects.local import DISK_ERRORS

    if error.errno in DISK_ERRORS:
        return error.strerror
    # numpy says no more than this when a file takes only a part of an array
    return "No space left on device" if re.search(r"\d+ requested and \d+ written", str(error)) else None


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'shitu' has no attribute {name!r}")
    return getattr(importlib.import_module(_API[name]), name)


if __name__ == "__main__":
    main()
