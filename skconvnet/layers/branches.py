"""Layers side by side: branches that read one input, and whose outputs are merged into one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from skconvnet._advice import ask_for_list, short_repr, suggest
from skconvnet._lowering.branches import merge, split
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Shape
from skconvnet.layers.base import Chain, Layer, ShapeError, describe_shape
from skconvnet.layers.conv import Conv1D, Conv2D
from skconvnet.layers.dense import Dense, Output
from skconvnet.layers.minibatch import Augment, Mixup
from skconvnet.layers.normalization import Standardize
from skconvnet.layers.sequence import count_axes, name_layers

MERGES = "concat", "add", "multiply", "average", "max"


class _Branch(NamedTuple):
    """The layers of a branch, the prefix of their keys, and where they are, for messages."""

    layers: Sequence[Layer | None]
    prefix: str = ""
    place: str = ""


@dataclass(repr=False, eq=False)
class Branched(Layer):
    """Base class of layers that consist of branches, whose outputs are merged.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import Parallel, Residual
    >>> from skconvnet.layers.branches import Branched
    >>> issubclass(Residual, Branched), issubclass(Parallel, Branched)
    (True, True)
    """

    @property
    def _merge(self) -> str:
        """How the outputs of the branches become one: one of MERGES."""
        return "add"

    def _name_branches(self, shape: Shape | None) -> list[_Branch]:
        """Return the branches for an input shape, or as far as they are known without it."""
        raise NotImplementedError

    def _merge_shapes(self, shapes: list[Shape]) -> Shape:
        """Return the output shape, or raise a ShapeError if branches of these output shapes do not fit."""
        raise NotImplementedError

    def _check_inner(self) -> None:
        """Refuse layers that are only for the network itself, and names that are not unique."""
        owner = type(self).__name__
        for branch in self._name_branches(None):
            for _, layer in name_layers(branch.layers):
                if isinstance(layer, (Output, Standardize, Augment, Mixup)):
                    raise ValueError(
                        f"{owner}: {type(layer).__name__} belongs in the network itself, not in a branch."
                    )
                if getattr(layer, "init", None) == "whiten":
                    raise ValueError(
                        f'{owner}: init="whiten" is for layers of the network itself, not for those in a '
                        f"branch. Use another init."
                    )

    def list_branches(self, shape: Shape | None = None) -> tuple[Chain, ...]:
        if shape is not None:
            return self._arrange(shape)[0]
        return tuple(
            [
                (branch.prefix + key, layer, None)
                for key, layer in name_layers(branch.layers)
                if layer is not None
            ]
            for branch in self._name_branches(None)
        )

    def _arrange(self, shape: Shape) -> tuple[tuple[Chain, ...], Shape]:
        """Return the layers of every branch, and the output shape."""
        pairs = [_chain(branch, shape) for branch in self._name_branches(shape)]
        return tuple(chain for chain, _ in pairs), self._merge_shapes([end for _, end in pairs])

    def output_shape(self, shape: Shape) -> Shape:
        return self._arrange(shape)[1]

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
        chains, output_shape = self._arrange(x.layer_shape)
        # one branch reads x itself: the last one, or one without layers, which spares a copy
        direct = max((k for k, chain in enumerate(chains) if not chain), default=len(chains) - 1)
        ends = []
        for k, chain in enumerate(chains):
            end = x if k == direct else split(plan, x)
            for key, layer, _ in chain:
                end = layer.lower(plan, end, _select(offsets, key))
            ends.append(end)
        y = merge(plan, ends, output_shape, self._merge)
        # blocks may synchronize within a branch, while these gradients are waiting
        for tensor in (x, *ends[:-1]):
            plan.persist_gradient(tensor)
        return y


@dataclass(repr=False, eq=False)
class Parallel(Branched):
    """Branches of layers that read the same input, and whose outputs are merged.

    An activation after the merge, such as `ReLU`, is a layer of its own. Branches may have further branches.

    Parameters
    ----------
    branches : list of list of layer
        The layers of every branch, at least one branch. An empty list is the input itself. Names must differ
        within a branch. A None, as a layer or as a branch, is left out.
    merge : {"concat", "add", "multiply", "average", "max"}, default="concat"
        How the outputs of the branches become one. "concat" joins their channels, in order, or the features
        of vectors; images must have one size. The others work element by element, on outputs of one shape.
        With "multiply", an output of shape (channels,) or (channels, 1, 1) multiplies the whole channels of
        the others.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    TypeError
        If branches is not a list of lists of layers.
    ValueError
        If there is no branch, names are not unique, or merge is another word.

    Notes
    -----
    Fields of inner layers are searched as ``layers__<parallel>__branches__<k>__<inner>__<field>``, where k
    counts from 0; among ``network_.weights`` they are called "<parallel>.<k>.<inner>.weight".

    If several outputs have the largest element, the first of these branches gets its gradient.

    References
    ----------
    Szegedy et al., "Going deeper with convolutions", CVPR 2015, figure 2, for "concat"; Hu, Shen and Sun,
    "Squeeze-and-excitation networks", CVPR 2018, figure 2, for "multiply".

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, Dense, GlobalAvgPool2D, MaxPool2D, Parallel
    >>> inception = Parallel(
    ...     [
    ...         [Conv2D(16, 1)],
    ...         [Conv2D(12, 1), Conv2D(24, 3, padding="same")],
    ...         [MaxPool2D(3, stride=1, padding="same"), Conv2D(8, 1)],
    ...     ]
    ... )
    >>> inception.output_shape((32, 14, 14))
    (48, 14, 14)

    Squeeze and excitation, a factor for each of 64 channels:

    >>> factors = [GlobalAvgPool2D(), Dense(4, activation="relu"), Dense(64, activation="sigmoid")]
    >>> Parallel([[], factors], merge="multiply").output_shape((64, 14, 14))
    (64, 14, 14)
    """

    branches: Sequence[Sequence[Layer | None] | None]
    merge: Literal["concat", "add", "multiply", "average", "max"] = "concat"

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.branches
        if not isinstance(given, tuple):
            raise TypeError(
                f"Parallel: branches must be a list of lists of layers, such as [[Conv2D(8)], []], got "
                f"{short_repr(given)}."
            )
        for k, branch in enumerate(given):
            if not isinstance(branch, (tuple, type(None))):
                one = f" Write [{branch!r}]." if isinstance(branch, Layer) else ""
                raise TypeError(
                    f"Parallel: branches[{k}] must be a list of layers, got {short_repr(branch)}.{one}"
                )
        if all(branch is None for branch in given):
            raise ValueError(
                "Parallel: branches must have at least one list of layers; [] is the input itself."
            )
        if self.merge not in MERGES:
            raise ValueError(f"Parallel: unknown merge {self.merge!r}. {suggest(self.merge, MERGES)}")
        for k, branch in enumerate(given):
            try:
                name_layers(branch or ())
            except (TypeError, ValueError) as error:
                raise type(error)(f"Parallel: branches[{k}]: {error}") from None
        self._check_inner()

    @property
    def _merge(self) -> str:
        return self.merge

    def _name_branches(self, shape: Shape | None) -> list[_Branch]:
        return [
            _Branch(branch, f"{k}.", f" of branches[{k}]")
            for k, branch in enumerate(self.branches)
            if branch is not None
        ]

    def _merge_shapes(self, shapes: list[Shape]) -> Shape:
        largest = max(shapes, key=lambda shape: (len(shape), shape[1:]))
        for branch, shape in zip(self._name_branches(None), shapes):
            if self.merge == "concat":
                fits = shape[1:] == largest[1:]
            else:
                pixel = self.merge == "multiply" and shape in (largest[:1], (largest[0], 1, 1))
                fits = shape == largest or pixel
            if not fits:
                other = self._name_branches(None)[shapes.index(largest)]
                raise ShapeError(
                    f"branches whose outputs fit together, for merge={self.merge!r}; but the output"
                    f"{branch.place} is {describe_shape(shape)}, that{other.place} {describe_shape(largest)}",
                    f"Change these branches{_REMEDIES.get(self.merge, '')}.",
                )
        if self.merge == "concat":
            return (sum(shape[0] for shape in shapes), *largest[1:])
        return largest


# What may make the outputs of branches fit together.
_REMEDIES = {
    "concat": ': images need one size (padding="same", equal strides); vectors go with vectors',
    "multiply": "; channels can be multiplied by (channels,) or (channels, 1, 1)",
}


@dataclass(repr=False, eq=False)
class Residual(Branched):
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
        if any(key == "shortcut" for key, _ in name_layers(self.layers)):
            raise ValueError('Residual: the name "shortcut" is taken; choose another.')
        self._check_inner()

    def _name_branches(self, shape: Shape | None) -> list[_Branch]:
        branch, shortcut = _Branch(self.layers), self.shortcut
        if shortcut == "auto":
            shortcut = ()
            if shape is not None and (output_shape := _chain(branch, shape)[1]) != shape:
                kind = Conv1D if count_axes(self.layers) == 1 else Conv2D
                shortcut = (_project(shape, output_shape, kind),)
        return [branch, _Branch(shortcut, "shortcut.", " of the shortcut")]

    def _merge_shapes(self, shapes: list[Shape]) -> Shape:
        output_shape, other_shape = shapes
        if other_shape != output_shape:
            raise ShapeError(
                f"a shortcut that gives {describe_shape(output_shape)}, like its layers, but it gives "
                f"{describe_shape(other_shape)}",
                "Change the shortcut, or the branch.",
            )
        return output_shape


def _chain(branch: _Branch, shape: Shape) -> tuple[Chain, Shape]:
    """Return (key, layer, input shape) of every layer, and the output shape of the last one."""
    chain = []
    for key, layer in name_layers(branch.layers):
        if layer is None:
            continue
        chain.append((branch.prefix + key, layer, shape))
        try:
            shape = layer.output_shape(shape)
        except ShapeError as error:
            need = f"for its {type(layer).__name__} {key!r}{branch.place} {error.need}"
            raise ShapeError(need, error.remedy) from None
    return chain, shape


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
