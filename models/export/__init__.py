"""Trained networks as artifacts: programs, precisions, manifests."""
