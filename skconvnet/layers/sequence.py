"""Layers one after the other: their search keys."""

from collections.abc import Sequence

from skconvnet.layers.base import Layer


def name_layers(layers: Sequence[Layer | None]) -> list[tuple[str, Layer | None]]:
    """Pair every layer with its search key: its name, or its position.

    Parameters
    ----------
    layers : list of layer or None

    Returns
    -------
    named : list of (str, layer or None)

    Raises
    ------
    TypeError
        If layers is not a list or something in it is not a layer.
    ValueError
        If a name comes twice.
    """
    if not isinstance(layers, (list, tuple)):
        raise TypeError(f"layers must be a list of layers, such as [Conv2D(8), Dense(10)], got {layers!r}.")
    named, positions = [], {}
    for position, layer in enumerate(layers):
        if layer is not None and not isinstance(layer, Layer):
            hint = " (a class: write it with parentheses)" if isinstance(layer, type) else ""
            raise TypeError(f"layers[{position}] must be a layer or None, got {layer!r}{hint}.")
        key = str(position) if layer is None or layer.name is None else layer.name
        if key in positions:
            raise ValueError(
                f"layers[{position}] and layers[{positions[key]}] have the same name {key!r}; "
                f"names must differ, to be searched by."
            )
        positions[key] = position
        named.append((key, layer))
    return named
