"""Talking to servers that users name: addresses, fetching, signed webhooks."""
