"""Real local servers that clients' URLs may name: one that answers from a table, one that speaks as it likes."""

from __future__ import annotations

import http.server
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


@dataclass
class Server:
    """A local server; `paths` answer with (status, headers, body), every request is kept."""

    port: int = 0
    paths: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append((self.command, self.path, dict(self.headers.items()), body))
            status, headers, content = server.paths.get(self.path, (404, {}, b""))
            self.send_response(status)
            if not {"Content-Length", "Transfer-Encoding"} & headers.keys():
                headers = {**headers, "Content-Length": str(len(content))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        if tls:
            listener.socket = tls.wrap_socket(listener.socket, server_side=True)
        listener.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that leave early are the point
        server.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server of one connection that speaks as `talk` does; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    talk(connection)
            except OSError:
                pass  # the client left, which is what the test wants

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        with closing(socket.socket()) as last:  # a test that never connected leaves the server in accept
            last.connect_ex(listener.getsockname())
        thread.join()
