"""The outline of a network: what summaries, pictures and notebooks show of each layer."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skconvnet._stages import Stage, count_elements
from skconvnet._types import Shape
from skconvnet.layers import Layer, Parallel
from skconvnet.layers.branches import Branched
from skconvnet.layers.sequence import name_layers


@dataclass(frozen=True)
class Row:
    """What is shown of a layer; shape and number of parameters are None where they are not known yet."""

    key: str
    kind: str  # the name of its class
    fields: str  # the fields that are not the default, as in its repr
    output_shape: Any  # Shape
    n_parameters: Any  # int
    branches: tuple[tuple[Self, ...], ...] = ()  # the rows of the layers within it


def outline_stages(stages: Sequence[Stage]) -> tuple[Row, ...]:
    """Return the rows of a compiled network.

    Parameters
    ----------
    stages : sequence of Stage

    Returns
    -------
    rows : tuple of Row
    """
    return tuple(
        Row(
            stage.key,
            *_describe(stage.layer),
            stage.output_shape,
            stage.layer.count_parameters(stage.input_shape),
            tuple(outline_stages(branch) for branch in stage.branches),
        )
        for stage in stages
    )


def outline_layers(layers: Sequence[Layer | None]) -> tuple[Row, ...]:
    """Return the rows of layers whose input shape is not known.

    Parameters
    ----------
    layers : list of layer or None

    Returns
    -------
    rows : tuple of Row
    """
    return tuple(_outline_layer(key, layer) for key, layer in name_layers(layers) if layer is not None)


def format_table(rows: Sequence[Row]) -> str:
    """Write rows as an HTML table that unfolds from a heading; those of inner layers are indented.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    text : str
        Empty if there are no rows.
    """
    if not rows:
        return ""
    heads = ["Name", "Layer"]
    total = ""
    if rows[0].output_shape is not None:
        heads += ["Output shape", "Parameters"]
        total = f", {sum(row.n_parameters for row in rows):,} parameters"
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "\n".join(_format_row(row, 0) for row in rows)
    return (
        f'<div class="estimator-table"><details><summary>Layers{total}</summary>'
        f'<table class="parameters-table"><tbody><tr>{head}</tr>\n{body}</tbody></table></details></div>'
    )


def format_summary(stages: Sequence[Stage], input_shape: Shape, dtype: np.dtype[Any]) -> str:
    """Write stages as a table for a terminal: a line per layer, with output shape, parameters and bytes.

    Parameters
    ----------
    stages : sequence of Stage
    input_shape : tuple of int
    dtype : dtype

    Returns
    -------
    text : str
        Bytes are those of the layer's output for one sample; parameters are those that are trained.
    """
    size = dtype.itemsize
    rows: list[tuple[str, ...]] = [("layer", "", "output", "parameters", "bytes")]
    rows.append(("input", "", str(input_shape), "0", str(count_elements([input_shape]) * size)))
    for stage in stages:
        n_bytes = count_elements([stage.output_shape]) * size
        counts = str(stage.n_parameters), str(n_bytes)
        rows.append((stage.key, repr(stage.layer), str(stage.output_shape), *counts))
    rows = [(key, shorten(layer, 44), *rest) for key, layer, *rest in rows]
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    lines = []
    for row in rows:
        left = [f"{cell:<{w}}" for cell, w in zip(row[:3], widths)]
        right = [f"{cell:>{w}}" for cell, w in zip(row[3:], widths[3:])]
        lines.append("  ".join(left + right).rstrip())
    total = sum(stage.n_parameters for stage in stages)
    lines.append(f"{total} parameters, {total * size} bytes in {dtype.name}")
    return "\n".join(lines)


def format_shape(shape: Shape) -> str:
    """Write a shape as it is shown beside a layer: "32 × 14 × 14"."""
    return " × ".join(map(str, shape))


def shorten(text: str, width: int) -> str:
    """Cut off the end of a text that is too long for its column."""
    return text if len(text) <= width else text[: width - 3] + "..."


def _outline_layer(key: str, layer: Layer) -> Row:
    """Return the row of a layer whose input shape is not known, with the rows within it."""
    branches = tuple(
        tuple(_outline_layer(inner_key, inner) for inner_key, inner, _ in branch)
        for branch in layer.list_branches()
    )
    return Row(key, *_describe(layer), None, None, branches)


def _describe(layer: Layer) -> tuple[str, str]:
    """Return the name of a layer's class, and its fields, unless they are shown as rows."""
    kind, _, fields = repr(layer).removesuffix(")").partition("(")
    named = "" if layer.name is None else f"name={layer.name!r}"
    if isinstance(layer, Branched):
        return kind, f"merge={layer.merge!r}" if isinstance(layer, Parallel) else ""
    return kind, fields.removesuffix(named).removesuffix(", ")


def _format_row(row: Row, depth: int) -> str:
    """Write a row and those within it."""
    cells = [f"{row.kind}({row.fields})"]
    if row.output_shape is not None:
        cells += [format_shape(row.output_shape), f"{row.n_parameters:,}"]
    first = f'<td style="padding-left: {0.5 + 1.5 * depth}em">{html.escape(row.key)}</td>'
    rest = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    inner = [_format_row(one, depth + 1) for branch in row.branches for one in branch]
    return "\n".join([f"<tr class='default'>{first}{rest}</tr>", *inner])
