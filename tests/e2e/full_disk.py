"""A small file system of its own that a test can fill: ext4 on a loop device, else tmpfs; both need root's right to mount."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE_MIB = 64
PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Disk:
    """`kind` says what it is; `folder` is its root."""

    kind: str
    folder: Path

    def fill(self) -> None:
        """Leaves not one byte."""
        with (self.folder / "ballast").open("ab", buffering=0) as file:
            for piece in (PIECE_BYTES, 512, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * piece) == piece:
                        pass

    def free(self) -> None:
        """Room again."""
        (self.folder / "ballast").unlink()

    def refuse_writes(self) -> None:
        """Read-only from now on; no file may be open for writing."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def allow_writes(self) -> None:
        """As before."""
        subprocess.run(["mount", "-o", "remount,rw", str(self.folder)], check=True)


@contextlib.contextmanager
def small_disk(scratch: Path) -> Iterator[Disk]:
    """The best kind that this machine allows; skips the test where nothing can be mounted."""
    folder, image = scratch / "disk", scratch / "disk.img"
    folder.mkdir()
    kind = None
    if shutil.which("mkfs.ext4"):
        with image.open("wb") as file:
            os.truncate(file.fileno(), SIZE_MIB << 20)
        made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, check=False).returncode == 0
        if made and _mounts("-o", "loop", str(image), str(folder)):
            kind = "ext4"
    if kind is None and _mounts("-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)):
        kind = "tmpfs"
    if kind is None:
        pytest.skip("no file system can be mounted here: not root")
    try:
        yield Disk(kind, folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def _mounts(*arguments: str) -> bool:
    mount = shutil.which("mount")
    return mount is not None and subprocess.run([mount, *arguments], capture_output=True, check=False).returncode == 0
