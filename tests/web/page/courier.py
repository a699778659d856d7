"""The courier's part in a thread, for the page: sends what is due, to this machine too."""

from __future__ import annotations

import threading
from dataclasses import replace

from infra.jobs.ledger import open_ledger
from infra.net.webhooks import deliver
from infra.runtime.settings import Settings


class Courier:
    """Sends every message that is due with the real function."""

    def __init__(self, settings: Settings) -> None:
        self._settings = replace(settings, webhooks=replace(settings.webhooks, allowed_hosts=("127.0.0.1",)))
        self._ledger = open_ledger(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Courier:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for delivery_id in self._ledger.deliveries.due():
                deliver(self._ledger, delivery_id, self._settings)
