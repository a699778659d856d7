"""Celery's connection to Redis, with what it lacks when the network goes away and comes back without closing anything.

An acknowledgement that Redis does not hear is only logged by Celery, and its message counts as being worked on from then on:
with one message at a time, as here, the consumer lives and takes nothing more. Here its place is free again. The message
itself comes back after its visibility timeout, and the ledger refuses it, for its job has ended or another worker has it.
"""

from __future__ import annotations

import socket
from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis, virtual

AMQP_NAME = "infra.jobs.broker:LedgerAMQP"  # a name, for a pool's children import it
# A consumer that waits sends nothing. Without these the kernel asks after two hours whether its server is still there,
# and repeats for a quarter of an hour what is not confirmed. In seconds but for the last, in milliseconds.
KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 30_000}


def keepalive_options() -> dict[int, int]:
    """KEEPALIVE as setsockopt takes it; what the system does not know is left out."""
    return {getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)}


class QoS(redis.QoS):  # type: ignore[misc]  # untyped there
    """Counts the messages that are being worked on."""

    def ack(self, delivery_tag: str) -> None:
        """The work is done, whether or not Redis hears it."""
        try:
            super().ack(delivery_tag)
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """The message is not worked on any more, whether or not Redis hears it."""
        try:
            super().reject(delivery_tag, requeue)
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):  # type: ignore[misc]  # untyped there
    """Redis' channel with the QoS above."""

    QoS = QoS


class Transport(redis.Transport):  # type: ignore[misc]  # untyped there
    """Redis' transport with the channel above."""

    Channel = Channel


class LedgerConnection(Connection):  # type: ignore[misc]  # untyped there
    """Always that transport: a URL of a unix socket would name kombu's own."""

    def get_transport_cls(self) -> Any:
        """See the class."""
        return Transport


class LedgerAMQP(AMQP):  # type: ignore[misc]  # untyped there
    """What a Celery application opens its connections with."""

    Connection = LedgerConnection
    BrokerConnection = LedgerConnection
