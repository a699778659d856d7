"""What `shitu batch` writes: the manifest and the answers of each part while it works, and one file at the end.

    OUT.work/manifest.jsonl     first the parameters and an id of this run, then a line for each photo, in order
    OUT.work/parts/00000012     the answers of one part, JSON lines, whole or not there

A run that was cut off resumes where it was: parts that are there are done, and the others are sent under the same
Idempotency-Key again, so that the service does not recognise them twice while it remembers them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from shitu.cli.batch_source import Photo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

Json = dict[str, Any]
PART_BYTES = 32 * 1024 * 1024  # of photos: half of what a service takes in a request
PARQUET_ROWS = 5000


@dataclass(frozen=True)
class Work:
    """An opened run: its folder, its id, its photos by parts."""

    folder: Path
    run: str
    parts: Sequence[Sequence[Photo]]

    @property
    def total(self) -> int:
        """How many photos there are."""
        return sum(map(len, self.parts))

    def part(self, number: int) -> Path:
        """Where the answers of a part are."""
        return self.folder / "parts" / f"{number:08}"

    def left(self) -> list[int]:
        """The parts without answers."""
        return [number for number in range(len(self.parts)) if not self.part(number).exists()]

    def keep(self, number: int, answers: Iterable[Json]) -> None:
        """Writes the answers of a part, whole."""
        text = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
        _write(self.part(number), text)

    def answers(self) -> Iterator[Json]:
        """All answers, in the order of the photos."""
        for number in range(len(self.parts)):
            with self.part(number).open(encoding="utf-8") as file:
                yield from map(json.loads, file)

    def close(self) -> None:
        """Removes what was written on the way."""
        shutil.rmtree(self.folder)


def open_work(out: Path, parameters: Json, photos: Iterable[Photo], per_part: int) -> Work:
    """The run that writes `out`: the one that was cut off if it has the same parameters, else a new one of `photos`.

    Raises click.ClickException if what was cut off was something else.
    """
    folder = out.with_name(f"{out.name}.work")
    manifest = folder / "manifest.jsonl"
    if not manifest.exists():
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        lines = [
            {**parameters, "run": secrets.token_hex(12)},
            *({"path": one.path, "size": one.size} for one in photos),
        ]
        _write(manifest, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    with manifest.open(encoding="utf-8") as file:
        head = json.loads(next(file))
        listed = [Photo(line["path"], line["size"]) for line in map(json.loads, file)]
    run = head.pop("run")
    if differing := sorted(name for name in parameters if head.get(name) != parameters[name]):
        raise click.ClickException(
            f"{folder} is of a run with another {', '.join(differing)}: finish that one with its own parameters, or delete the folder"
        )
    return Work(folder, run, _parts(listed, per_part))


def write_out(work: Work, out: Path) -> None:
    """All answers into one file, whole or not: Parquet where its name ends so, else JSON lines."""
    made = work.folder / "whole"
    if out.suffix == ".parquet":
        _write_parquet(work.answers(), made)
    else:
        with made.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(answer, ensure_ascii=False) + "\n" for answer in work.answers())
    made.replace(out)


def need_parquet() -> None:
    """Raises click.ClickException if pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise click.ClickException(
            "Parquet needs pyarrow: pip install 'shitu[parquet]', or name a file .ndjson"
        ) from None


def _write_parquet(answers: Iterator[Json], path: Path) -> None:
    """A row for each photo: path, status, its labels with their similarities, the error's code, and all as JSON."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            ("path", pa.string()),
            ("status", pa.string()),
            ("labels", pa.list_(pa.string())),
            ("similarities", pa.list_(pa.float32())),
            ("error", pa.string()),
            ("result", pa.string()),
        ]
    )
    with parquet.ParquetWriter(path, schema) as writer:
        rows: list[Json] = []
        for answer in answers:
            rows.append(_row(answer))
            if len(rows) == PARQUET_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(answer: Json) -> Json:
    found = (answer["result"] or {}).get("recognitions", ())
    return {
        "path": answer["path"],
        "status": answer["status"],
        "labels": [one["label"] for one in found],
        "similarities": [one.get("similarity") for one in found],
        "error": (answer["error"] or {}).get("code"),
        "result": None if answer["result"] is None else json.dumps(answer["result"], ensure_ascii=False),
    }


def _parts(photos: Sequence[Photo], per_part: int) -> list[list[Photo]]:
    """In order: at most `per_part` photos, and no more bytes than a request holds but for a single larger one."""
    parts: list[list[Photo]] = []
    size = 0
    for photo in photos:
        if not parts or len(parts[-1]) == per_part or size + photo.size > PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(photo)
        size += photo.size
    return parts


def _write(path: Path, text: str) -> None:
    made = path.with_name(f".{path.name}.{os.getpid()}")
    with made.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
