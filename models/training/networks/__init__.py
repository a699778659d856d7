"""The recipes' networks: built, and begun from known weights."""
