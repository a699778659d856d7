"""Several hosts on one machine: network namespaces, each with a link to the core, which can be cut, slowed and joined again.

The kernel does what cables do: nobody closes a connection for a host whose link is cut. A namespace lives as long as the
process that holds it, and its links with it, so that a killed test leaves nothing. Needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.stack.supervisor import bind

if TYPE_CHECKING:
    from collections.abc import Iterator

CORE_ADDRESS = "10.213.0.1"  # of the core, whichever link leads to it
CLONE_NEWNET = 0x40000000
# Holds the namespaces; its own name is the host's, as programs there see it.
HOLD = 'echo "$1" > /proc/sys/kernel/hostname && ip link set lo up && echo ready && exec sleep infinity'


@dataclass(frozen=True)
class Host:
    """A network and a host name of their own, for the processes whose command begins with `words()`."""

    name: str
    number: int  # of its link to the core: 10.213.number.0/30
    holder: int  # the process that holds the namespaces

    def words(self) -> tuple[str, ...]:
        """Before a command: runs it on this host, as the process that was started (nsenter becomes it)."""
        return ("nsenter", "--target", str(self.holder), "--net", "--uts", "--")

    def run(self, *command: str) -> None:
        """Runs a command of the system there. Raises CalledProcessError."""
        subprocess.run([*self.words(), *command], check=True, capture_output=True, timeout=10)


class Network:
    """A core and its hosts. `why_not` says why there can be none here; `inside` brings the calling thread into the core."""

    def __init__(self, *names: str) -> None:
        """Raises OSError or CalledProcessError where the kernel or its keeper refuses."""
        self._holders: list[subprocess.Popen[str]] = []
        try:
            self.core = self._hold("core", 0)
            self.core.run("ip", "address", "add", f"{CORE_ADDRESS}/32", "dev", "lo")
            self.hosts = {name: self._linked(name, number) for number, name in enumerate(names, 1)}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the namespaces; what still runs there keeps its own until it ends."""
        for holder in self._holders:
            holder.kill()
            holder.wait(10)
            if holder.stdout:
                holder.stdout.close()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread's sockets, and the threads and processes that it starts, are the core's meanwhile."""
        own = f"/proc/self/task/{threading.get_native_id()}/ns/net"  # a namespace is a thread's own
        with Path(own).open("rb") as before, Path(f"/proc/{self.core.holder}/ns/net").open("rb") as core:
            _enter(core.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cut(self, host: Host) -> None:
        """Takes the core's end of the host's link down: the host sees no carrier, and no packet passes."""
        self.core.run("ip", "link", "set", _link(host), "down")

    def join(self, host: Host) -> None:
        """Undoes `cut`. TCP goes on by itself with its next retransmission."""
        self.core.run("ip", "link", "set", _link(host), "up")

    def deafen(self, host: Host) -> None:
        """Drops what the core sends to the host; what the host sends still arrives."""
        self.core.run("ip", "route", "add", "blackhole", f"{_address(host)}/32")

    def undeafen(self, host: Host) -> None:
        """Undoes `deafen`."""
        self.core.run("ip", "route", "delete", "blackhole", f"{_address(host)}/32")

    def slow(self, host: Host, kbit_per_s: int) -> None:
        """What the core sends to the host passes at this rate; up to 0.2 s of it waits in line, the rest is dropped."""
        rate = ("rate", f"{kbit_per_s}kbit", "burst", "4kb", "latency", "200ms")
        self.core.run("tc", "qdisc", "replace", "dev", _link(host), "root", "tbf", *rate)

    def unslow(self, host: Host) -> None:
        """Undoes `slow`."""
        self.core.run("tc", "qdisc", "delete", "dev", _link(host), "root")

    def _linked(self, name: str, number: int) -> Host:
        host = self._hold(name, number)
        peer = ("peer", "name", "uplink", "netns", str(host.holder))
        self.core.run("ip", "link", "add", _link(host), "type", "veth", *peer)
        self.core.run("ip", "address", "add", f"10.213.{number}.1/30", "dev", _link(host))
        self.core.run("ip", "link", "set", _link(host), "up")
        host.run("ip", "address", "add", f"{_address(host)}/30", "dev", "uplink")
        host.run("ip", "link", "set", "uplink", "up")
        host.run("ip", "route", "add", "default", "via", f"10.213.{number}.1")
        return host

    def _hold(self, name: str, number: int) -> Host:
        command = ("unshare", "--net", "--uts", "sh", "-c", HOLD, "sh", name)
        holder = subprocess.Popen(bind(command), stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._holders.append(holder)
        said = holder.stdout.readline() if holder.stdout else ""
        if said != "ready\n":
            raise OSError(f"no network namespace for {name}")
        return Host(name, number, holder.pid)


def why_not() -> str | None:
    """Why there are no such hosts on this machine; None: there are. Tries it, for containers differ in what they permit."""
    missing = [name for name in ("unshare", "nsenter", "ip", "tc") if shutil.which(name) is None]
    if missing or os.name != "posix" or os.getuid() != 0:
        return f"hosts of their own need root and {', '.join(missing) or 'network namespaces'}"
    try:
        network = Network("probe")
    except (OSError, subprocess.SubprocessError) as error:
        report = getattr(error, "stderr", b"") or str(error).encode()
        return f"network namespaces are not permitted here: {report.decode(errors='replace').strip()}"
    try:
        network.slow(network.hosts["probe"], 1000)
        with network.inside():
            pass
    except (OSError, subprocess.SubprocessError) as error:
        return f"links of such hosts cannot be slowed, or the core not be entered: {error}"
    finally:
        network.close()
    return None


def freeze(pid: int) -> None:
    """Stops all threads of the process that leads this session."""
    os.killpg(pid, signal.SIGSTOP)


def thaw(pid: int) -> None:
    """Undoes `freeze`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGCONT)


def _link(host: Host) -> str:
    """The core's end."""
    return f"to-{host.name}"


def _address(host: Host) -> str:
    return f"10.213.{host.number}.2"


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
