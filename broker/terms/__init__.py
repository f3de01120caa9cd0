"""The conditions the person proffers, version by version."""
