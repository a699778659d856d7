"""The outside world: settings, job ledger, object store, queue, webhooks, telemetry, launcher."""
