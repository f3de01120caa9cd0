"""The vault: keys, sealing and opaque credentials; the only code that imports `cryptography`'s ciphers."""
