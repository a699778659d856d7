"""Events about jobs' ends: the types of events, and which of them a webhook endpoint wants."""

from __future__ import annotations

from contracts.jobs import JobKind

ENDS = ("succeeded", "failed", "canceled")
EVERYTHING = "*"
TEST = "webhook.test"


def event_types() -> list[str]:
    """All types of events about jobs: `recognition.succeeded`."""
    return [f"{kind}.{end}" for kind in JobKind for end in ENDS]


def event_filters() -> list[str]:
    """What an endpoint may ask for: types, all of a kind of job (`recognition.*`), everything (`*`)."""
    return [EVERYTHING, *(f"{kind}.*" for kind in JobKind), *event_types()]


def wants(filters: list[str] | tuple[str, ...], event_type: str) -> bool:
    """Whether an endpoint with these filters gets an event. The ledger's script has the same rule."""
    return bool({EVERYTHING, event_type, event_type.partition(".")[0] + ".*"} & set(filters))
