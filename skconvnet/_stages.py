"""The stages of a network: layers at their positions, as a tree, with the offsets of their parameters."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from skconvnet._advice import short_repr
from skconvnet._types import Shape
from skconvnet.layers import Augment, Layer, Mixup, Output, Rescaling, ShapeError, Standardize
from skconvnet.layers.augmentation import RANDOM_LAYERS
from skconvnet.layers.base import describe_shape
from skconvnet.layers.sequence import Named


@dataclass(frozen=True)
class Stage:
    """A layer at its position in a network."""

    key: str  # its search key, which also names its parameters
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    offsets: dict[str, int]  # parameter or statistic: its offset in the flat vector
    shapes: dict[str, Shape]  # parameter: its shape
    statistics: dict[str, Shape]  # statistic: its shape
    n_parameters: int  # trainable elements
    frozen: bool  # whether its parameters, moments and masks are those of prediction
    branches: tuple[tuple[Self, ...], ...] = ()  # the stages within it, a tuple for each branch

    @property
    def label(self) -> str:
        """The layer's class and key, for messages."""
        return f"{type(self.layer).__name__} {self.key!r}"


# Layers that act on the training data before the network does: the layers that may come before them.
_ALLOWED_BEFORE = {
    Augment: (Augment,),
    Standardize: (Augment, *RANDOM_LAYERS),
    Mixup: (Augment, Standardize, Rescaling),
}


def resolve_output(named: Named, n_outputs: int | None) -> Named:
    """Append the output layer.

    Parameters
    ----------
    named : list of (str, layer or None)
        As `name_layers` returns them; the last layer may be an `Output`.
    n_outputs : int or None
        None for a stack that has no output layer.

    Returns
    -------
    named : list of (str, layer or None)
        The output layer, resolved, is the last and called "output".

    Raises
    ------
    ValueError
        If another layer is called "output".
    """
    if n_outputs is None:
        return named
    last = max((k for k, (_, layer) in enumerate(named) if layer is not None), default=-1)
    output: Any = Output()
    if last >= 0 and isinstance(named[last][1], Output):
        output = named[last][1]
        named = named[:last] + named[last + 1 :]
    if any(key == "output" for key, _ in named):
        raise ValueError('the name "output" is taken by the output layer; choose another.')
    return [*named, ("output", output.resolve(n_outputs))]


def arrange_stages(
    named: Named, input_shape: Shape, n_outputs: int | None, frozen_keys: Sequence[str]
) -> tuple[Stage, ...]:
    """Check every layer against its input, and give its parameters their offsets.

    Parameters
    ----------
    named : list of (str, layer or None)
        As `resolve_output` returns them.
    input_shape : tuple of int
        (channels, height, width) or (features,).
    n_outputs : int or None
        The number of outputs that the last layer must have; None for any.
    frozen_keys : sequence of str
        Search keys of the layers that are not trained.

    Returns
    -------
    stages : tuple of Stage
        In the flat vector, the parameters of frozen stages come after those of the others, and all
        statistics come last.

    Raises
    ------
    ValueError
        If a layer cannot take its input, or is at a position where it does not belong.
    """
    stages: list[Stage] = []
    shape, source = input_shape, "X"
    for key, layer in named:
        if layer is None:
            continue
        _check_order(layer, stages)
        try:
            stage = _make_stage(key, layer, shape, key in frozen_keys)
        except ShapeError as error:
            signals = (
                " For signals, use layers whose names end in 1D, or pairs of sizes such as (1, 5)."
                if len(input_shape) == 3 and input_shape[1] == 1 and layer._n_axes != 1
                else ""
            )
            raise ValueError(
                f"{type(layer).__name__} {key!r} ({short_repr(layer)}) needs {error.need}, got "
                f"{describe_shape(shape)} from {source}. {error.remedy}{signals}"
            ) from None
        stages.append(stage)
        shape, source = stage.output_shape, stage.label
    _assign_offsets(stages)
    if n_outputs is not None and count_elements([shape]) != n_outputs:
        raise ValueError(
            f"Output(dense=False): the last layer must have one value for each of the "
            f"{n_outputs} outputs that y requires, got {describe_shape(stages[-1].input_shape)}."
        )
    return tuple(stages)


def _check_order(layer: Layer, stages: Sequence[Stage]) -> None:
    """Refuse a layer that belongs before one of the stages, or at the end."""
    if isinstance(layer, Output):
        raise ValueError("Output must be the last of the layers.")
    for kind, allowed in _ALLOWED_BEFORE.items():
        others = [stage.label for stage in stages if not isinstance(stage.layer, allowed)]
        if isinstance(layer, kind) and others:
            raise ValueError(
                f"{kind.__name__} must be the first of the layers; only "
                f"{', '.join(other.__name__ for other in allowed)} may come before it, got "
                f"{others[0]}. Put {kind.__name__} before it."
            )


def _make_stage(key: str, layer: Layer, shape: Shape, frozen: bool) -> Stage:
    """Return the stage of a layer, with those within it, still without offsets."""
    return Stage(
        key,
        layer,
        shape,
        layer.output_shape(shape),
        {},
        layer.parameter_shapes(shape),
        layer.statistic_shapes(shape),
        0 if frozen else layer.count_parameters(shape),
        frozen,
        tuple(
            tuple(_make_stage(*inner, frozen) for inner in branch) for branch in layer.list_branches(shape)
        ),
    )


def _assign_offsets(stages: Sequence[Stage]) -> None:
    """Assign an offset to every parameter and statistic: trained parameters, frozen ones, then statistics."""
    start = 0
    for stage, shapes in (
        *((stage, stage.shapes) for stage in stages if not stage.frozen),
        *((stage, stage.shapes) for stage in stages if stage.frozen),
        *((stage, stage.statistics) for stage in stages),
    ):
        for name, part in shapes.items():
            stage.offsets[name] = start
            start += count_elements([part])
    for stage in stages:
        _pass_offsets(stage)


def _pass_offsets(stage: Stage) -> None:
    """Copy the offsets of a stage to the stages within it, by their own names."""
    for inner in (inner for branch in stage.branches for inner in branch):
        for name in (*inner.shapes, *inner.statistics):
            inner.offsets[name] = stage.offsets[f"{inner.key}.{name}"]
        _pass_offsets(inner)


def count_elements(shapes: Iterable[Shape]) -> int:
    """Return the number of elements in arrays of these shapes."""
    return sum(math.prod(shape) for shape in shapes)
