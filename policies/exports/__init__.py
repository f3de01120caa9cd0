"""Agreements in other people's formats: one module each, pure, and never read back."""
