"""Vendors, and the clients that hold tokens for them."""
