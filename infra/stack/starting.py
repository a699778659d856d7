"""What a start needs of the machine: an open port, a folder that can be written in, the embedded Redis, an answer."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors.service import ConfigurationError, NotReady
from infra.redis.server import RedisServer
from infra.stack.commands import bracketed
from infra.stack.exposure import refuse_default_secrets, refuse_unprotected

if TYPE_CHECKING:
    from infra.runtime.settings import Settings


BACKLOG = 512
REDIS_KILLED_WITHIN_S = 2.0
WRONG_HOST = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def listen(settings: Settings) -> socket.socket:
    """The web's socket, open on the settings' host and port. Raises ConfigurationError with the setting that is wrong."""
    host, port = settings.web.host, settings.web.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        where = f"{bracketed(host)}:{port}"
        number, words = getattr(error, "errno", None), getattr(error, "strerror", None) or "no such host name"
        why = words.partition(" (while attempting")[0]  # create_server adds the address, which is reported already
        wrong_host = number is None or number < 0 or number in WRONG_HOST  # resolving a name has negative numbers
        report = (
            f"SHITU_WEB__HOST: cannot listen on {where} ({why}); give an address of this machine, or 0.0.0.0 for all"
            if wrong_host
            else f"SHITU_WEB__PORT: cannot listen on {where} ({why}); choose another one (`shitu up --port 8001`), or 0 for any"
        )
        raise ConfigurationError([report]) from error
    try:
        refuse_unprotected(settings)
        refuse_default_secrets(settings, os.environ)
    except ConfigurationError:
        listener.close()
        raise
    return listener


def make_data_folder(folder: Path) -> None:
    """Makes the data folder and tries to write in it. Raises ConfigurationError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        why = "a file is in its way" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigurationError([f"SHITU_DATA_DIR: cannot write in the folder {folder} ({why})"]) from error


class EmbeddedRedis:
    """The embedded server as a supervised process."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    @property
    def pid(self) -> int | None:
        return self._server.pid

    def start(self) -> None:
        self._server.stop()  # releases what a server that died has left
        self._server.start()

    def ended(self) -> str:
        return "not running any more; see redis.log in its data folder"

    def stop(self, timeout_s: float) -> None:
        self._server.stop(timeout_s)

    def retire(self) -> None:
        raise NotReady("Redis is not retired.")  # only workers are

    def kill(self) -> None:
        self._server.stop(REDIS_KILLED_WITHIN_S)  # even in a hurry: what it has not written is lost


def ask(url: str, timeout_s: float = 5.0) -> tuple[bool, str]:
    """Whether a probe of the service answers well, and the detail that it gives."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - our own URL
            return True, str(json.load(response).get("detail", ""))
    except urllib.error.HTTPError as error:
        with error:
            try:
                return False, str(json.load(error).get("detail", "")) or f"status {error.code}"
            except ValueError:
                return False, f"status {error.code}"
    except (OSError, ValueError):
        return False, "The web server does not answer yet."
