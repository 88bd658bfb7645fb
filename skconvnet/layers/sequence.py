"""Search keys of the layers in a list."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, TypeAlias

from skconvnet._advice import short_repr, suggest
from skconvnet.layers.activation import ACTIVATIONS
from skconvnet.layers.base import Layer

Named: TypeAlias = list[tuple[str, Layer | None]]  # layers with their search keys


def name_layers(layers: Sequence[Layer | None]) -> Named:
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
        If layers is not a list, or an element of it is neither a layer nor None.
    ValueError
        If two layers have the same name.
    """
    if not isinstance(layers, (list, tuple)):
        raise TypeError(
            f"layers must be a list of layers, such as [Conv2D(8), Dense(10)], got {short_repr(layers)}."
        )
    named, positions = [], {}
    for position, layer in enumerate(layers):
        if layer is not None and not isinstance(layer, Layer):
            raise TypeError(
                f"layers[{position}] must be a layer or None, got {short_repr(layer)}{_correct(layer)}."
            )
        key = str(position) if layer is None or layer.name is None else layer.name
        if key in positions:
            raise ValueError(
                f"layers[{position}] and layers[{positions[key]}] have the same name {key!r}; "
                f"names must differ, because they are search keys."
            )
        positions[key] = position
        named.append((key, layer))
    return named


def name_members(members: Sequence[Any]) -> list[tuple[str, Any]]:
    """Pair every member of a list with its search key: layers, or branches, which have positions.

    Parameters
    ----------
    members : list of layer or None, or list of list of layer

    Returns
    -------
    named : list of (str, layer, list or None)

    Raises
    ------
    TypeError
        If the members are neither layers nor lists of layers.
    ValueError
        If two layers have the same name.
    """
    if not any(isinstance(member, (list, tuple)) for member in members):
        return name_layers(members)
    for member in members:
        if member is not None:
            name_layers(member)
    return [(str(position), member) for position, member in enumerate(members)]


def count_axes(layers: Sequence[Layer | None]) -> int | None:
    """Return the number of axes that windows slide along: 2 in images, 1 in signals.

    Parameters
    ----------
    layers : list of layer or None
        The first layer that has windows decides, also one within another.

    Returns
    -------
    n_axes : int or None
        None if no layer has windows.
    """
    for layer in layers:
        if not isinstance(layer, Layer):
            continue
        inner = [one for branch in layer.list_branches() for _, one, _ in branch]
        n_axes = layer._n_axes or count_axes(inner)
        if n_axes is not None:
            return n_axes
    return None


def _correct(wrong: object) -> str:
    """Return what to write instead of an object that is not a layer; empty if it is not known."""
    if isinstance(wrong, type):
        return " (a class: write it with parentheses)"
    if callable(wrong):
        return " (a function that changes images: write Augment(function))"
    words = {"passthrough": None, **ACTIVATIONS}
    if isinstance(wrong, str) and wrong in words:
        return f" (write {words[wrong]!r})"
    if isinstance(wrong, tuple) and len(wrong) == 2 and isinstance(wrong[1], Layer):
        return f" (write {replace(wrong[1], name=wrong[0])!r})"
    if isinstance(wrong, (list, tuple)) and wrong and all(isinstance(layer, Layer) for layer in wrong):
        return " (a list in the list: write its layers flat, [*stack, ...])"
    return ""


def find_layers(named: Named, selected: Sequence[str | int], what: str) -> list[str]:
    """Return the search keys of layers that are selected by search key or position.

    Parameters
    ----------
    named : list of (str, layer or None)
        As `name_layers` returns them, with or without the output layer, which is selected by "output" alone.
    selected : sequence of str or int
        Search keys and positions, negative from the end.
    what : str
        The parameter that selects them, for the error.

    Returns
    -------
    keys : list of str

    Raises
    ------
    ValueError
        If there is no such layer, or None at its position.
    """
    stack, known = [pair for pair in named if pair[0] != "output"], dict(named)
    keys = []
    for one in selected:
        key, n = one, len(stack)
        if isinstance(one, Integral) and not isinstance(one, bool) and -n <= one < n:
            key = stack[one][0]
        if not isinstance(key, str) or known.get(key) is None:
            names = [name for name, layer in known.items() if layer is not None and not name.isdecimal()]
            raise ValueError(
                f"{what}: there is no layer {one!r}. {suggest(one, names)} Or a position, an int from "
                f"{-n} to {n - 1}."
            )
        keys.append(key)
    return keys
