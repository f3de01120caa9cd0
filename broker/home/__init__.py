"""Home: what waits, what is live, this month in figures."""
