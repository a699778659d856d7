"""What is signed verifies with either key; whatever was changed does not."""

from __future__ import annotations

import time

import pytest
from standardwebhooks import Webhook

from contracts.webhook_signatures import WebhookSignatureError, verify_webhook
from infra.net.webhook_keys import new_keys, new_secret, sign_with
from infra.net.webhooks import sign

BODY = '{"type":"x","data":{"label":"ジュース"}}'.encode()
KEYS, OLD = new_keys(), new_keys()
NOW = 1_795_700_000  # of the messages below, and of their check: the run may be longer than a message is fresh
HEADERS = sign_with([KEYS, OLD], "msg_1", NOW, BODY)


@pytest.mark.parametrize(
    "key", [KEYS.secret, KEYS.public_key, OLD.secret, OLD.public_key], ids=["v1", "v1a", "old v1", "old v1a"]
)
def test_each_key_verifies(key: str) -> None:
    assert verify_webhook(BODY, HEADERS, key, now=NOW)["type"] == "x"
    capital = {name.title(): value for name, value in HEADERS.items()}
    assert verify_webhook(BODY, capital, [new_secret(), new_keys().public_key, key], now=NOW)["type"] == "x"


def test_what_the_installation_signs_verifies_too() -> None:
    secret = new_secret()
    headers = sign(secret, "msg_1", int(time.time()), BODY)
    assert verify_webhook(BODY, headers, secret) == Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize("key", [KEYS.secret, KEYS.public_key], ids=["v1", "v1a"])
@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b" ", {}),
        (BODY, {"webhook-id": "msg_2"}),
        (BODY, {"webhook-timestamp": str(NOW - 1)}),
        (BODY, {"webhook-timestamp": str(NOW - 301)}),
        (BODY, {"webhook-timestamp": str(NOW + 301)}),
        (BODY, {"webhook-timestamp": "now"}),
        (BODY, {"webhook-timestamp": "٣"}),
        (BODY, {"webhook-signature": ""}),
        (BODY, {"webhook-signature": "v1,ü v1a,AAAA v1a,*** v2," + "A" * 44}),
        (BODY, {"webhook-signature": HEADERS["webhook-signature"].replace("v1a,", "v3,").replace("v1,", "v2,")}),
    ],
)
def test_whatever_was_changed_does_not_verify(key: str, body: bytes, changed: dict[str, str]) -> None:
    with pytest.raises(WebhookSignatureError):
        verify_webhook(body, HEADERS | changed, key, now=NOW)


def test_missing_headers_other_keys_and_no_keys() -> None:
    for missing in HEADERS:
        with pytest.raises(WebhookSignatureError, match=missing):
            verify_webhook(
                BODY, {name: value for name, value in HEADERS.items() if name != missing}, KEYS.secret, now=NOW
            )
    for keys in (new_secret(), new_keys().public_key, []):
        with pytest.raises(WebhookSignatureError):
            verify_webhook(BODY, HEADERS, keys, now=NOW)
    for wrong in ("secret", "whpk_AAAA", "whsec_*", KEYS.private_key):
        with pytest.raises(ValueError, match="expected whsec_ or whpk_"):
            verify_webhook(BODY, HEADERS, wrong, now=NOW)
