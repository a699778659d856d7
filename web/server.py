"""gunicorn's threaded worker with a least speed of requests: a client that trickles bytes must not hold a thread for ever.

gunicorn's own `timeout` watches the process, not a request, and a time limit on a socket is renewed by every byte; one on
the whole request cuts honest clients off whose line is slow. So a watch of its own counts what arrives, and shuts the
reading side of connections that bring less than so many bytes in any window of time. Their reads end, the answer (408)
can still be written, and what waits for a job with its request read is not disturbed.

Clients at just that speed could still hold every thread for hours: a body's limit divided by it. So when all threads are
busy, the slowest of the uploads that had a window of time already are cut off likewise, for a quarter of the threads.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from infra.errors.requests import UploadTooSlow
from web.services import EXTENSION, Services
from web.unreadable import answer, refusal_of

if TYPE_CHECKING:
    from gunicorn.workers.gthread import TConn

LOOKS = 10  # in a window: how exactly it is kept
SHED_SHARE = 0.25  # of the threads is to be free again, where all of them are busy

log = logging.getLogger("shitu.web")


class UploadLimitWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """`--worker-class web.server.UploadLimitWorker`; the limits are the application's `web.upload_timeout_s` (the window)
    and `web.upload_min_bytes_per_s`.
    """

    wsgi: Any
    application: Any  # the same without its limits
    watch: UploadWatch

    def load_wsgi(self) -> None:
        """gunicorn calls it before the first connection is taken."""
        super().load_wsgi()
        services = cast("Services", self.wsgi.extensions[EXTENSION])
        web = services.settings.web
        self.watch = UploadWatch(web.upload_timeout_s, web.upload_min_bytes_per_s, self.cfg.threads)
        self.application = self.wsgi
        self.wsgi = LimitedInput(self.wsgi, self.watch)

    def handle(self, conn: TConn) -> Any:
        """One request, or a look at whether one comes: an idle connection holds no thread."""
        if not isinstance(conn.sock, CountingSocket):  # a new connection, not registered anywhere yet
            conn.sock = CountingSocket.of(conn.sock)
        with self.watch.over(conn.sock):
            return super().handle(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """What gunicorn can't read never reaches the application: it is refused here, in the application's words."""
        refusal = refusal_of(exc)
        if refusal is None:
            super().handle_error(req, client, addr, exc)
            return
        log.warning("refused before it was read: %s", refusal.code)
        answer(self.application, refusal, client)


class CountingSocket(socket.socket):
    """A connection that knows how many bytes were received from it."""

    received_bytes = 0

    @classmethod
    def of(cls, connection: socket.socket) -> CountingSocket:
        """Takes `connection` over: that object is of no use afterwards."""
        timeout_s = connection.gettimeout()
        counting = cls(fileno=connection.detach())
        counting.settimeout(timeout_s)
        return counting

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As a socket's: gunicorn reads by nothing else."""
        data = super().recv(bufsize, flags)
        self.received_bytes += len(data)
        return data


@dataclass
class Window:
    """The time in which a connection must bring its quota: until when, and from which count of bytes."""

    ends_at: float
    from_bytes: int
    began_at: float  # of the first window, and the count then
    began_bytes: int


class UploadWatch:
    """Shuts the reading side of watched sockets that bring less than `min_bytes_per_s` over `window_s` seconds.

    When all `threads` are busy, of the slowest ones too; None: there are always enough.
    """

    def __init__(self, window_s: float, min_bytes_per_s: float, threads: int | None = None) -> None:
        self._threads = threads
        self._busy = 0
        self._window_s = window_s
        self._share_bytes = window_s * min_bytes_per_s
        self._windows: dict[CountingSocket, Window] = {}
        self._late: set[CountingSocket] = set()
        self._guard = threading.Lock()
        threading.Thread(target=self._run, name="upload-watch", daemon=True).start()

    @contextlib.contextmanager
    def over(self, connection: CountingSocket) -> Iterator[None]:
        """Watches a connection that a thread is about to read a request from."""
        with self._guard:
            now, received = time.monotonic(), connection.received_bytes
            self._windows[connection] = Window(now + self._window_s, received, now, received)
            self._busy += 1
        try:
            yield
        finally:
            self.arrived(connection)
            with self._guard:
                self._late.discard(connection)
                self._busy -= 1

    def arrived(self, connection: CountingSocket) -> None:
        """The request is there: what follows may take its time."""
        with self._guard:
            self._windows.pop(connection, None)

    def is_late(self, connection: CountingSocket) -> bool:
        """Whether its request came too slowly, so that no more of it can be read."""
        with self._guard:
            return connection in self._late

    def _run(self) -> None:
        while True:
            time.sleep(self._window_s / LOOKS)
            try:
                self._look(time.monotonic())
            except Exception:  # whatever one look stumbles over, slow clients must not go unwatched from then on
                log.exception("uploads could not be looked at")

    def _look(self, now: float) -> None:
        with self._guard:
            for connection, window in list(self._windows.items()):
                if now < window.ends_at:
                    continue
                if connection.received_bytes - window.from_bytes >= self._share_bytes:
                    window.ends_at, window.from_bytes = now + self._window_s, connection.received_bytes
                    continue
                self._cut(connection)
            if self._threads is not None and self._busy >= self._threads:
                for connection in self._slowest(now, max(1, int(SHED_SHARE * self._threads))):
                    self._cut(connection)

    def _slowest(self, now: float, count: int) -> list[CountingSocket]:
        """Of the requests that have been arriving for longer than a window."""

        def speed(connection: CountingSocket) -> float:
            window = self._windows[connection]
            return (connection.received_bytes - window.began_bytes) / (now - window.began_at)

        long = [connection for connection, window in self._windows.items() if now - window.began_at > self._window_s]
        return sorted(long, key=speed)[:count]

    def _cut(self, connection: CountingSocket) -> None:
        del self._windows[connection]
        self._late.add(connection)
        with contextlib.suppress(OSError):  # closed by the other side
            connection.shutdown(socket.SHUT_RD)


class LimitedInput:
    """The application, with a `wsgi.input` that ends a late request by UploadTooSlow instead of a body cut short."""

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

    def __init__(self, body: Any, connection: CountingSocket, watch: UploadWatch) -> None:
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
            raise UploadTooSlow("The request came too slowly, or stopped on its way; nothing was accepted.")
