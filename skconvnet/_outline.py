"""The outline of a network: what pictures and notebooks show of each layer."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from skconvnet._network import Stage
from skconvnet._types import Shape
from skconvnet.layers import Layer, Residual
from skconvnet.layers.sequence import name_layers


@dataclass(frozen=True)
class Row:
    """What is shown of a layer; shape and number of parameters are None where they are not known yet."""

    key: str
    kind: str  # the name of its class
    fields: str  # those that are not the default, as its repr has them
    output_shape: Any  # Shape
    n_parameters: Any  # int
    branch: tuple[Self, ...] = ()  # the rows within a residual connection
    shortcut: tuple[Self, ...] = ()  # those of its other way, none for the input itself


def outline_stages(stages: Sequence[Stage]) -> tuple[Row, ...]:
    """Give the rows of a compiled network.

    Parameters
    ----------
    stages : sequence of Stage

    Returns
    -------
    rows : tuple of Row
    """
    return tuple(_outline(stage.key, stage.layer, stage.input_shape) for stage in stages)


def outline_layers(layers: Sequence[Layer | None]) -> tuple[Row, ...]:
    """Give the rows of layers that no input shape is known for.

    Parameters
    ----------
    layers : list of layer or None

    Returns
    -------
    rows : tuple of Row
    """
    return tuple(_outline(key, layer, None) for key, layer in name_layers(layers) if layer is not None)


def format_table(rows: Sequence[Row]) -> str:
    """Write rows as an HTML table under a heading that unfolds, those within residual connections indented.

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


def format_shape(shape: Shape) -> str:
    """A shape as it is written beside a layer: "32 × 14 × 14"."""
    return " × ".join(map(str, shape))


def _outline(key: str, layer: Layer, shape: Shape | None) -> Row:
    """Give a layer's row, with rows within it."""
    kind, _, fields = repr(layer).removesuffix(")").partition("(")
    named = "" if layer.name is None else f"name={layer.name!r}"
    fields = fields.removesuffix(named).removesuffix(", ")
    known = (None, None) if shape is None else (layer.output_shape(shape), layer.count_parameters(shape))
    ways = ((), ()) if not isinstance(layer, Residual) else _list_ways(layer, shape)
    fields = "" if isinstance(layer, Residual) else fields
    return Row(key, kind, fields, *known, *(tuple(_outline(*inner) for inner in way) for way in ways))


def _list_ways(residual: Residual, shape: Shape | None) -> Sequence[Any]:
    """Give (key, layer, input shape) of each layer of a residual connection's branch and shortcut."""
    if shape is not None:
        return residual._arrange(shape)[:2]
    shortcut = () if residual.shortcut == "auto" else residual.shortcut
    return [
        [(prefix + key, inner, None) for key, inner in name_layers(layers) if inner is not None]
        for prefix, layers in (("", residual.layers), ("shortcut.", shortcut))
    ]


def _format_row(row: Row, depth: int) -> str:
    """Write a row and those within it."""
    cells = [f"{row.kind}({row.fields})"]
    if row.output_shape is not None:
        cells += [format_shape(row.output_shape), f"{row.n_parameters:,}"]
    first = f'<td style="padding-left: {0.5 + 1.5 * depth}em">{html.escape(row.key)}</td>'
    rest = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return "\n".join(
        [
            f"<tr class='default'>{first}{rest}</tr>",
            *(_format_row(inner, depth + 1) for inner in row.branch + row.shortcut),
        ]
    )
