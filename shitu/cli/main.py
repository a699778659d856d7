"""`shitu`: its commands by name. A command's module is loaded when it is called, so that `shitu --help` is instant."""

from __future__ import annotations

import importlib
import io
import re
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from infra.version import VERSION
from shitu.cli.suggestions import Group

# command -> module and attribute, and the line that `shitu --help` shows without importing it
_COMMANDS = {
    "up": ("shitu.cli.stack", "up", "Run the whole service in this terminal."),
    "web": ("shitu.cli.stack", "web", "Run the HTTP front end alone."),
    "worker": ("shitu.cli.stack", "worker", "Run one recognition worker alone."),
    "courier": ("shitu.cli.stack", "courier", "Run the webhook courier alone."),
    "keeper": ("shitu.cli.stack", "keeper", "Run the keeper alone."),
    "demo": ("shitu.cli.demo", "demo", "Show the whole service at work on rendered products."),
    "doctor": ("shitu.cli.doctor", "doctor", "Check what the service needs on this machine."),
    "settings": ("shitu.cli.settings", "settings", "Show the settings in force, and why."),
    "tune": ("shitu.cli.tune", "tune", "Measure this machine and write the fastest settings."),
    "recognize": ("shitu.cli.recognize", "recognize", "Recognise photos, here or through a service."),
    "batch": ("shitu.cli.batch", "batch", "Recognise a folder or an S3 prefix by a service."),
    "detect": ("shitu.cli.run", "detect", "Run a detector on photos."),
    "embed": ("shitu.cli.run", "embed", "Run an embedder on photos."),
    "classify": ("shitu.cli.classify", "classify", "Classify photos."),
    "gallery": (
        "shitu.cli.gallery",
        "gallery",
        "Show, change, export and import galleries.",
    ),
    "webhooks": ("shitu.cli.webhooks", "webhooks", "Register and test webhook endpoints of a service."),
    "keys": ("shitu.cli.keys", "keys", "Make, list and revoke API keys."),
    "models": ("shitu.cli.models", "models_group", "List, pull and verify models."),
    "data": ("shitu.cli.data", "data", "Validate a data set before training on it."),
    "train": ("shitu.cli.train", "train", "Train a network by a recipe."),
    "evaluate": ("shitu.cli.evaluate", "evaluate", "Evaluate artifacts on pictures never trained on."),
    "export": ("shitu.cli.export", "export", "Turn a training run into an artifact."),
    "paddleclas": ("shitu.paddleclas.command", "paddleclas", "Run PaddleClas' own commands and configurations."),
    "compare": ("shitu.cli.compare", "compare", "Compare PaddleClas' procedure with ours."),
    "completion": ("shitu.cli.completion", "completion", "Complete commands and options in your shell."),
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
