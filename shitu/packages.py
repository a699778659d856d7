"""Makes sure that `models`, `web` and the like are ShiTu's own packages: importing this module is the check.

Their names are common words, and Python takes whichever folder comes first on its path: a user's own `models/` next to a
script, or in the folder that a command is started in. In a process of ours (`shitu`, celery, gunicorn, `python -m`) the
path is put right. In a process of somebody else it is not ours to change: ImportError says what stands in the way.
Entry points import this before anything else of the project, so it may import nothing of it. Importing `shitu` imports it
first, and its own name is not a common word: it is the one module of `shitu` that others may import.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

OWN = ("contracts", "infra", "models", "web", "worker")
ROOT = Path(__file__).resolve().parents[1]
SERVERS = {"celery", "gunicorn"}
APP_LOAD_ERROR = 4  # gunicorn's exit code for it: with another one it starts its worker again without end


def foreign() -> tuple[str, Path] | None:
    """The first name under which Python finds another package than ours, and where; None if all are ours."""
    for name in OWN:
        place = _place(name)
        if place is not None and place != ROOT / name:
            return name, place
    return None


def require_own() -> None:
    """Puts the path right where the process is ours. Raises ImportError or SystemExit with one sentence if they are not found."""
    program = _program()
    if program is not None and foreign() is not None:
        _prefer_own()
    found = foreign()
    if found is None:
        return
    name, place = found
    sentence = (
        f"ShiTu needs its own package {name!r}, but Python finds {str(place)!r} first: "
        "rename that one, or start from another folder."
    )
    if program is None:
        raise ImportError(sentence)
    print(sentence, file=sys.stderr)
    raise SystemExit(APP_LOAD_ERROR if program == "gunicorn" else 1)


def _place(name: str) -> Path | None:
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(name)
    if spec is None:
        return None
    if spec.origin is not None and spec.has_location:
        file = Path(spec.origin).resolve()
        return file.parent if file.name == "__init__.py" else file
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0]).resolve() if folders else None


def _program() -> str | None:
    """The name of the program that this process runs, if it runs for ShiTu alone."""
    if sys.argv[:1] == ["-m"]:  # `python -m shitu`: the package is imported before the path of __main__ is known
        word = sys.orig_argv[len(sys.orig_argv) - len(sys.argv)]
        module = re.sub(r"^-[A-Za-z]*?m", "", word)
        return "shitu" if module == "shitu" or module.startswith("shitu.") else None
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.stem == "__main__" else path.stem
    if name in SERVERS or name == "shitu":
        return name
    return name if any(path.resolve().is_relative_to(ROOT / own) for own in (*OWN, "shitu")) else None


def _prefer_own() -> None:
    """Moves what stands before our packages after them; it stays within reach for what else is in it."""
    shadowing = [entry for entry in sys.path if _shadows(entry)]
    others = [entry for entry in sys.path if entry not in shadowing]
    if not any(Path(entry).resolve() == ROOT for entry in others):
        others.append(str(ROOT))
    sys.path[:] = [*others, *shadowing]
    importlib.invalidate_caches()


def _shadows(entry: str) -> bool:
    folder = Path(entry).resolve()  # an empty entry is the working folder
    return folder != ROOT and any((folder / name).is_dir() or (folder / f"{name}.py").is_file() for name in OWN)


require_own()
