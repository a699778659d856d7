"""What converters print, by Python or below it, leaves standard output alone; afterwards printing is as before."""

import subprocess
import sys


def test_only_what_comes_before_and_after_is_on_standard_output() -> None:
    script = (
        "import os\nfrom models.training.engine.chatter import chatter_on_stderr\nprint('before')\n"
        "try:\n with chatter_on_stderr():\n  print('python')\n  os.write(1, b'below\\n')\n  raise KeyError\n"
        "except KeyError:\n print('after', flush=True)\nos.write(1, b'below, after\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "before\nafter\nbelow, after\n"
    assert sorted(done.stderr.split()) == ["below", "python"]
