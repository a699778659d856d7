"""Runs a command that ends when the process that started it does, even by kill -9: `bound.py PID SIGNAL COMMAND…`.

PID is the starter's. Linux sends SIGNAL (a number) to the process when its starting thread ends (prctl's
PR_SET_PDEATHSIG, which an exec keeps); elsewhere the command just runs. A wrapper and not a `preexec_fn`, which may
deadlock in a program with threads. It imports nothing of the project: it runs as a file, isolated, in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Becomes the command."""
    starter, signal_number, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != starter:  # it died before the line above: nobody is left who would stop this process
            os._exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a shell would be one process too many
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
