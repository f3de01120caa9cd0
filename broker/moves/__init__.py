"""Moves: what comes from another broker with everything else of a person, is checked, and is kept: terms, ended grants, old ledgers."""
