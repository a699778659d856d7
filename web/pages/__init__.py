"""The pages for people, and their languages."""
