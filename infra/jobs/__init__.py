"""The job ledger and what belongs to jobs: records, scripts, webhook messages, workers' presence, photos, the queue."""
