"""Prometheus values that live in memory and are copied to a file now and then, for the process that reports them all.

The library's own multi-process values are memory-mapped files. On a full disk, over a quota or after the file was cut, the
next write to such memory is no error but SIGBUS: a request that only wanted to be counted kills the server. Here a
thread writes plain files in the library's format; what cannot be written is written later, and nobody else notices.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.mmap_dict import mmap_key

if TYPE_CHECKING:
    from collections.abc import Callable

WRITE_EVERY_S = 0.5
HEADER_BYTES = 8

log = logging.getLogger(__name__)


class MetricsFiles:
    """The files of this process in `folder`, one for each kind of metric; `process_name` names it uniquely.

    A forked child counts from zero in files of its own.
    """

    def __init__(self, folder: Path, process_name: Callable[[], str]) -> None:
        self._folder = folder
        self._process_name = process_name
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._values: dict[str, dict[str, float]] = {}
        self._changed = False
        self._failing = False
        self._pid = os.getpid()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._start_anew)
        atexit.register(self.write)

    def change(self, kind: str, key: str, amount: float, *, absolute: bool = False) -> None:
        """Adds `amount` to a value, or sets it. Never waits for a disk."""
        with self._lock:
            values = self._values.setdefault(kind, {})
            values[key] = amount if absolute else values.get(key, 0.0) + amount
            self._changed = True
            if self._thread is None:
                thread = threading.Thread(target=self._write_now_and_then, name="metrics", daemon=True)
                with contextlib.suppress(RuntimeError):  # no more threads are to be had: the next change tries again
                    thread.start()
                    self._thread = thread

    def value(self, kind: str, key: str) -> float:
        """The value as it is now."""
        with self._lock:
            return self._values.get(kind, {}).get(key, 0.0)

    def paths(self) -> list[str]:
        """All processes' files, this one's written just before if that is possible."""
        self.write()
        return sorted(str(path) for path in self._folder.glob("*.db"))

    def write(self) -> bool:
        """Writes what has changed; False if the folder cannot be written to, which is reported once."""
        with self._writing:
            with self._lock:
                if not self._changed:
                    return True
                images = {kind: _image(values) for kind, values in self._values.items()}
                self._changed = False
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                for kind, image in images.items():
                    path = self._folder / f"{kind}_{self._process_name()}.db"
                    part = path.with_suffix(".part")
                    try:
                        part.write_bytes(image)
                        part.replace(path)  # who reads finds the old values or the new ones
                    except OSError:
                        with contextlib.suppress(OSError):
                            part.unlink(missing_ok=True)
                        raise
            except OSError as error:
                with self._lock:
                    self._changed = True
                if not self._failing:
                    log.warning("metrics cannot be written: %s", error.strerror, extra={"folder": str(self._folder)})
                self._failing = True
                return False
            self._failing = False
            return True

    def _write_now_and_then(self) -> None:
        while True:
            self._wake.wait(WRITE_EVERY_S)
            self.write()

    def _start_anew(self) -> None:
        self._lock, self._writing, self._wake = threading.RLock(), threading.Lock(), threading.Event()
        self._values, self._changed, self._thread = {}, False, None


def value_class(files: MetricsFiles) -> type:
    """What prometheus_client makes its metrics of, in place of its memory-mapped values."""

    class SharedValue:
        """One number of one metric."""

        _multiprocess = True

        def __init__(
            self, typ: str, metric_name: str, name: str, labelnames: Any, labelvalues: Any, help_text: str, **_: Any
        ) -> None:
            self._kind = typ
            self._key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
            files.change(self._kind, self._key, 0.0)

        def inc(self, amount: float) -> None:
            """Counts."""
            files.change(self._kind, self._key, amount)

        def set(self, value: float, timestamp: float | None = None) -> None:
            """Sets; the library's files have a timestamp for gauges that keep the latest, which are not used here."""
            files.change(self._kind, self._key, value, absolute=True)

        def get(self) -> float:
            """The number now."""
            return files.value(self._kind, self._key)

        def set_exemplar(self, exemplar: Any) -> None:
            """Several processes have none."""

        def get_exemplar(self) -> None:
            """Several processes have none."""

    return SharedValue


def _image(values: dict[str, float]) -> bytes:
    """The file: how many bytes are used, and for each value its key's length, key (padded to 8 bytes), value, timestamp."""
    entries = []
    for key, value in values.items():
        encoded = key.encode("utf-8", "replace")  # half a surrogate pair in a label costs that label
        padded = encoded + b" " * (8 - (len(encoded) + 4) % 8)
        entries.append(struct.pack(f"i{len(padded)}sdd", len(encoded), padded, value, 0.0))
    body = b"".join(entries)
    return struct.pack("i4x", HEADER_BYTES + len(body)) + body
