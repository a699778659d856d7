"""gunicorn's log in the service's own format: `--logger-class web.gunicorn_log.ServiceLogger`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

from infra.runtime.logs import LogHandler, formatter, settings_of_environment
from web.access_log import SEEN, write_line

if TYPE_CHECKING:
    from datetime import timedelta


class ServiceLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Errors go where all lines go. Requests have their line from `web.access_log`, which gunicorn's would repeat."""

    def setup(self, cfg: Any) -> None:
        """gunicorn calls it at its start and when it is reloaded."""
        super().setup(cfg)
        handler = LogHandler()
        handler.setFormatter(formatter(settings_of_environment()))
        self.error_log.handlers[:] = [handler]

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """A request that gunicorn refused by itself reached no application: its line is written here."""
        if SEEN not in environ:
            status = int(str(resp.status).split(maxsplit=1)[0])
            write_line(environ, status, 1000 * request_time.total_seconds(), int(getattr(resp, "sent", 0) or 0))
