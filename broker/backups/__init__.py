"""Backups: data.db and keys.db copied while the broker runs, as two files; the backup an erasure needs; and reading one again."""
