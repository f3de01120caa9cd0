"""The keys of the whole broker, as its operator meets them: unlocking it, and what opens it."""
