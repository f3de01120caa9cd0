"""Imports: one parser per source, each a generator of events."""
