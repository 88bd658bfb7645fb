"""Residual connections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from skconvnet._advice import ask_for_list
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._lowering.residual import AdditionCall, SplitCall
from skconvnet._types import Array, Shape
from skconvnet.layers.base import Chain, Layer, ShapeError, describe_shape
from skconvnet.layers.conv import Conv1D, Conv2D
from skconvnet.layers.dense import Dense, Output
from skconvnet.layers.minibatch import Augment, Mixup
from skconvnet.layers.normalization import Standardize
from skconvnet.layers.sequence import count_axes, name_layers


@dataclass(repr=False, eq=False)
class Residual(Layer):
    """Layers whose output is added to their input: y = layers(x) + shortcut(x).

    An activation after the sum, such as `ReLU`, is a layer of its own.

    Parameters
    ----------
    layers : list of layer
        The branch. Names must differ within it; a None is left out.
    shortcut : "auto" or list of layer, default="auto"
        The layers between the input and the sum, parallel to the branch. "auto" means the input itself
        if the branch keeps its shape, and else a projection without bias:
        ``Conv2D(filters, 1, stride=..., bias=False)`` with the stride that gives the branch's size, `Conv1D`
        beside layers of signals, or ``Dense(units, bias=False)`` for vectors. An empty list means the input
        itself.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    TypeError
        If layers is not a list, or an element of layers or shortcut is not a layer.
    ValueError
        If names are not unique, or shortcut is another string or a layer.

    Notes
    -----
    Fields of inner layers are searched as ``layers__<residual>__layers__<inner>__<field>``; among
    ``network_.weights`` they are called "<residual>.<inner>.weight" and
    "<residual>.shortcut.<inner>.weight".

    References
    ----------
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, equations 1
    and 2.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, ReLU, Residual
    >>> branch = [Conv2D(16, padding="same", activation="relu"), Conv2D(16, padding="same")]
    >>> layers = [Conv2D(16), Residual(branch), ReLU()]
    >>> Residual(branch).output_shape((16, 26, 26))
    (16, 26, 26)
    """

    layers: Sequence[Layer | None]
    shortcut: Literal["auto"] | Sequence[Layer | None] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.layers, Layer):
            given = [layer for layer in (self.layers, self.shortcut) if isinstance(layer, Layer)]
            raise TypeError(ask_for_list("Residual", "layers", given))
        if isinstance(self.shortcut, (str, Layer)) and self.shortcut != "auto":
            raise ValueError(f'Residual: shortcut must be "auto" or a list of layers, got {self.shortcut!r}.')
        for layers in (self.layers, () if self.shortcut == "auto" else self.shortcut):
            for key, layer in name_layers(layers):
                if key == "shortcut":
                    raise ValueError('Residual: the name "shortcut" is taken; choose another.')
                if isinstance(layer, (Output, Standardize, Augment, Mixup)):
                    raise ValueError(
                        f"Residual: {type(layer).__name__} belongs in the network itself, not in a "
                        f"residual connection."
                    )
                if getattr(layer, "init", None) == "whiten":
                    raise ValueError(
                        'Residual: init="whiten" is for layers of the network itself, not for those in a '
                        "residual connection. Use another init."
                    )

    def list_branches(self, shape: Shape | None = None) -> tuple[Chain, ...]:
        if shape is not None:
            branch, shortcut, _ = self._arrange(shape)
            return branch, shortcut
        beside: Any = () if self.shortcut == "auto" else self.shortcut
        return tuple(
            [(prefix + key, layer, None) for key, layer in name_layers(layers) if layer is not None]
            for prefix, layers in (("", self.layers), ("shortcut.", beside))
        )

    def _arrange(self, shape: Shape) -> tuple[Chain, Chain, Shape]:
        """Return the layers of branch and shortcut, and the output shape."""
        branch, output_shape = _chain("", self.layers, shape)
        beside: Any = self.shortcut
        if beside == "auto":
            kind = Conv1D if count_axes(self.layers) == 1 else Conv2D
            beside = () if output_shape == shape else (_project(shape, output_shape, kind),)
        shortcut, other_shape = _chain("shortcut.", beside, shape)
        if other_shape != output_shape:
            raise ShapeError(
                f"a shortcut that gives {describe_shape(output_shape)}, like its layers, but it gives "
                f"{describe_shape(other_shape)}",
                "Change the shortcut, or the branch.",
            )
        return branch, shortcut, output_shape

    def output_shape(self, shape: Shape) -> Shape:
        return self._arrange(shape)[2]

    def _collect(self, method: str, shape: Shape, *args: Any) -> dict[str, Any]:
        """Call a method of every inner layer, and prefix the names that it returns with the layer's key."""
        return {
            f"{key}.{name}": value
            for branch in self.list_branches(shape)
            for key, layer, inner_shape in branch
            for name, value in getattr(layer, method)(inner_shape, *args).items()
        }

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        return self._collect("parameter_shapes", shape)

    def _collect_names(self, method: str, shape: Shape) -> list[str]:
        """Call a method of every inner layer, and prefix the names in its list with the layer's key."""
        return [
            f"{key}.{name}"
            for branch in self.list_branches(shape)
            for key, layer, inner_shape in branch
            for name in getattr(layer, method)(inner_shape)
        ]

    def list_decaying(self, shape: Shape) -> list[str]:
        return self._collect_names("list_decaying", shape)

    def list_matrices(self, shape: Shape) -> list[str]:
        return self._collect_names("list_matrices", shape)

    def list_rate_factors(self, shape: Shape) -> dict[str, float]:
        return self._collect("list_rate_factors", shape)

    def statistic_shapes(self, shape: Shape) -> dict[str, Shape]:
        return self._collect("statistic_shapes", shape)

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        return self._collect("initialize", shape, rng)

    def count_parameters(self, shape: Shape) -> int:
        return sum(
            layer.count_parameters(inner_shape)
            for branch in self.list_branches(shape)
            for _, layer, inner_shape in branch
        )

    def check_parameters(self, shape: Shape, parameters: dict[str, Array]) -> None:
        for branch in self.list_branches(shape):
            for key, layer, inner_shape in branch:
                layer.check_parameters(inner_shape, _select(parameters, key))

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        branch, shortcut, output_shape = self._arrange(x.layer_shape)
        split = plan.add_tensor(x.layer_shape, x)
        plan.add_call(SplitCall(x, split))
        last, other = (
            _lower_chain(plan, start, chain, offsets) for start, chain in ((split, branch), (x, shortcut))
        )
        y = plan.add_tensor(output_shape, last, trains=other.needs_gradient)
        y.gradient = last.gradient
        plan.add_call(AdditionCall(last, other, y))
        for tensor in (x, y):  # blocks may synchronize within the branch or the shortcut
            plan.persist_gradient(tensor)
        return y


def _chain(prefix: str, layers: Sequence[Layer | None], shape: Shape) -> tuple[Chain, Shape]:
    """Return (key, layer, input shape) of every layer, and the output shape of the last one."""
    chain = []
    for key, layer in name_layers(layers):
        if layer is None:
            continue
        chain.append((prefix + key, layer, shape))
        try:
            shape = layer.output_shape(shape)
        except ShapeError as error:
            need = f"for its {type(layer).__name__} {prefix + key!r} {error.need}"
            raise ShapeError(need, error.remedy) from None
    return chain, shape


def _lower_chain(plan: Plan, x: Tensor, chain: Chain, offsets: dict[str, int]) -> Tensor:
    """Add the calls of layers in a row, and return the output of the last one."""
    for key, layer, _ in chain:
        x = layer.lower(plan, x, _select(offsets, key))
    return x


def _select(named: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the entries of one inner layer, named without its key."""
    return {
        name.removeprefix(f"{key}."): value for name, value in named.items() if name.startswith(f"{key}.")
    }


def _project(shape: Shape, output_shape: Shape, kind: type[Conv1D | Conv2D]) -> Layer:
    """Return the layer with the fewest weights that turns one shape into another, a convolution of a kind."""
    if len(output_shape) == 1 and len(shape) == 1:
        return Dense(output_shape[0], bias=False)
    if len(output_shape) == len(shape) == 3:
        down, right = (
            next((s for s in range(1, n + 1) if -(-n // s) == n_out), None)
            for n, n_out in zip(shape[1:], output_shape[1:])
        )
        if down and right:
            stride = right if kind is Conv1D else (down, right)
            return kind(output_shape[0], 1, stride=stride, bias=False)
    raise ShapeError(
        f"a shortcut from {describe_shape(shape)} to {describe_shape(output_shape)}, which no stride gives",
        "Give its layers by shortcut=[...], or use padding='same' in the branch.",
    )
