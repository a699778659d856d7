"""Official models as they are published, but on a server of this machine."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.artifacts.download import OFFICIAL, OfficialModel

KINDS = {"ppshitu-mainbody-detector": "detect", "ppshitu-v1-embedder": "embed", "ppshitu-v2-embedder": "embed"}


@contextmanager
def publishing(folders: Mapping[str, Path], site: Path, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves the archives of `folders` below their official names, from the folder `site`; the paths that were requested."""
    served: list[str] = []

    class Counting(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            served.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    site.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(site))) as http:
        for name, folder in folders.items():
            with tarfile.open(site / f"{name}.tar", "w") as tar:
                tar.add(folder, folder.name)
            url = f"http://127.0.0.1:{http.server_address[1]}/{name}.tar"
            patch.setitem(OFFICIAL, name, OfficialModel(KINDS[name], "as it is published", url))
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        yield served
        http.shutdown()
