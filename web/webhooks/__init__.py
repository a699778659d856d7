"""Webhook endpoints, their deliveries, and the feed of events."""
