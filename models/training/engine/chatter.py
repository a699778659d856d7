"""Sends what converters print to standard error: standard output is for a command's own output."""

import contextlib
import os
import sys
from collections.abc import Iterator

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def chatter_on_stderr() -> Iterator[None]:
    """Within it, whatever this process prints goes to standard error, from Python and from libraries in C alike."""
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)
