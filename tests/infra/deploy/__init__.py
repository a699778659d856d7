"""What infra/deploy holds: no Python, so it is read, rendered and held against schemas here."""
