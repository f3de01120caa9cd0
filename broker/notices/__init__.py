"""Notices: what a person should hear of, written down in the transaction of the act itself."""
