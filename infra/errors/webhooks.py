"""Webhook messages, endpoints and events. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from contracts.errors import ServiceError


class DeliveryNotFound(ServiceError):
    """No webhook delivery has this id."""

    code = "delivery_not_found"
    title = "No such delivery"
    http_status = 404


class DeliveryFinished(ServiceError):
    """The webhook delivery is not pending any more, so that it cannot be stopped."""

    code = "delivery_finished"
    title = "Delivery already finished"
    http_status = 409


class EventsExpired(ServiceError):
    """The feed does not have all events after the cursor any more; `oldest` in `extra` is the cursor to resume from."""

    code = "events_expired"
    title = "Events expired"
    http_status = 410


class WebhookNotFound(ServiceError):
    """No webhook endpoint has this id."""

    code = "webhook_not_found"
    title = "No such webhook"
    http_status = 404


class WebhookDisabled(ServiceError):
    """The webhook endpoint is disabled, so that nothing can be sent to it again."""

    code = "webhook_disabled"
    title = "Webhook disabled"
    http_status = 409


class TooManyWebhooks(ServiceError):
    """As many webhook endpoints are registered as there may be."""

    code = "too_many_webhooks"
    title = "Too many webhooks"
    http_status = 409


class WebhookKeysUnreadable(ServiceError):
    """The keys of a webhook endpoint were stored under another SHITU_WEBHOOKS__SECRET."""

    code = "webhook_keys_unreadable"
    title = "Webhook keys unreadable"
