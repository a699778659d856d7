"""Prints tables: as wide as the terminal, or whole where there is none, for whoever reads a pipe wants nothing cut."""

from rich.console import Console
from rich.table import Table

UNLIMITED = 1_000_000  # columns; a table is no wider than its contents


def print_table(table: Table) -> None:
    """Writes `table` to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNLIMITED)
    console.print(table)
