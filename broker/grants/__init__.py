"""Grants: one person's yes to one client, and its end."""
