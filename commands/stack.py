"""`shitu up` runs the whole service in this terminal; `shitu web | worker | courier | keeper` run one process each."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import click

from commands.first_calls import first_calls
from infra.errors import ConfigurationError, RedisMisconfigured, ServiceError
from infra.installation import verify
from infra.launcher import Stack, child_environment, courier_command, keeper_command, web_command, worker_command
from infra.settings import load_settings

if TYPE_CHECKING:
    from types import FrameType

    from infra.settings import Settings

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_yellow")
NAME_WIDTH = 8


@click.command()
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Worker processes.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page and the API; 0 for any free one.")
@click.option("--quiet", is_flag=True, help="Show only what the launcher itself says; all is in the log files.")
def up(workers: int, port: int | None, quiet: bool) -> None:
    """Run the whole service in this terminal; Ctrl-C stops it.

    Redis, web, worker, courier and keeper, with all data in one folder (SHITU_DATA_DIR, by default var/).
    """
    settings = _settings()
    if port is not None:
        settings = replace(settings, web=replace(settings.web, port=port))
    if "SHITU_LOG__FORMAT" not in os.environ:  # in a terminal people read the lines
        settings = replace(settings, log=replace(settings.log, format="text"))
    terminal = _Terminal(quiet)
    stack = Stack(settings, workers=workers, say=terminal.say, progress=terminal.tell)
    _Interrupts(stack)
    try:
        stack.start()
        click.echo(banner(stack))
        threading.Event().wait()
    except KeyboardInterrupt:
        terminal.tell("stopping: running jobs may finish; Ctrl-C once more kills")
    except ServiceError as error:
        raise click.ClickException(error.detail) from error
    finally:
        stack.stop()
    terminal.tell(f"stopped; the data stay in {stack.settings.data_dir}")


@click.command()
def web() -> None:
    """Run the HTTP front end alone; it needs REDIS_URL."""
    settings = _settings(need_redis=True)
    _become(web_command(settings))


@click.command()
@click.option("--name", default="worker", show_default=True, help="Its name in Celery's logs.")
def worker(name: str) -> None:
    """Run one recognition worker alone; it needs REDIS_URL."""
    settings = _settings(need_redis=True)
    _become(worker_command(settings, name), settings.worker.threads)


@click.command()
@click.option("--name", default="courier", show_default=True, help="Its name in Celery's logs.")
def courier(name: str) -> None:
    """Run the webhook courier alone; it needs REDIS_URL."""
    settings = _settings(need_redis=True)
    _become(courier_command(settings, name))


@click.command()
def keeper() -> None:
    """Run the keeper alone, which repairs what the queue lost; it needs REDIS_URL."""
    _settings(need_redis=True)
    _become(keeper_command())


class _Terminal:
    """Writes whole lines, each behind its process's name, from many threads."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self._colours: dict[str, str] = {}

    def say(self, name: str, line: str) -> None:
        """A line of a process."""
        if not self._quiet:
            with self._lock:
                colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
                click.echo(click.style(f"{name:<{NAME_WIDTH}} | ", fg=colour) + line)

    def tell(self, line: str) -> None:
        """A line of the launcher; a terminal that is gone, or a full disk behind it, stops nothing."""
        with self._lock, suppress(OSError):
            click.echo(click.style(f"{'shitu':<{NAME_WIDTH}} | ", bold=True) + line)


class _Interrupts:
    """The first Ctrl-C (or SIGTERM) stops in order, a second one kills."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._interrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            self._stack.kill()
        else:
            self._asked = True
            raise KeyboardInterrupt


def _settings(*, need_redis: bool = False) -> Settings:
    try:
        settings = load_settings()
    except ServiceError as error:
        raise click.ClickException(error.detail) from error
    if need_redis and settings.redis_url is None:
        raise click.ClickException("REDIS_URL is not set. `shitu up` starts a Redis server of its own.")
    if need_redis:
        try:
            verify(settings)
        except (RedisMisconfigured, ConfigurationError) as error:
            raise click.ClickException(error.detail) from error
        except ServiceError as error:  # it may come back; the process waits for it
            click.echo(f"started nevertheless: {error.detail}", err=True)
    return settings


def _become(command: tuple[str, ...], threads: int = 1) -> NoReturn:
    """Replaces this process, so that signals and exit codes are the command's own."""
    sys.stdout.flush()
    os.execvpe(command[0], command, {**child_environment(threads), **os.environ})  # noqa: S606 - no shell is the point


def banner(stack: Stack) -> str:
    """What is told when the service is ready: where it is, where its data are, and what to try first."""
    settings, url = stack.settings, stack.base_url
    secret = (
        "SHITU_WEBHOOKS__SECRET" if "SHITU_WEBHOOKS__SECRET" in os.environ else f"{settings.data_dir}/webhook_secret"
    )
    calls = "\n  ".join(first_calls(url))
    return f"""
{click.style("ShiTu is ready", bold=True)}
  page       {click.style(f"{url}/", underline=True)}
  data       {settings.data_dir}   (logs in logs/; a restart finds everything again)
  webhooks   signed with the secret in {secret}
  stop       Ctrl-C

  {calls}
"""
