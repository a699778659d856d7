"""gunicorn's threaded worker with a time limit on requests: a client that trickles bytes must not hold a thread for ever.

gunicorn's own `timeout` watches the process, not a request, and a time limit on a socket is renewed by every byte. So a
watch of its own shuts the reading side of connections whose request has not arrived whole in time. Their reads end,
the answer (408) can still be written, and what waits for a job with its request read is not disturbed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from infra.errors import UploadTooSlow
from web.services import EXTENSION, Services

if TYPE_CHECKING:
    from gunicorn.workers.gthread import TConn

LOOKS = 10  # in the time that an upload has: how exactly it is kept


class UploadLimitWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """`--worker-class web.server.UploadLimitWorker`; the limit is the application's `web.upload_timeout_s`."""

    wsgi: Any
    watch: UploadWatch

    def load_wsgi(self) -> None:
        """gunicorn calls it before the first connection is taken."""
        super().load_wsgi()
        services = cast("Services", self.wsgi.extensions[EXTENSION])
        self.watch = UploadWatch(services.settings.web.upload_timeout_s)
        self.wsgi = LimitedInput(self.wsgi, self.watch)

    def handle(self, conn: TConn) -> Any:
        """One request, or a look at whether one comes: an idle connection holds no thread."""
        with self.watch.over(conn.sock):
            return super().handle(conn)


class UploadWatch:
    """Shuts the reading side of sockets that are watched for longer than `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._until: dict[socket.socket, float] = {}
        self._late: set[socket.socket] = set()
        self._guard = threading.Lock()
        threading.Thread(target=self._look, name="upload-watch", daemon=True).start()

    @contextlib.contextmanager
    def over(self, connection: socket.socket) -> Iterator[None]:
        """Watches a connection that a thread is about to read a request from."""
        with self._guard:
            self._until[connection] = time.monotonic() + self._limit_s
        try:
            yield
        finally:
            self.arrived(connection)
            with self._guard:
                self._late.discard(connection)

    def arrived(self, connection: socket.socket) -> None:
        """The request is there: what follows may take its time."""
        with self._guard:
            self._until.pop(connection, None)

    def is_late(self, connection: socket.socket) -> bool:
        """Whether its request took too long, so that no more of it can be read."""
        with self._guard:
            return connection in self._late

    def _look(self) -> None:
        while True:
            time.sleep(self._limit_s / LOOKS)
            now = time.monotonic()
            with self._guard:
                for connection in [found for found, until in self._until.items() if until <= now]:
                    del self._until[connection]
                    self._late.add(connection)
                    with contextlib.suppress(OSError):  # closed by the other side
                        connection.shutdown(socket.SHUT_RD)


class LimitedInput:
    """The application, with a `wsgi.input` that tells a late request by UploadTooSlow instead of a body cut short."""

    def __init__(self, application: Callable[..., Iterable[bytes]], watch: UploadWatch) -> None:
        self._application = application
        self._watch = watch

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        connection = environ["gunicorn.socket"]
        if environ.get("CONTENT_LENGTH", "0") in {"", "0"} and "HTTP_TRANSFER_ENCODING" not in environ:
            self._watch.arrived(connection)
        else:
            environ["wsgi.input"] = WatchedBody(environ["wsgi.input"], connection, self._watch)
        return self._application(environ, start_response)


class WatchedBody:
    """A request's body. Every way of reading raises UploadTooSlow once it is late."""

    def __init__(self, body: Any, connection: socket.socket, watch: UploadWatch) -> None:
        self._body = body
        self._connection = connection
        self._watch = watch

    def read(self, size: int | None = None) -> bytes:
        """As a file's."""
        return self._checked(lambda: self._body.read(size))

    def readline(self, size: int | None = None) -> bytes:
        """As a file's."""
        return self._checked(lambda: self._body.readline(size))

    def readlines(self, size: int | None = None) -> list[bytes]:
        """As a file's."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _checked(self, read: Callable[[], bytes]) -> bytes:
        try:
            data = read()
        except (OSError, ParseException):
            self._raise_if_late()
            raise
        self._raise_if_late()
        if not data:
            self._watch.arrived(self._connection)
        return data

    def _raise_if_late(self) -> None:
        if self._watch.is_late(self._connection):
            raise UploadTooSlow("The request did not arrive whole in the time allowed for it; nothing was accepted.")
