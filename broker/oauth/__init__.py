"""The authorization server: pushed requests, consent, codes and tokens."""
