"""`broker import`: a file or a browser's history, taken in from the command line."""

import click


@click.command("import")
def take_in() -> None:
    """Take a history or a shop's orders in."""
