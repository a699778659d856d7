"""Prints tables: as wide as the terminal, or whole where there is none, for whoever reads a pipe wants nothing cut."""

import sys

from rich.console import Console
from rich.table import Table

UNLIMITED = 1_000_000  # columns; a table is no wider than its contents


def print_table(table: Table) -> None:
    """Writes `table` to standard output."""
    Console(width=None if sys.stdout.isatty() else UNLIMITED).print(table)
