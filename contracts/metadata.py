"""What users attach to jobs and items: a few short strings by name, kept and given back, never looked into."""

from __future__ import annotations

import re
from collections.abc import Mapping

Metadata = dict[str, str]

MAX_ENTRIES = 32
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 500
KEY = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_KEY_CHARS}}}")
RULE = (
    f"at most {MAX_ENTRIES} entries; names of 1 to {MAX_KEY_CHARS} letters, digits, '_', '.' and '-'; "
    f"values are strings of at most {MAX_VALUE_CHARS} characters"
)


def mistakes(metadata: Mapping[object, object]) -> dict[str, str]:
    """What breaks the rule, by the entry's name ("" for the whole); empty if nothing does."""
    found: dict[str, str] = {}
    if len(metadata) > MAX_ENTRIES:
        found[""] = f"at most {MAX_ENTRIES} entries are allowed, not {len(metadata)}"
    for key, value in metadata.items():
        name = str(key)
        if not isinstance(key, str) or not KEY.fullmatch(key):
            found[name[:MAX_KEY_CHARS]] = f"a name has 1 to {MAX_KEY_CHARS} letters, digits, '_', '.' and '-'"
        elif not isinstance(value, str):
            found[name] = "a value must be a string"
        elif len(value) > MAX_VALUE_CHARS:
            found[name] = f"a value has at most {MAX_VALUE_CHARS} characters; this has {len(value)}"
        elif "\x00" in value:
            found[name] = "a value must have no U+0000"
    return found
