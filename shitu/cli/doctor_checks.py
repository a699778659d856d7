"""What `shitu doctor` looks at on the machine itself, one function a check: each gives findings with what to do about them."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import platform
import re
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from infra.errors.service import ConfigurationError
from infra.runtime.machine import BASE_BYTES, JOB_BYTES, MIB, PHOTO_BYTES_A_PIXEL, planned, read_limits
from infra.stack.exposure import REMEDY, is_public, refuse_unprotected, report
from infra.stack.launcher import EVERYWHERE
from models.artifacts.folders import bundled, default_cache_dir, load_manifest, pulled, resolve, verify
from models.engines.loader import load_program
from models.errors import ModelError
from shitu.cli.settings import installed_engines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.runtime.settings import Settings

Status = Literal["ok", "warn", "fail"]
PYTHONS = ((3, 11), (3, 12))
PACKAGES = {"openvino": "openvino", "paddle": "paddlepaddle"}
LOW_BYTES, FULL_BYTES = 2 << 30, 200 << 20  # of disk space left
CPUINFO = Path("/proc/cpuinfo")
# Instruction sets that the engines make use of, as Linux names them, and for what.
SETS = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI (int8)", "avx_vnni": "AVX-VNNI (int8)",
    "avx512_bf16": "BF16", "amx_bf16": "AMX (bf16)", "amx_int8": "AMX (int8)",
    "asimd": "NEON", "asimddp": "dot product (int8)", "bf16": "BF16",
}  # fmt: skip
ANSWER_S = 3.0


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and where it is not ok what to do."""

    check: str
    status: Status
    detail: str
    remedy: str = ""


def check_python() -> Iterator[Finding]:
    """The interpreter and this project's own version."""
    version = importlib.metadata.version("shitu") if _is_installed("shitu") else "not installed, run from its folder"
    report = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}; ShiTu {version}"
    supported = sys.version_info[:2] in PYTHONS
    remedy = "" if supported else "take Python 3.11 or 3.12"
    yield Finding("python", "ok" if supported else "warn", report, remedy)


def check_cores() -> Iterator[Finding]:
    """How many cores may be used, and why so many."""
    limits = read_limits()
    yield Finding("cores", "ok", f"{limits.cores} ({limits.cores_reason})")


def check_memory(settings: Settings) -> Iterator[Finding]:
    """How much memory may be used, why, and how many jobs at a time it lasts for."""
    limits = read_limits()
    if limits.memory_bytes is None:
        yield Finding("memory", "warn", "nothing says how much there is", "set SHITU_WORKER__CONCURRENCY yourself")
        return
    plan = planned(settings)
    jobs = plan.concurrency
    report = f"{limits.memory_bytes // MIB} MiB ({limits.memory_reason}); a worker runs {jobs} jobs at a time ({plan.reason})"
    one = BASE_BYTES + JOB_BYTES + PHOTO_BYTES_A_PIXEL * settings.images.max_pixels
    less = f"more memory, or a smaller SHITU_IMAGES__MAX_PIXELS: a job with the largest photo takes {one // MIB} MiB"
    if limits.memory_bytes < one:
        yield Finding("memory", "fail", report, less)
    elif jobs < limits.cores and not settings.worker.concurrency:
        yield Finding("memory", "warn", report, f"{less}, so that not all cores are used")
    else:
        yield Finding("memory", "ok", report)


def check_instructions(cpuinfo: Path = CPUINFO) -> Iterator[Finding]:
    """Which of the instruction sets that speed inference up the processor has."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        yield Finding("instructions", "ok", f"{platform.machine()}; this system does not list them")
        return
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    known = [name for flag, name in SETS.items() if flag in flags]
    if "avx2" in flags or "asimd" in flags:
        yield Finding("instructions", "ok", ", ".join(known))
    else:
        remedy = "run it on a processor with AVX2 (since 2013), or show it to the virtual machine: it is several times faster"
        yield Finding("instructions", "warn", ", ".join(known) or "none that would speed inference up", remedy)


def check_engines(settings: Settings) -> Iterator[Finding]:
    """Which engines are installed, and whether the one that the settings want is."""
    here = installed_engines()
    wanted = settings.worker.engine
    report = ", ".join(f"{name} {importlib.metadata.version(PACKAGES[name])}" for name in here) or "none is installed"
    if wanted == "auto":
        ok, remedy = bool(here), "pip install openvino"
    else:
        ok, remedy = wanted in here, f"pip install {PACKAGES[wanted]}, or SHITU_WORKER__ENGINE=auto"
    yield Finding("engines", "ok" if ok else "fail", f"{report}; wanted: {wanted}", "" if ok else remedy)


def check_models(settings: Settings) -> Iterator[Finding]:
    """Whether the models that the workers load are there, unchanged, and run; and whether the other ones are unchanged."""
    worker = settings.worker
    served = {name: name for name in (worker.detector, worker.embedder, *worker.embedders) if name != "none"}
    for name in served:
        try:
            folder = resolve(name)
            manifest = load_manifest(folder)
            files = verify(folder) if manifest.files or manifest.official else ()
            program = load_program(folder, engine=worker.engine, precision=worker.precision)
            report = f"{name}: {len(files)} files verified; loads in {program.precision} ({manifest.task})"
            yield Finding("models", "ok", report)
        except ModelError as error:
            yield Finding("models", "fail", f"{name}: {error.detail} ({error.code})", _mend(name, error.code))
    for name in _others(served):
        try:
            files = verify(resolve(name))
            yield Finding("models", "ok", f"{name}: {len(files)} files verified; not loaded by the workers")
        except ModelError as error:
            yield Finding("models", "warn", f"{name}: {error.detail} ({error.code})", _mend(name, error.code))


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Whether there is room where data and pulled models are kept."""
    for what, folder in (("data", settings.data_dir), ("pulled models", default_cache_dir())):
        parent = nearest(folder)
        able = writable("disk", parent, "")
        if able.status != "ok":
            yield Finding("disk", "fail" if what == "data" else "warn", f"{what}: {able.detail}", able.remedy)
            continue
        free = shutil.disk_usage(parent).free
        report = f"{what}: {free / (1 << 30):.1f} GiB free at {folder}"
        status: Status = "fail" if free < FULL_BYTES else "warn" if free < LOW_BYTES else "ok"
        yield Finding("disk", status, report, "" if status == "ok" else "make room, or choose another SHITU_DATA_DIR")


def check_port(settings: Settings) -> Iterator[Finding]:
    """Whether the web front's port is free, or this service answers there already."""
    host, port = settings.web.host, settings.web.port
    if port == 0:
        yield Finding("port", "ok", "0: any free one")
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        socket.create_server((host, port), family=family).close()
        yield Finding("port", "ok", f"{where} is free")
    except (OSError, UnicodeError) as error:
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        if taken and _is_shitu(host, port):
            yield Finding("port", "ok", f"{where}: a ShiTu service answers there")
            return
        report = f"{where}: {getattr(error, 'strerror', None) or error}"
        yield Finding(
            "port",
            "warn",
            report,
            "another SHITU_WEB__PORT" if taken else "an address of this machine in SHITU_WEB__HOST",
        )


def check_keys(settings: Settings) -> Iterator[Finding]:
    """Whether others can reach the service, and whether they need a key."""
    required = settings.keys.required
    try:
        refuse_unprotected(settings)
    except ConfigurationError:
        yield Finding("keys", "fail", report(settings.web.host), REMEDY)
        return
    if required is False and is_public(settings.web.host):
        yield Finding(
            "keys", "warn", "everybody who reaches the service may do everything", "SHITU_KEYS__REQUIRED=true"
        )
        return
    yield Finding("keys", "ok", "required" if required else "not required; only this machine reaches the service")


def _is_installed(package: str) -> bool:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version(package)
        return True
    return False


def _others(served: dict[str, str]) -> list[str]:
    """The bundled and pulled models that the workers do not load."""
    from models.artifacts.download import OFFICIAL

    names = list(bundled())
    for name in OFFICIAL:
        try:
            if pulled(name, default_cache_dir()) is not None:
                names.append(name)
        except ModelError:
            names.append(name)
    return [name for name in names if name not in served]


def _mend(name: str, code: str) -> str:
    from models.artifacts.download import OFFICIAL

    if name in OFFICIAL:
        return f"shitu models pull {name}"
    if name in bundled():
        return "install ShiTu again: its own model was changed"
    if code in {"engine_not_installed", "program_missing"}:
        return "SHITU_WORKER__ENGINE=auto, or export the model again in a format that an installed engine reads"
    return "correct SHITU_WORKER__DETECTOR or SHITU_WORKER__EMBEDDER; `shitu models list` names what is here"


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def writable(check: str, folder: Path, report: str) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding(check, "ok", report)
    except OSError as error:
        return Finding(
            check,
            "fail",
            f"cannot write in {folder} ({error.strerror})",
            "another SHITU_DATA_DIR, or the right to write there",
        )


def _is_shitu(host: str, port: int) -> bool:
    where = EVERYWHERE.get(host, host)
    url = f"http://{f'[{where}]' if ':' in where else where}:{port}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            return b'"status"' in answer.read(200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
