"""The ledger: the append-only, verifiable record of what was done with a person's data."""
