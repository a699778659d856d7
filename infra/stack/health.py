"""`python -m infra.stack.health [web|worker]`: whether this container's process is well, for the container engine to ask.

Without a word: the ledger answers from here. `web`: the front end answers too. `worker`: the worker of this host has said
within its heartbeat that its models are loaded.
"""

from __future__ import annotations

import socket
import sys
import urllib.request
from typing import TYPE_CHECKING

import redis

import shitu.packages  # noqa: F401 - first: it makes sure that the packages below are ours
from contracts.errors import ServiceError
from infra.jobs.ledger import open_ledger
from infra.runtime.settings import load_settings

if TYPE_CHECKING:
    from infra.runtime.settings import Settings

TIMEOUT_S = 5.0
ROLES = ("", "web", "worker")


def problem(role: str, settings: Settings) -> str | None:
    """What is wrong, or None. Raises ValueError for a role that does not exist."""
    if role not in ROLES:
        raise ValueError(f"unknown role {role!r}: expected {' or '.join(ROLES[1:])}")
    try:
        if role == "web":
            with urllib.request.urlopen(f"http://127.0.0.1:{settings.web.port}/healthz", timeout=TIMEOUT_S):
                return None
        if settings.redis_url is None:
            return "REDIS_URL is not set"
        ledger = open_ledger(settings)
        ledger.stats()
        host = f"{socket.gethostname()}:"
        if role == "worker" and not any(worker.name.startswith(host) for worker in ledger.presence.workers()):
            return "the worker of this host has not said that it is ready"
    except redis.RedisError as error:
        return f"Redis does not answer ({type(error).__name__})"
    except OSError as error:
        return f"the web server does not answer ({error})"
    return None


def main() -> None:
    """Exits 0 if all is well, else 1 with one line."""
    try:
        sys.exit(problem(sys.argv[1] if len(sys.argv) > 1 else "", load_settings()))
    except (ServiceError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
