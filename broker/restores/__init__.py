"""Restores: putting a backup back, and what must be true before a broker that came back from one serves anybody."""
