"""The ways to sign in: passwords, passkeys, authenticator apps and recovery codes."""
