"""API keys: kept in Redis beside the ledger, as hashes only."""
