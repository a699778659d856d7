"""Losses: each against its formula, written out in loops."""
