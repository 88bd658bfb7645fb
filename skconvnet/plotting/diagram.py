"""The network as a diagram."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from skconvnet._base import BaseConvNet
from skconvnet._outline import Row, format_shape, outline_stages, shorten
from skconvnet._types import Shape
from skconvnet.plotting.base import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point: TypeAlias = tuple[float, float]

# Sizes, in units of a row's height.
BOX = 0.72  # height of a box; the rest of a row is an arrow
WIDTH = 9.0  # width of a box
SIDE = 5.0  # width of a box in a branch beside the first one
ROWS = 20  # approximate number of rows in a column
COLORS = {"": "#d9ecd9", "Parallel": "#f6e3c5", "Residual": "#f6e3c5"}  # of the input, and of merges


class NetworkDisplay(Display):
    """The layers of a network as boxes, from input to output, with the branches of `Parallel` and `Residual`.

    A box shows the layer's search key and class, its fields, the shape of its output and its number of
    parameters. The first branch continues straight down, to the box of the layer that merges the branches;
    the others, such as the shortcut of a residual connection, are lines on the right, with their layers if
    they have any.

    Parameters
    ----------
    rows : sequence of Row
        The layers.
    input_shape : tuple of int
        (channels, height, width) or (features,).

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    boxes_ : dict of str to FancyBboxPatch
        The boxes by search key, and that of "input"; "block" is the sum of a residual connection of that
        name, and "block.0" is layer 0 within it; "mixed.1.0" is layer 0 of branch 1 of a `Parallel`.
    texts_ : dict of str to list of Text
        The texts in each box, by the same keys.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.plotting import NetworkDisplay
    >>> X, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    >>> clf = ConvNetClassifier(max_iter=2, random_state=0).fit(X, y)
    >>> display = NetworkDisplay.from_estimator(clf)
    >>> plt.close("all")
    """

    def __init__(self, rows: Sequence[Row], input_shape: Shape) -> None:
        self.rows = rows
        self.input_shape = input_shape

    @classmethod
    def from_estimator(cls, estimator: BaseConvNet, *, ax: "Axes | None" = None) -> Self:
        """Draw the network of an estimator.

        Parameters
        ----------
        estimator : ConvNetClassifier or ConvNetRegressor
            Fitted.
        ax : Axes, default=None
            None makes a figure that is large enough.

        Returns
        -------
        display : NetworkDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If estimator is not one of this package.
        NotFittedError
            If it is not fitted.
        """
        cls._check(estimator)
        network = estimator.network_
        return cls(outline_stages(network.stages), network.input_shape).plot(ax=ax)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the diagram.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure that is large enough.

        Returns
        -------
        display : NetworkDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ax is more than one axes.
        """
        source = Row("input", "", "", self.input_shape, 0)
        columns = _distribute([source, *self.rows])
        pitch = WIDTH + _measure_sides(self.rows) + 1.2
        n_rows = max(sum(map(_measure, column)) for column in columns)
        ax = self._take_axes(ax, figsize=(pitch * len(columns) / 2.2, n_rows / 2.2 + 0.5))
        ax.set(xlim=(-0.5, pitch * len(columns) - 0.7), ylim=(n_rows, -0.3), aspect="equal")
        ax.set_axis_off()
        total = sum(row.n_parameters for row in self.rows)
        ax.set_title(f"{len(self.rows)} layers, {total:,} parameters")
        self.boxes_, self.texts_ = {}, {}
        end = None
        for k, column in enumerate(columns):
            x, y = k * pitch, 0
            for row in column:
                start = x + WIDTH / 2, y
                if end is not None and y > 0:
                    self._draw_line(end, start)
                elif end is not None:  # from the foot of one column to the head of the next
                    foot, bend = n_rows - 0.1, x - 0.4
                    self._draw_line(end, (end[0], foot), (bend, foot), (bend, -0.2), (start[0], -0.2), start)
                end = self._draw_row(row, "", x, y)
                y += _measure(row)
        return self

    def _draw_row(self, row: Row, prefix: str, x: float, y: float, width: float = WIDTH) -> Point:
        """Draw a layer, with its branches if it has any, that begins at (x, y); return its end."""
        key, middle = prefix + row.key, x + width / 2
        if row.branches:
            start, end = y, (middle, y)
            for inner in row.branches[0]:
                if y > start:
                    self._draw_line(end, (middle, y))
                end = self._draw_row(inner, f"{key}.", x, y, width)
                y += _measure(inner)
            y = start + _measure(row) - 1
            self._draw_line(end, (middle, y))
            left = x + width + _measure_sides(row.branches[0])
            for branch in row.branches[1:]:
                self._draw_side(branch, f"{key}.", (left + 0.5, start), (middle, x + width, y + BOX / 2))
                left += _measure_lane(branch)
        self._draw_box(key, row, x, y, width)
        return middle, y + BOX

    def _draw_side(
        self, rows: Sequence[Row], prefix: str, start: Point, ends: tuple[float, float, float]
    ) -> None:
        """Draw a branch beside the first one; ends: the x of the split, x and y of the merge."""
        (x, y), (middle, right, merge_y) = start, ends
        lane, split = x + (SIDE / 2 if rows else 0), y - (1 - BOX) / 2
        for row in rows:
            self._draw_row(row, prefix, x, y, SIDE)
            y += _measure(row)
        self._draw_line((middle, split), (lane, split), (lane, merge_y), (right, merge_y))

    def _draw_line(self, *points: Point) -> None:
        """Draw a line with corners that ends in an arrow; it lies behind the boxes."""
        style: dict[str, Any] = {"color": "0.45", "linewidth": 1, "zorder": 1}
        self.ax_.plot(*np.transpose(points[:-1]), **style)
        self.ax_.annotate(
            "", points[-1], points[-2], arrowprops={**style, "arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0}
        )

    def _draw_box(self, key: str, row: Row, x: float, y: float, width: float) -> None:
        """Draw a box with a layer's key, class, fields, shape and parameters; a narrow one has no fields."""
        from matplotlib.patches import FancyBboxPatch

        style = "round,pad=0,rounding_size=0.12"
        color = COLORS.get(row.kind, "#dfe7f2" if row.n_parameters else "#f0f0f0")
        box = FancyBboxPatch((x, y), width, BOX, boxstyle=style, facecolor=color, edgecolor="0.45", zorder=2)
        self.boxes_[key] = self.ax_.add_patch(box)
        own = key.rpartition(".")[2] if width == SIDE else key
        name = f"{own}  {'+ shortcut' if row.kind == 'Residual' else row.kind}"
        fields, count = row.fields, f"{row.n_parameters:,} parameters" if row.n_parameters else ""
        if row.branches:
            count = f"{row.n_parameters:,} in all"
        if width == SIDE:
            fields = ""
        self.texts_[key] = [
            self.ax_.text(
                left, y + up * BOX, text, ha=side, va="center", fontsize=size, weight=weight, zorder=3
            )
            for left, up, text, side, size, weight in (
                (x + 0.15, 0.3, shorten(name, int(3.2 * width)), "left", 8, "bold"),
                (x + 0.15, 0.73, shorten(fields, 54), "left", 6.5, "normal"),
                (x + width - 0.15, 0.3, format_shape(row.output_shape), "right", 8, "normal"),
                (x + width - 0.15, 0.73, count, "right", 6.5, "normal"),
            )
        ]


def _measure(row: Row) -> int:
    """Return the number of rows that a layer occupies."""
    return 1 + max((sum(map(_measure, branch)) for branch in row.branches), default=0)


def _measure_side(row: Row) -> float:
    """Return the width that the branches of a layer need beside it."""
    if not row.branches:
        return 0
    first, *others = row.branches
    return _measure_sides(first) + sum(map(_measure_lane, others))


def _measure_sides(rows: Sequence[Row]) -> float:
    """Return the width that rows need beside them."""
    return max(map(_measure_side, rows), default=0)


def _measure_lane(rows: Sequence[Row]) -> float:
    """Return the width of a branch that is drawn beside the first one."""
    return 1 + SIDE + _measure_sides(rows) if rows else 1


def _distribute(rows: Sequence[Row]) -> list[list[Row]]:
    """Distribute rows over columns of about equal height, none of them empty."""
    total = sum(map(_measure, rows))
    height = total / -(-total // ROWS)
    columns, used = [[]], 0
    for row in rows:
        if columns[-1] and used + _measure(row) / 2 > height * len(columns):
            columns.append([])
        columns[-1].append(row)
        used += _measure(row)
    return columns
