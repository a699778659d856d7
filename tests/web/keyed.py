"""An application that requires keys, and keys for it."""

from __future__ import annotations

from dataclasses import replace

from flask import Flask

from contracts.keys import Scope
from infra.keys.store import Limits
from infra.runtime.settings import Settings
from web.services import EXTENSION, Services


def with_keys(settings: Settings, **changes: object) -> Settings:
    """`settings` with keys required, and these changes to the settings of keys."""
    return replace(settings, keys=replace(settings.keys, required=True, **changes))


def bearer(app: Flask, scope: str, limits: Limits | None = None, name: str = "test") -> dict[str, str]:
    """The header of a new key with this scope."""
    services = app.extensions[EXTENSION]
    assert isinstance(services, Services)
    _, token = services.keys.create(name, [Scope(scope)], limits=limits)
    return {"Authorization": f"Bearer {token}"}
