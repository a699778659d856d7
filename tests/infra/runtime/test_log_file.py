"""A log file on disks that do not take it: its writer continues, and the file says what is missing once it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.runtime.log_file import LogFile

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_full_disk_does_not_take_is_counted_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    path.parent.mkdir()
    path.symlink_to("/dev/full")  # every write: no space left on device
    with LogFile(path, 1000) as log:
        for _ in range(3):
            log.write(b"lost\n")
        path.unlink()  # room again
        log.write(b"kept\n")
    assert path.read_bytes() == b"--- 3 lines could not be written here ---\nkept\n"


def test_a_folder_that_cannot_be_made_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with LogFile(tmp_path / "logs" / "web.log", 1000) as log:
        log.write(b"lost\n")
        (tmp_path / "logs").unlink()
        log.write(b"kept\n")
    assert (tmp_path / "logs" / "web.log").read_bytes().endswith(b"kept\n")


def test_a_long_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    with LogFile(path, 10) as log:
        for number in range(5):
            log.write(b"line %d\n" % number)
    assert path.read_bytes() == b"line 4\n"
    assert path.with_suffix(".old.log").read_bytes() == b"line 2\nline 3\n"
