"""API keys as everybody speaks of them: their scopes, their form, and the rule for their names. Without I/O.

A key is `shitu_`, 12 characters that find its record, `_`, and 52 that prove it: 256 random bits. Its id is `key_` and the
12 characters, so that whoever sees a key in a file knows which one to revoke.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # as in all ids
FINDER_CHARS = 12
PROOF_CHARS = 52
TOKEN = re.compile(rf"shitu_([{ALPHABET}]{{{FINDER_CHARS}}})_([{ALPHABET}]{{{PROOF_CHARS}}})")
KEY_ID = re.compile(rf"key_[{ALPHABET}]{{{FINDER_CHARS}}}")
MAX_NAME_CHARS = 100


class Scope(StrEnum):
    """What a key may do. Each includes those before it: who recognises may look at the answers."""

    READ = "read"
    RECOGNIZE = "recognize"
    MANAGE = "manage"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        """Whether a key of this scope may do what asks for `other`."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


def allows(held: Iterable[Scope], wanted: Scope) -> bool:
    """Whether a key with the scopes `held` may do what asks for `wanted`."""
    return any(scope.includes(wanted) for scope in held)


def clean_key_name(text: str) -> str:
    """`text` as a key's name, trimmed. Raises ValueError with what is wrong."""
    name = text.strip()
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise ValueError(f"a key's name has 1 to {MAX_NAME_CHARS} visible characters")
    return name
