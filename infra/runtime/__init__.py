"""What every process has: settings, logs, the audit trail, metrics, the limits of its machine."""
