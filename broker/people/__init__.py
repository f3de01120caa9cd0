"""The people of one household: who they are, how they sign in, and their sessions."""
