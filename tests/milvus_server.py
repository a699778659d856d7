"""A real Milvus Lite server as a process of its own, which speaks the protocol of a cluster."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

START_S = 60.0


class MilvusLite:
    """The server over a folder; `start` and `stop` keep its port and its data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as found:
            self._port = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        from pymilvus import MilvusClient  # half a second, which no collection need pay
        from pymilvus.exceptions import MilvusException

        command = [str(Path(sys.executable).with_name("milvus-lite")), "server", "--data-dir", str(self._folder)]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        with (self._folder.parent / "milvus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while True:
            with suppress(MilvusException):
                MilvusClient(self.uri, timeout=1).close()
                return
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder.parent / "milvus.log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self) -> None:
        """Returns when it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
