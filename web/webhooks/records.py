"""What is sent to and answered by the routes of webhook endpoints, their deliveries and the feed of events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from contracts.events import EVERYTHING, event_filters
from contracts.jobs import DeliveryStatus, described
from web.requests.members import Strict

DAY_S = 86_400.0
LONGEST_OVERLAP_S = 30 * DAY_S
STATUSES: tuple[DeliveryStatus, ...] = ("pending", "delivered", "failed", "disabled", "stopped")


def _event_filter(text: str) -> str:
    known = event_filters()
    if text not in known:
        raise ValueError(f"there is no event {text!r}; expected one of {', '.join(known)}")
    return text


EventFilter = Annotated[str, AfterValidator(_event_filter), Field(json_schema_extra={"enum": [*event_filters()]})]
Filters = Annotated[list[EventFilter], Field(min_length=1, max_length=50)]
Description = Annotated[str, Field(max_length=200)]
Moment = Annotated[AwareDatetime, Field(strict=False)]


class WebhookRequest(Strict):
    """An endpoint to register."""

    url: str = Field(min_length=1, description="An http or https URL that takes signed POSTs.")
    events: Filters = Field([EVERYTHING], description="Types of events, all of a kind (`recognition.*`), or all (`*`).")
    description: Description = Field("", description="For people.")
    enabled: bool = True


class WebhookChanges(Strict):
    """What is to be changed of an endpoint; what is left out stays. Enabling forgets why it was disabled."""

    url: str = Field("", min_length=1)
    events: Filters = Field([EVERYTHING])
    description: Description = ""
    enabled: bool = True


class RotateRequest(Strict):
    """How new keys take over."""

    overlap_s: float = Field(
        DAY_S,
        ge=0,
        le=LONGEST_OVERLAP_S,
        description="Seconds for which the keys before sign too; 0: they are known to others, and end at once.",
    )


class ReplayRequest(Strict):
    """Which messages of an endpoint are sent again."""

    since: Moment = Field(description="The earliest time of their events' messages.")
    until: Moment | None = Field(None, description="The time before which they are; default: now.")
    only: Literal["failed", "all", "missing"] = Field(
        "failed",
        description="`failed`: given up or disabled; `all`: whatever was sent; `missing`: events that were never sent to it.",
    )


class DeliveriesQuery(BaseModel):
    """The query of a page of deliveries; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: DeliveryStatus | None = Field(None, description="Only those of this status.")
    limit: int = Field(50, ge=1, le=200, description="Deliveries in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")


class EventsQuery(BaseModel):
    """The query of the feed; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: str | None = Field(
        None, description="The `next_after` of the page before, or an event's `cursor`; `latest`: only what is new."
    )
    limit: int = Field(100, ge=1, le=500, description="Events in one page.")


class WebhookLinks(TypedDict):
    """Where to go from an endpoint."""

    self: str
    deliveries: str
    test: str
    rotate: str


@described
class Disabled(TypedDict):
    """Why an endpoint gets no messages, and since when."""

    reason: Literal["by_request", "gone", "failing"]
    """`gone`: it answered 410; `failing`: for days it took nothing."""
    at: str


@described
class PreviousKeys(TypedDict):
    """The keys before the last rotation, while they sign too."""

    public_key: str
    valid_until: str


@described
class RegisteredWebhook(TypedDict):
    """A registered endpoint."""

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled: Disabled | None
    failing_since: str | None
    """The first failure since a message was taken."""
    failures: int
    public_key: str
    """Verifies `v1a` signatures (ed25519): `whpk_` and base64."""
    previous_keys: PreviousKeys | None
    created_at: str
    updated_at: str
    links: WebhookLinks


@described
class WebhookWithSecret(RegisteredWebhook):
    """An endpoint with its new secret, which is not shown again."""

    secret: str
    """Verifies `v1` signatures (HMAC-SHA256): `whsec_` and base64."""


@described
class WebhookList(TypedDict):
    """All endpoints, the oldest first."""

    webhooks: list[RegisteredWebhook]


class DeliveryLinks(TypedDict):
    """Where to go from a delivery."""

    self: str
    replay: str
    stop: str


@described
class Delivery(TypedDict):
    """A message to one receiver: how far it has come."""

    id: str
    webhook_id: str | None
    """The endpoint; null: it goes to the webhook of its own job."""
    event_id: str | None
    """The `webhook-id` header: the same for all messages about one event."""
    type: str | None
    job_id: str | None
    url: str
    status: DeliveryStatus
    attempts: int
    created_at: str
    next_at: str | None
    """When it is tried next."""
    last_status: int | None
    last_error: str | None
    links: DeliveryLinks


@described
class Attempt(TypedDict):
    """One attempt, and what the receiver answered."""

    at: str
    attempt: int
    status: int | None
    error: str | None
    answer: str | None
    """The beginning of the answer's body, 1024 characters at most."""
    duration_ms: float | None


@described
class DeliveryWithLog(Delivery):
    """A delivery with what is sent and what was answered, the last 50 attempts."""

    body: dict[str, Any] | None
    """What is sent, signed; null if its job was removed."""
    log: list[Attempt]


@described
class DeliveryPage(TypedDict):
    """Deliveries, the latest first; `next_after` is the `after` of the next page, null on the last."""

    deliveries: list[Delivery]
    next_after: str | None


@described
class Replayed(TypedDict):
    """How many messages are sent again."""

    replayed: int
    more: bool
    """Whether there are others: repeat the request, with `next_until` as `until` if that is given."""
    next_until: str | None


@described
class FeedEvent(TypedDict):
    """What happened, in the words of the webhooks' body."""

    id: str
    """The `webhook-id` of messages about it."""
    cursor: str
    type: str
    timestamp: str
    data: dict[str, Any]


@described
class EventPage(TypedDict):
    """Events in their order; `next_after` is the cursor after them."""

    events: list[FeedEvent]
    next_after: str
    more: bool
    """Whether others follow already."""
