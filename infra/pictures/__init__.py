"""Stored pictures as people see them: smaller, or with answers drawn over them."""
