"""The command lines of the service's processes and their environment; the container image runs the same commands."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.jobs import JobKind

if TYPE_CHECKING:
    from infra.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
WEB_DRAIN_S = 10
# Variables of others that name files: relative ones mean the folder in which `shitu` was started.
PATH_VARIABLES = {
    "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "CURL_CA_BUNDLE",
    "PROMETHEUS_MULTIPROC_DIR", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "XDG_CACHE_HOME",
}  # fmt: skip


def web_command(settings: Settings, bind: str | None = None) -> tuple[str, ...]:
    """The HTTP front; `bind` replaces the settings' host and port (`fd://3` is an inherited socket)."""
    return (
        *(sys.executable, "-P", "-m", "gunicorn", "web.app:create_app()"),
        *("--bind", bind or f"{bracketed(settings.web.host)}:{settings.web.port}"),
        # Threads, for an open event stream holds one; a single process, for it does next to nothing itself. The worker
        # class is gunicorn's gthread with a least speed of requests.
        *("--worker-class", "web.server.UploadLimitWorker", "--workers", "1", "--threads", str(settings.web.threads)),
        *("--timeout", "60", "--graceful-timeout", str(WEB_DRAIN_S), "--keep-alive", "15"),
        *("--forwarded-allow-ips", ""),  # what proxies say is read by web.access.proxy alone
        *("--no-control-socket", "--log-level", "warning", "--logger-class", "web.gunicorn_log.ServiceLogger"),
    )


def worker_command(settings: Settings, name: str = "worker") -> tuple[str, ...]:
    """The process that loads the models; `worker.app` chooses its pool and how many jobs it runs at a time."""
    return _celery(settings, ",".join(kind.queue for kind in JobKind), name)


def courier_command(settings: Settings, name: str = "courier") -> tuple[str, ...]:
    """The process that delivers webhooks and fetches pictures: it waits for other servers, so that no other process has to."""
    pool = ("--pool", "threads", "--concurrency", str(settings.webhooks.concurrency))
    return (*_celery(settings, "deliver,fetch", name), *pool)


def keeper_command() -> tuple[str, ...]:
    """The process that repairs what the queue lost."""
    return (sys.executable, "-P", "-m", "worker.keeper")


def child_environment(threads: int) -> dict[str, str]:
    """What every process of the service needs in its environment besides the settings; `threads` for the math libraries."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }


def handed_on(settings: Settings) -> dict[str, str]:
    """What a child sees: this process's environment, with the settings in place of whatever set them.

    A child runs in ROOT and not where the user stands, whose folders may have the names of our packages. So what is
    relative to the user's folder is given as an absolute path.
    """
    inherited = {
        name: str(Path(value).absolute()) if name in PATH_VARIABLES and value else value
        for name, value in os.environ.items()
        if not name.startswith("SHITU_") and name != "REDIS_URL"
    }
    models = replace(
        settings.worker,
        detector=_absolute_model(settings.worker.detector),
        embedder=_absolute_model(settings.worker.embedder),
        embedders=tuple(map(_absolute_model, settings.worker.embedders)),
        classifier=_absolute_model(settings.worker.classifier),
    )
    others = [str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {
        **inherited,
        **replace(settings, worker=models).to_env(),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(entry for entry in others if entry != str(ROOT))]),
    }


def _absolute_model(name_or_folder: str) -> str:
    """A folder's absolute path; a name stays, for it is bundled or pulled."""
    is_path = os.sep in name_or_folder or name_or_folder.startswith((".", "~"))
    return str(Path(name_or_folder).expanduser().absolute()) if is_path else name_or_folder


def bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _celery(settings: Settings, queues: str, name: str) -> tuple[str, ...]:
    return (
        *(sys.executable, "-P", "-m", "celery", "-A", "worker.app", "worker", "-Q", queues, "-n", f"{name}@%h"),
        *("--loglevel", settings.log.level, "--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
