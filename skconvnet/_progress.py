"""Progress of training in a terminal: a line per epoch, and a bar during the epoch."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from skconvnet._types import ProgressCallback, Record

# The values that a record may have, in this order, and the width and format of their columns in the table.
COLUMNS = {
    "epoch": (5, "d"),
    "train_loss": (10, ".4f"),
    "train_score": (11, ".4f"),
    "valid_loss": (10, ".4f"),
    "valid_score": (11, ".4f"),
    "learning_rate": (13, ".2e"),
    "duration": (8, ".3f"),
}


def print_record(record: Record, first: bool) -> None:
    """Print a line of the epoch table; print the header before the first line with these columns."""
    columns = {name: column for name, column in COLUMNS.items() if name in record}
    if first:
        print("  ".join(f"{name:>{width}}" for name, (width, _) in columns.items()))
    print("  ".join(_format(record[name], *column) for name, column in columns.items()), flush=True)


def _format(value: float, width: int, form: str) -> str:
    """Format a value for a column, with an exponent if it is too wide for the column's format."""
    text = f"{value:>{width}{form}}"
    return text if len(text) <= width else f"{value:>{width}.{width - 7}e}"


@contextmanager
def draw_bar(epoch: int, verbose: int) -> Iterator[ProgressCallback]:
    """Yield a function that draws the fraction of an epoch that is done; the line is erased at the end.

    The function draws only if verbose is above 1 and the output is a terminal, because files and notebooks
    would keep every line that is overwritten. It draws at most ten times a second, so that short epochs do
    not flicker.
    """
    drawn, last = 0, time.perf_counter()

    def draw(fraction: float) -> None:
        nonlocal drawn, last
        now = time.perf_counter()
        if now - last >= 0.1:
            line = f"{epoch:>5}  [{'#' * int(30 * fraction):<30}] {fraction:4.0%}"
            print(f"\r{line}", end="", flush=True)
            drawn, last = len(line), now

    # without a console, for example under pythonw, there is no output at all
    terminal = verbose > 1 and sys.stdout is not None and sys.stdout.isatty()
    try:
        yield draw if terminal else lambda fraction: None
    finally:
        if drawn:
            print(f"\r{' ' * drawn}\r", end="", flush=True)
