"""What a grant permits: slices, clauses, terms, requests, decisions; pure and without I/O."""
