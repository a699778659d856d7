"""Galleries over HTTP: items, labels, versions, corrections, feedback, lint, deletion."""
