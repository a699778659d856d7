"""Keeps compiled programs, so that a process starts without compiling them: a third of a second of each network's load.

A compiled program is only for the machine code of one processor and one OpenVINO: both are in its name, with all that was
compiled. A file is written whole or not at all and holds its own checksum, so that a process that dies over it, a full disk or
a damaged file cost a compilation and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from models.pdmodel.program_desc import TensorSpec

KEPT = 24  # of all models together; those used longest ago go
CPU_FLAGS = Path("/proc/cpuinfo")
Ports = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def cache_folder() -> Path:
    """`shitu/compiled` in the user's cache folder, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "shitu" / "compiled"


def cache_key(parts: list[bytes | str]) -> str:
    """The name of what is compiled of these: the program's bytes, the settings, the engine's version, the processor."""
    summed = hashlib.sha256()
    for part in (*parts, processor()):
        data = part.encode() if isinstance(part, str) else part
        summed.update(len(data).to_bytes(8, "big"))
        summed.update(data)
    return summed.hexdigest()


def processor(flags_of: Path = CPU_FLAGS) -> str:
    """The model and the instructions of this processor; the empty text where the system does not say."""
    try:
        lines = flags_of.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU implementer", "CPU part", "Features")
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in wanted:
            found.setdefault(name.strip(), value.strip())
    return json.dumps(found, sort_keys=True)


def load(key: str, folder: Path | None = None) -> tuple[Ports, bytes] | None:
    """What `keep` was given, or None: it is not there, or damaged."""
    try:
        file = (folder or cache_folder()) / key
        head, _, blob = file.read_bytes().partition(b"\n")
        record = json.loads(head)
        if record["sha256"] != hashlib.sha256(blob).hexdigest():
            return None
        ports = tuple(
            tuple(TensorSpec(str(name), tuple(shape)) for name, shape in record[side]) for side in ("inputs", "outputs")
        )
        with contextlib.suppress(OSError):
            os.utime(file)
        return (ports[0], ports[1]), blob
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):  # RuntimeError: there is no home folder
        return None


def keep(key: str, ports: Ports, blob: bytes, folder: Path | None = None) -> None:
    """Keeps a compiled program; where that cannot be, nothing happens."""
    record: dict[str, Any] = {"sha256": hashlib.sha256(blob).hexdigest()}
    for side, specs in zip(("inputs", "outputs"), ports, strict=True):
        record[side] = [[spec.name, list(spec.shape)] for spec in specs]
    with contextlib.suppress(OSError, RuntimeError):
        place = folder or cache_folder()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = place / f".{secrets.token_hex(8)}.part"
        try:
            part.write_bytes(json.dumps(record).encode() + b"\n" + blob)
            part.replace(place / key)
        finally:
            part.unlink(missing_ok=True)
        _forget_oldest(place)


def _forget_oldest(folder: Path) -> None:
    files = sorted(
        (file for file in folder.iterdir() if not file.name.startswith(".")), key=lambda f: f.stat().st_mtime
    )
    for file in files[:-KEPT]:
        file.unlink(missing_ok=True)
