"""The keys of webhook endpoints: each has a secret (`v1`, HMAC-SHA256) and a key pair (`v1a`, ed25519) of its own.

Standard Webhooks 1.0.0 names them: `whsec_` the shared secret, `whsk_` the private and `whpk_` the public key, each
followed by base64. They are kept sealed by AES-256-GCM under a key that is derived (HKDF-SHA256) from the
installation's secret, bound to their endpoint's id: who reads Redis or its backups alone cannot sign. The secret is
shown once, the private key never.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from standardwebhooks import Webhook

from infra.errors.webhooks import WebhookKeysUnreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.jobs.endpoints import Endpoints

KEY_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
PURPOSE = b"shitu webhook endpoint keys"
NONCE_BYTES = 12


@dataclass(frozen=True)
class EndpointKeys:
    """What one endpoint's messages are signed with."""

    secret: str = field(repr=False)
    private_key: str = field(repr=False)
    public_key: str


def new_keys() -> EndpointKeys:
    """Fresh keys of an endpoint."""
    private = Ed25519PrivateKey.generate()
    return EndpointKeys(
        new_secret(),
        PRIVATE_PREFIX + _text(private.private_bytes_raw()),
        PUBLIC_PREFIX + _text(private.public_key().public_bytes_raw()),
    )


def new_secret() -> str:
    """A fresh signing secret of 32 random bytes."""
    return KEY_PREFIX + _text(secrets.token_bytes(32))


def sealed(installation: str, endpoint_id: str, keys: EndpointKeys) -> str:
    """The keys as they are kept. `installation`: the installation's secret, of several the first."""
    nonce = os.urandom(NONCE_BYTES)
    plain = json.dumps(asdict(keys)).encode()
    return _text(nonce + _cipher(installation.split(maxsplit=1)[0]).encrypt(nonce, plain, endpoint_id.encode()))


def unsealed(installation: str, endpoint_id: str, text: str) -> EndpointKeys:
    """The keys again, under any of the installation's secrets. Raises WebhookKeysUnreadable."""
    data = base64.b64decode(text)
    for secret in installation.split():
        try:
            plain = _cipher(secret).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], endpoint_id.encode())
        except InvalidTag:
            continue
        return EndpointKeys(**json.loads(plain))
    raise WebhookKeysUnreadable(
        f"The keys of {endpoint_id} were kept under another SHITU_WEBHOOKS__SECRET. Set that one too, after the new one,"
        " or rotate the webhook's secret."
    )


def reseal(endpoints: Endpoints, installation: str) -> list[str]:
    """Seals under the newest of the installation's secrets what an older one sealed, so that the older can be taken away.

    Returns the ids of the endpoints; those whose keys no secret opens are left as they are.
    """
    done = []
    newest = installation.split(maxsplit=1)[0]
    for endpoint in endpoints.all():
        for text in (endpoint.sealed_keys, endpoint.sealed_previous_keys):
            if text is None or _opens(newest, endpoint.id, text):
                continue
            with suppress(WebhookKeysUnreadable):
                keys = unsealed(installation, endpoint.id, text)
                endpoints.reseal(endpoint.id, text, sealed(newest, endpoint.id, keys))
                done.append(endpoint.id)
    return done


def _opens(installation: str, endpoint_id: str, text: str) -> bool:
    try:
        unsealed(installation, endpoint_id, text)
    except WebhookKeysUnreadable:
        return False
    return True


def sign_with(keys: Sequence[EndpointKeys], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message to an endpoint: of each of its keys a `v1` and a `v1a` signature."""
    moment, text = datetime.fromtimestamp(timestamp, UTC), body.decode()
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [Webhook(one.secret).sign(message_id, moment, text) for one in keys]
    for one in keys:
        private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(one.private_key.removeprefix(PRIVATE_PREFIX)))
        signatures.append(f"v1a,{_text(private.sign(signed))}")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _cipher(secret: str) -> AESGCM:
    master = base64.b64decode(secret.removeprefix(KEY_PREFIX))
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(master))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
