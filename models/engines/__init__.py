"""Exported programs: what one looks like, and the engines that run it."""
