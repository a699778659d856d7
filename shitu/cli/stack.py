"""`shitu up` runs the whole service in this terminal; `shitu web | worker | courier | keeper` run one process each."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from contracts.errors import ServiceError
from infra.errors.service import ConfigurationError, RedisMisconfigured
from infra.keys.store import KeyStore
from infra.redis.client import open_client
from infra.runtime.logs import configure_logging, json_line
from infra.runtime.machine import planned, read_limits
from infra.runtime.settings import load_settings
from infra.stack.commands import (
    ROOT,
    child_environment,
    courier_command,
    handed_on,
    keeper_command,
    web_command,
    worker_command,
)
from infra.stack.installation import verify
from infra.stack.launcher import Stack
from infra.stack.starting import listen
from models.errors import ModelError
from shitu.cli.first_calls import first_calls
from shitu.cli.options import examples
from shitu.cli.worker_bounds import Bounds

if TYPE_CHECKING:
    from types import FrameType

    from infra.runtime.settings import Settings

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_yellow")
NAME_WIDTH = 8

log = logging.getLogger("shitu")


@click.command(epilog=examples("up", "up --workers 2 --port 8080", "up --workers 0..4"))
@click.option(
    "--workers",
    default="1",
    show_default=True,
    type=Bounds(),
    help="Worker processes, or the fewest and the most, started and stopped as jobs come: 0..4.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page and the API; 0 for any free one.")
@click.option("--quiet", is_flag=True, help="Show only what the launcher itself says; all is in the log files.")
def up(workers: tuple[int, int], port: int | None, quiet: bool) -> None:
    """Run the whole service in this terminal; Ctrl-C stops it.

    Redis, web, worker, courier and keeper, with all data in one folder (SHITU_DATA_DIR, by default var/).
    """
    settings = _settings("text")
    least, most = workers
    if least != most:
        settings = replace(settings, scaling=replace(settings.scaling, least=least))
    if port is not None:
        settings = replace(settings, web=replace(settings.web, port=port))
    if "SHITU_LOG__FORMAT" not in os.environ:  # in a terminal people read the lines
        settings = replace(settings, log=replace(settings.log, format="text"))
    configure_logging(settings.log)  # what the launcher's own parts warn of has the lines' format too
    terminal = _Terminal(quiet, settings.log.format == "json")
    stack: Stack | None = None
    try:
        settings = with_models(_with_shared_cores(settings, most, terminal))
        scaled = None if least == most else most
        stack = Stack(settings, workers=least, most=scaled, say=terminal.say, progress=terminal.report)
        _Interrupts(stack)
        stack.start()
        terminal.show(stack)
        threading.Event().wait()
    except KeyboardInterrupt:
        terminal.report("stopping: running jobs may finish; Ctrl-C once more kills")
    except (ServiceError, ModelError) as error:
        raise _refusal(error.detail, settings.log.format) from error
    finally:
        if stack is not None:
            stack.stop()
    terminal.report(f"stopped; the data stay in {settings.data_dir}")


@click.command(epilog=examples("web"))
def web() -> None:
    """Run the HTTP front end alone; it needs REDIS_URL."""
    settings = _settings(need_redis=True)
    try:
        listener = listen(settings)
    except ServiceError as error:
        raise _refusal(error.detail) from error
    listener.set_inheritable(True)
    _become(settings, web_command(settings, f"fd://{listener.fileno()}"))


@click.command(epilog=examples("worker --name worker-2"))
@click.option("--name", default="worker", show_default=True, help="Its name in Celery's logs.")
def worker(name: str) -> None:
    """Run one recognition worker alone; it needs REDIS_URL."""
    settings = _settings(need_redis=True)
    try:
        settings = with_models(settings, pulls=False)
    except ModelError as error:
        raise _refusal(error.detail) from error
    _become(settings, worker_command(settings, name), settings.worker.threads)


@click.command(epilog=examples("courier"))
@click.option("--name", default="courier", show_default=True, help="Its name in Celery's logs.")
def courier(name: str) -> None:
    """Run the webhook courier alone; it needs REDIS_URL."""
    settings = _settings(need_redis=True)
    _become(settings, courier_command(settings, name))


@click.command(epilog=examples("keeper"))
def keeper() -> None:
    """Run the keeper alone, which repairs what the queue lost; it needs REDIS_URL."""
    _become(_settings(need_redis=True), keeper_command())


class _Terminal:
    """Writes whole lines, each after its process's name or as JSON, from many threads."""

    def __init__(self, quiet: bool, as_json: bool = False) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._lock = threading.Lock()
        self._colours: dict[str, str] = {}

    def say(self, name: str, line: str) -> None:
        """A line of a process."""
        if not self._quiet:
            with self._lock:
                colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
                self._write(name, line, fg=colour)

    def report(self, line: str) -> None:
        """A line of the launcher; a terminal that is gone, or whose disk is full, stops nothing."""
        with self._lock, suppress(OSError):
            self._write("shitu", line, bold=True)

    def show(self, stack: Stack) -> None:
        """That the service is ready."""
        if self._as_json:
            self.report(f"ShiTu is ready at {stack.base_url}/; data in {stack.settings.data_dir}")
        else:
            click.echo(banner(stack))

    def _write(self, name: str, line: str, **style: Any) -> None:
        if self._as_json:
            click.echo(json_line(name, line))
        else:
            click.echo(click.style(f"{name:<{NAME_WIDTH}} | ", **style) + line)


class _Interrupts:
    """The first Ctrl-C (or SIGTERM) stops in order, a second one kills."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._interrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._interrupted:
            self._stack.kill()
        else:
            self._interrupted = True
            raise KeyboardInterrupt


def _settings(default_format: str = "json", *, need_redis: bool = False) -> Settings:
    try:
        settings = load_settings()
    except ServiceError as error:
        raise _refusal(error.detail, default_format) from error
    if need_redis and settings.redis_url is None:
        raise _refusal("REDIS_URL is not set. `shitu up` starts a Redis server of its own.")
    return settings


def _refusal(detail: str, default_format: str = "json") -> Exception:
    """Why the process does not start: for people in words, for whoever collects a container's lines as one of those."""
    wanted = os.environ.get("SHITU_LOG__FORMAT") or ("text" if sys.stderr.isatty() else default_format)
    if wanted != "json":
        return click.ClickException(detail)
    click.echo(json_line("shitu", " ".join(detail.split()), "critical"), err=True)
    return click.exceptions.Exit(1)


def with_models(settings: Settings, *, pulls: bool = True) -> Settings:
    """`settings` with a folder's absolute path instead of its relative one. Raises ArtifactError: there is no such model.

    Official models that are not here are downloaded, with how far it is in the log; without `pulls` that is left to the worker.
    """
    from models.artifacts.download import OFFICIAL
    from worker.model_folders import folder_of

    def absolute(name: str) -> str:
        if name in OFFICIAL and not pulls:
            return name
        found = folder_of(name)
        return str(found.absolute()) if found == Path(name) else name

    worker = settings.worker
    models = replace(
        worker,
        detector=worker.detector if worker.detector == "none" else absolute(worker.detector),
        embedder=absolute(worker.embedder),
        embedders=tuple(absolute(name) for name in worker.embedders),
    )
    return replace(settings, worker=models)


def _with_shared_cores(settings: Settings, workers: int, terminal: _Terminal) -> Settings:
    """Several workers share the machine: each gets its part of what one would run at a time."""
    limits = read_limits()
    terminal.report(f"{limits.cores} cores ({limits.cores_reason}), memory: {limits.memory_reason}")
    if workers == 1:
        return settings
    return replace(
        settings, worker=replace(settings.worker, concurrency=planned(settings, workers=workers).concurrency)
    )


def _become(settings: Settings, command: tuple[str, ...], threads: int = 1) -> NoReturn:
    """Replaces this process, so that signals and exit codes are the command's own; after a last look at Redis."""
    try:
        verify(settings)
    except (RedisMisconfigured, ConfigurationError) as error:
        raise _refusal(error.detail) from error
    except ServiceError as error:  # it may come back; the process waits for it
        configure_logging(settings.log)
        log.warning("started nevertheless: %s", error.detail)
    sys.stdout.flush()
    environment = {**child_environment(threads), **handed_on(settings)}
    os.chdir(ROOT)
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is the point


def banner(stack: Stack) -> str:
    """What is printed when the service is ready: where it is, where its data are, and what to try first."""
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
  stop       Ctrl-C{_about_keys(stack)}

  {calls}
"""


def _about_keys(stack: Stack) -> str:
    """A line for whoever needs a key, and how to make the first one."""
    if not stack.settings.keys.required:
        return ""
    with closing(open_client(stack.settings)) as client:
        there = KeyStore(client).count()
    made = f"{there} made" if there else "none yet: `shitu keys create --scope admin` makes one"
    return f"\n  keys       required ({made}); to each call below add -H 'Authorization: Bearer shitu_…'"
