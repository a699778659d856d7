"""Galleries as files in the object store: immutable versions, one writer at a time."""
