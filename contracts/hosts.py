"""What a list of allowed hosts may say: names, addresses and networks of the private kind that are trusted all the same."""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,250}[a-z0-9_])?")


def clean_host(text: str) -> str:
    """An entry as it is compared: `hooks.internal`, `*.internal`, `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.

    Raises ValueError with what was expected.
    """
    entry = text.strip().lower().rstrip(".").removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_network(entry) if "/" in entry else ipaddress.ip_address(entry))
    except ValueError:
        pass
    if "/" in entry or ":" in entry or re.fullmatch(r"[0-9.]+", entry) or not _NAME.fullmatch(entry):
        raise ValueError(
            "expected host names (hooks.internal, *.internal), addresses (10.0.0.7) or networks (10.0.0.0/8, its"
            " first address), separated by commas, without scheme, port or path"
        )
    return entry
