"""Verifies the signatures of webhook messages (Standard Webhooks 1.0.0), for whoever receives them.

`v1` with the shared secret (`whsec_…`, HMAC-SHA256), `v1a` with the public key (`whpk_…`, ed25519).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

TOLERANCE_S = 300.0
SECRET, PUBLIC = "whsec_", "whpk_"


class WebhookSignatureError(ValueError):
    """The message is not from who holds the key, was changed, or is too old; the text says which."""


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    keys: str | Iterable[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> dict[str, Any]:
    """The message `{"type", "timestamp", "data"}`, if one of `keys` signed exactly this `body`.

    `keys`: `whsec_…` secrets and `whpk_…` public keys that are known to be the endpoint's; never take one from the request.
    `headers` in any case. Messages may come twice: keep the header `webhook-id`, which stays the same. Raises
    WebhookSignatureError, and ValueError for a key that is none.
    """
    named = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (named[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise WebhookSignatureError(f"The header {missing.args[0]} is missing.") from None
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 16):
        raise WebhookSignatureError("The header webhook-timestamp is no number of seconds.")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance_s:
        raise WebhookSignatureError(f"The message is more than {tolerance_s:g} s old, or from the future.")
    signed = f"{message_id}.{timestamp}.".encode() + body
    sent = [signature.partition(",")[::2] for signature in signatures.split()]
    known = [keys] if isinstance(keys, str) else list(keys)
    if not any(_signed(key, signed, sent) for key in known):
        raise WebhookSignatureError("No signature of the message is by a known key.")
    found: dict[str, Any] = json.loads(body)
    return found


def _signed(key: str, signed: bytes, sent: list[tuple[str, str]]) -> bool:
    raw = _raw(key)
    if key.startswith(SECRET):
        wanted = base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
        return any(version == "v1" and hmac.compare_digest(wanted.encode(), text.encode()) for version, text in sent)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = Ed25519PublicKey.from_public_bytes(raw)
    for version, text in sent:
        if version == "v1a":
            try:
                public.verify(base64.b64decode(text, validate=True), signed)
            except (InvalidSignature, ValueError):
                continue
            return True
    return False


def _raw(key: str) -> bytes:
    for prefix in (SECRET, PUBLIC):
        if key.startswith(prefix):
            try:
                raw = base64.b64decode(key.removeprefix(prefix), validate=True)
            except binascii.Error:
                break
            if prefix == SECRET or len(raw) == 32:
                return raw
    raise ValueError("expected whsec_ or whpk_ followed by base64")
