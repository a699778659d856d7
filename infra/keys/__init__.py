"""API keys: kept in Redis next to the ledger, as hashes only."""
