"""Convolutions, with shared weights and without."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skconvnet._lowering.calls import Window
from skconvnet._lowering.conv import ConvCall, DenseCall, TransposedConvCall
from skconvnet._lowering.local import LocallyConnectedCall
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Initializer, Padding, Pair, Shape, SignalPadding, Size
from skconvnet.initializers import CONVOLUTION_INITIALIZERS, check_initializer, draw
from skconvnet.layers.activation import resolve_activation
from skconvnet.layers.base import (
    Layer,
    ShapeError,
    TrainedLayer,
    check_axes,
    check_count,
    check_flag,
    check_pair,
)
from skconvnet.layers.window import LARGEST_IMAGE, Windowed


@dataclass(repr=False, eq=False)
class _Convolution(Windowed, TrainedLayer):
    """Base class of convolutions; `_sizes` names the fields that are sizes."""

    filters: int
    kernel_size: Size = 3
    stride: Size = field(default=1, kw_only=True)
    padding: Padding | SignalPadding = field(default="valid", kw_only=True)
    activation: str | Layer | None = field(default=None, kw_only=True)
    bias: bool = field(default=True, kw_only=True)
    init: Initializer = field(default="he_uniform", kw_only=True)
    _sizes: ClassVar[tuple[str, ...]] = ("kernel_size", "stride")
    _own_initializers: ClassVar[Sequence[str]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = type(self).__name__
        check_count(owner, "filters", self.filters)
        self._pairs()
        self._check_padding()
        check_flag(owner, "bias", self.bias)
        resolve_activation(owner, self.activation)
        check_initializer(owner, self.init, self._own_initializers)

    def _pairs(self) -> list[Pair]:
        """Return the sizes, kernel size and stride first, as pairs."""
        return [self._resolve_size(what) for what in self._sizes]

    def output_shape(self, shape: Shape) -> Shape:
        check_axes(shape, self._n_axes)
        remedy = 'Use a smaller kernel_size, padding="same", or pool later.'
        return (self.filters, *self._slide(shape, remedy))


def _check_groups(owner: str, filters: int, groups: int) -> None:
    """Require that filters make equal groups."""
    check_count(owner, "groups", groups)
    if filters % groups:
        raise ValueError(
            f"{owner}: filters must be a multiple of groups, got filters={filters} and groups={groups}."
        )


def _check_channels(shape: Shape, filters: int, groups: int) -> None:
    """Require that the channels of an input make equal groups."""
    if shape[0] % groups:
        raise ShapeError(
            f"an input whose channels make {groups} equal groups",
            f"Choose groups that divide {shape[0]} as well as filters={filters}.",
        )


def _dilate(kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    """Return the height and width of a dilated kernel."""
    height, width = ((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    return height, width


@dataclass(repr=False, eq=False)
class _SharedConvolution(_Convolution):
    """Base class of convolutions whose weights are the same at all positions."""

    connections: ArrayLike | None = field(default=None, kw_only=True)
    groups: int = field(default=1, kw_only=True)
    dilation: Size = field(default=1, kw_only=True)
    _sizes: ClassVar[tuple[str, ...]] = ("kernel_size", "stride", "dilation")
    _own_initializers: ClassVar[Sequence[str]] = CONVOLUTION_INITIALIZERS

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = type(self).__name__
        _check_groups(owner, self.filters, self.groups)
        if self.groups > 1 and self.connections is not None:
            raise ValueError(
                f"{owner}: got both groups and connections; leave groups=1 and say in connections what "
                f"each filter sees."
            )
        if self.init in CONVOLUTION_INITIALIZERS and (
            self.groups > 1 or self.connections is not None or self.dilation not in (1, (1, 1), [1, 1])
        ):
            raise ValueError(
                f"{owner}: init={self.init!r} is for layers without groups, connections and dilation; choose "
                f"another init."
            )
        if self.connections is not None:
            table = np.asarray(self.connections)
            if table.ndim != 2 or table.shape[0] != self.filters or not np.isin(table, (0, 1)).all():
                raise ValueError(
                    f"{owner}: connections must be a bool array of shape (filters, channels) = "
                    f"({self.filters}, channels), got an array of shape {table.shape} and "
                    f"type {table.dtype}."
                )
            object.__setattr__(self, "connections", tuple(tuple(map(bool, row)) for row in table.tolist()))

    def _span(self) -> Pair:
        return _dilate(*self._pairs())

    def _connect(self, channels: int) -> NDArray[np.bool_]:
        """Return which channels of its group each filter sees, a bool array of shape weight.shape[:2]."""
        if self.connections is None:
            return np.ones((self.filters, channels // self.groups), bool)
        return np.array(self.connections)

    def output_shape(self, shape: Shape) -> Shape:
        check_axes(shape, self._n_axes)
        table = np.asarray(self.connections)
        if self.connections is not None and table.shape[1] != shape[0]:
            raise ShapeError(
                f"an input of {table.shape[1]} channels, as its connections table of shape {table.shape} "
                f"requires",
                f"Give connections the shape (filters, channels) = ({self.filters}, {shape[0]}).",
            )
        _check_channels(shape, self.filters, self.groups)
        return super().output_shape(shape)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        kernel = self._pairs()[0][-self._n_axes :]
        shapes: dict[str, Shape] = {"weight": (self.filters, shape[0] // self.groups, *kernel)}
        return {**shapes, "bias": (self.filters,)} if self.bias else shapes

    def list_matrices(self, shape: Shape) -> list[str]:
        return [] if self.groups > 1 or self.connections is not None else ["weight"]

    def count_parameters(self, shape: Shape) -> int:
        (kh, kw), _, _ = self._pairs()
        connected = int(self._connect(shape[0]).sum())
        return connected * kh * kw + self.filters * bool(self.bias)

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        weight_shape = self.parameter_shapes(shape)["weight"]
        area, ones = math.prod(self._pairs()[0]), (1,) * self._n_axes
        connected = self._connect(shape[0])
        # the fan-in of each filter: with a connection table, it may be less than channels * area
        fan_in = (np.maximum(connected.sum(axis=1), 1) * area).reshape(-1, 1, *ones)
        weight = draw(self.init, weight_shape, fan_in, self.filters // self.groups * area, rng)
        parameters = {"weight": weight * connected.reshape(*connected.shape, *ones)}
        return {**parameters, "bias": np.zeros(self.filters)} if self.bias else parameters

    def check_parameters(self, shape: Shape, parameters: dict[str, Array]) -> None:
        if parameters["weight"][~self._connect(shape[0])].any():
            raise ValueError(
                "its weight has values other than 0 where its connections table has False; set those to 0."
            )

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_tensor(self.output_shape(x.shape), x, trains=True)
        kernel, stride, dilation = self._pairs()
        padding = self._pad(x.shape)
        weight, bias = offsets["weight"], offsets.get("bias", -1)
        fully_connected = self.connections is None and self.groups == 1
        if kernel == x.shape[1:] and not np.any(padding) and fully_connected:
            # the kernel covers the whole input: a dense layer
            plan.add_call(DenseCall(plan.flatten(x), y, weight, bias))
        else:
            window = Window(kernel, stride, padding, dilation)
            connected = self._connect(x.shape[0])[: self.filters // self.groups]  # the same in all groups
            plan.add_call(ConvCall(x, y, weight, bias, window, connected))
        return resolve_activation(type(self).__name__, self.activation).lower(plan, y, {})


@dataclass(repr=False, eq=False)
class Conv2D(_SharedConvolution):
    """Two-dimensional convolution (cross-correlation, as in every framework).

    ``y[o, i, j] = bias[o] + sum_{c, u, v} weight[o, c, u, v] * x[c, i * s + u - p, j * s + v - p]``
    for stride s and padding p; c counts the channels of the filter's group.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int or (int, int), default=3
        Height and width of the kernel, in pixels.
    stride : int or (int, int), default=1
        Step of the kernel, down and to the right.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        Rows and columns of zeros around the image. "valid" adds none; "same" adds those that give
        ceil(size / stride) outputs, an odd one at the bottom or right; others are (height, width) or
        ((top, bottom), (left, right)).
    activation : str or layer, default=None
        Applied to the output: "relu", "leaky_relu", "elu", "gelu", "relu6", "selu", "silu", "mish",
        "hardswish", "sigmoid", "tanh", "softplus", "softsign", "arctan", "softmax", "log_softmax", or such a
        layer.
    bias : bool, default=True
        Whether every filter has a bias.
    connections : array-like of bool of shape (filters, channels), default=None
        Which input channels each filter sees; None for all.
    groups : int, default=1
        Number of equal groups that channels and filters are divided into, in order; a filter sees
        only the channels of its own group. With one group per channel, the convolution is depthwise.
        Not together with connections.
    dilation : int or (int, int), default=1
        Distance between neighbouring kernel elements, in pixels.
    init : str or callable, default="he_uniform"
        How weights start: see :mod:`skconvnet.initializers`. "dirac" and "whiten" are for layers without
        groups, connections and dilation. Biases start at zero.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998); its Table I is a `connections` table.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D
    >>> Conv2D(6, 5, activation="relu").output_shape((1, 32, 32))
    (6, 28, 28)
    """

    _n_axes = 2


@dataclass(repr=False, eq=False)
class Conv1D(_SharedConvolution):
    """Convolution of signals: series, spectra and the like.

    ``y[o, j] = bias[o] + sum_{c, v} weight[o, c, v] * x[c, j * s + v * d - p]`` for stride s, dilation d
    and padding p before the signal; c counts the channels of the filter's group.

    A stack whose first layer with windows is one of signals reads X as signals: (n, length), (n, length,
    channels), or (n, channels, length) with ``data_format="channels_first"``.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int, default=3
        Number of neighbouring values that a filter sees.
    stride : int, default=1
        Step of the kernel.
    padding : "valid", "same", "causal", int or (int, int), default="valid"
        Zeros around the signal. "valid" adds none; "same" adds those that give ceil(length / stride)
        outputs, an odd one after the signal; "causal" adds ``(kernel_size - 1) * dilation`` before it, so
        that an output depends on no later value; others are the numbers (before, after).
    activation : str or layer, default=None
        Applied to the output, as for `Conv2D`.
    bias : bool, default=True
        Whether every filter has a bias.
    connections : array-like of bool of shape (filters, channels), default=None
        Which input channels each filter sees; None for all.
    groups : int, default=1
        Number of equal groups that channels and filters are divided into, in order; a filter sees
        only the channels of its own group. Not together with connections.
    dilation : int, default=1
        Distance between neighbouring kernel elements.
    init : str or callable, default="he_uniform"
        How weights start: see :mod:`skconvnet.initializers`. "dirac" and "whiten" are for layers without
        groups, connections and dilation. Biases start at zero.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    See Also
    --------
    Conv2D : The same for images.

    Notes
    -----
    Among ``network_.weights``, "weight" has shape (filters, channels / groups, kernel_size), as in PyTorch.

    References
    ----------
    Wang, Yan and Oates, "Time series classification from scratch with deep neural networks: a strong
    baseline", IJCNN 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.layers import Conv1D, GlobalAvgPool1D
    >>> t, y = np.linspace(0, 1, 50), np.arange(40) % 2
    >>> X = np.sin(2 * np.pi * np.outer(3 + 2 * y, t))
    >>> layers = [Conv1D(8, 7, padding="same", activation="relu"), GlobalAvgPool1D()]
    >>> clf = ConvNetClassifier(layers, learning_rate=0.01, random_state=0).fit(X, y)
    >>> clf.score(X, y)
    1.0
    """

    _n_axes = 1


@dataclass(repr=False, eq=False)
class Conv2DTranspose(_Convolution):
    """The transpose of a two-dimensional convolution, which makes images larger by its stride.

    ``y[o, i, j] = bias[o] + sum of weight[c, o, u, v] * x[c, k, l]`` over all c, u, v, k and l with
    ``i = k * s + u * d - p`` and ``j = l * s + v * d - p``, for stride s, dilation d and padding p. It has
    the matrix of the gradient to the input of the `Conv2D` with the same settings.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int or (int, int), default=3
        Height and width of the kernel, in pixels.
    stride : int or (int, int), default=1
        Distance between the outputs of neighbouring pixels.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        Rows and columns that are cut off the output. "valid" cuts none; "same" cuts off those that leave
        size * stride outputs; others are (height, width) or ((top, bottom), (left, right)).
    output_padding : int or (int, int), default=0
        Rows at the bottom and columns at the right that are appended to the output; less than the stride or
        the dilation, and 0 with "same".
    activation : str or layer, default=None
        Applied to the output, as for `Conv2D`.
    bias : bool, default=True
        Whether every filter has a bias.
    groups : int, default=1
        Number of equal groups that channels and filters are divided into, in order.
    dilation : int or (int, int), default=1
        Distance between neighbouring kernel elements, in pixels.
    init : str or callable, default="he_uniform"
        How weights start: see :mod:`skconvnet.initializers`. Biases start at zero.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    See Also
    --------
    UpSample2D : Upsampling without weights.

    Notes
    -----
    The output has ``(size - 1) * stride + (kernel_size - 1) * dilation + 1 - padding + output_padding`` rows
    and columns, where padding is that of both sides. Among ``network_.weights``, "weight" has shape
    (channels, filters / groups, kh, kw), as in PyTorch.

    References
    ----------
    Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional networks", CVPR 2010; Dumoulin and Visin, "A guide
    to convolution arithmetic for deep learning", arXiv:1603.07285 (2016), section 4.

    Examples
    --------
    >>> from skconvnet.layers import Conv2DTranspose
    >>> Conv2DTranspose(8, 4, stride=2, padding=1).output_shape((16, 7, 7))
    (8, 14, 14)
    >>> Conv2DTranspose(8, 4, stride=2, padding=1).parameter_shapes((16, 7, 7))["weight"]
    (16, 8, 4, 4)
    """

    output_padding: Size = field(default=0, kw_only=True)
    groups: int = field(default=1, kw_only=True)
    dilation: Size = field(default=1, kw_only=True)
    _sizes: ClassVar[tuple[str, ...]] = ("kernel_size", "stride", "dilation")
    _n_axes = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_groups("Conv2DTranspose", self.filters, self.groups)
        _, stride, dilation = self._pairs()
        extra = self._resolve_extra()
        if any(n >= max(s, d) for n, s, d in zip(extra, stride, dilation)):
            raise ValueError(
                f"Conv2DTranspose: output_padding must be less than stride or dilation, got "
                f"output_padding={self.output_padding!r} with stride={self.stride!r}."
            )
        if self.padding == "same" and any(extra):
            raise ValueError(
                'Conv2DTranspose: padding="same" determines the size of the output; leave output_padding=0.'
            )

    def _span(self) -> Pair:
        return _dilate(*self._pairs())

    def output_shape(self, shape: Shape) -> Shape:
        check_axes(shape, self._n_axes)
        _check_channels(shape, self.filters, self.groups)
        (down, right), extra = self._pairs()[1], self._resolve_extra()
        if self.padding == "same":
            return self.filters, shape[1] * down, shape[2] * right
        rows, columns = (
            (n - 1) * s + k - sum(sides) + more
            for n, s, k, sides, more in zip(shape[1:], (down, right), self._span(), self._pad(shape), extra)
        )
        if rows < 1 or columns < 1:
            raise ShapeError("an output of at least 1x1 pixels", "Use less padding or a larger kernel_size.")
        if rows * columns > LARGEST_IMAGE:
            raise ShapeError(f"an output of at most {LARGEST_IMAGE} pixels", "Use a smaller stride.")
        return self.filters, rows, columns

    def _resolve_extra(self) -> Pair:
        """Return the output padding as a pair."""
        return check_pair("Conv2DTranspose", "output_padding", self.output_padding, 0)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (shape[0], self.filters // self.groups, *self._pairs()[0])}
        return {**shapes, "bias": (self.filters,)} if self.bias else shapes

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        weight_shape = self.parameter_shapes(shape)["weight"]
        (kh, kw), (down, right), _ = self._pairs()
        # an output has a stride-th of the kernel's rows and columns, on average
        fan_in = max(shape[0] // self.groups * kh * kw // (down * right), 1)
        parameters = {"weight": draw(self.init, weight_shape, fan_in, weight_shape[1] * kh * kw, rng)}
        return {**parameters, "bias": np.zeros(self.filters)} if self.bias else parameters

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_tensor(self.output_shape(x.shape), x, trains=True)
        kernel, stride, dilation = self._pairs()
        window = Window(kernel, stride, self._pad(y.shape), dilation)
        weight, bias, n_inputs = offsets["weight"], offsets.get("bias", -1), x.shape[0] // self.groups
        plan.add_call(TransposedConvCall(x, y, weight, bias, window, n_inputs))
        return resolve_activation("Conv2DTranspose", self.activation).lower(plan, y, {})


@dataclass(repr=False, eq=False)
class _LocallyConnected(_Convolution):
    """Base class of convolutions with a kernel for each position."""

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        filters, *size = self.output_shape(shape)
        y_shape = (filters, *size[-self._n_axes :])
        shapes = {"weight": (*y_shape, shape[0], *self._pairs()[0][-self._n_axes :])}
        return {**shapes, "bias": y_shape} if self.bias else shapes

    def initialize(self, shape: Shape, rng: np.random.RandomState) -> dict[str, Array]:
        shapes = self.parameter_shapes(shape)
        area = math.prod(self._span())
        fan_in, fan_out = shape[0] * area, self.filters * area
        parameters = {"weight": draw(self.init, shapes["weight"], fan_in, fan_out, rng)}
        return {**parameters, "bias": np.zeros(shapes["bias"])} if self.bias else parameters

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_tensor(self.output_shape(x.shape), x, trains=True)
        kernel, stride = self._pairs()
        window = Window(kernel, stride, self._pad(x.shape))
        plan.add_call(LocallyConnectedCall(x, y, offsets["weight"], offsets.get("bias", -1), window))
        return resolve_activation(type(self).__name__, self.activation).lower(plan, y, {})


@dataclass(repr=False, eq=False)
class LocallyConnected2D(_LocallyConnected):
    """A convolution whose weights are not shared: every position has a kernel of its own.

    ``y[o, i, j] = bias[o, i, j]
    + sum_{c, u, v} weight[o, i, j, c, u, v] * x[c, i * s + u - p, j * s + v - p]``
    for stride s and padding p.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int or (int, int), default=3
        Height and width of the kernels, in pixels.
    stride : int or (int, int), default=1
        Step of the kernels, down and to the right.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        Rows and columns of zeros around the image, as for Conv2D.
    activation : str or layer, default=None
        Applied to the output, as for Conv2D.
    bias : bool, default=True
        Whether every output has a bias.
    init : str or callable, default="he_uniform"
        How weights start: see :mod:`skconvnet.initializers`. Biases start at zero.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    Notes
    -----
    Among ``network_.weights``, "weight" has shape (filters, h_out, w_out, channels, kh, kw) and "bias"
    (filters, h_out, w_out). Weights that only ever multiply padding get no gradient.

    References
    ----------
    LeCun, "Generalization and network design strategies", 1989.

    Examples
    --------
    >>> from skconvnet.layers import LocallyConnected2D
    >>> LocallyConnected2D(6, 5).parameter_shapes((1, 32, 32))["weight"]
    (6, 28, 28, 1, 5, 5)
    """

    _n_axes = 2


@dataclass(repr=False, eq=False)
class LocallyConnected1D(_LocallyConnected):
    """A convolution of signals whose weights are not shared: every position has a kernel of its own.

    ``y[o, j] = bias[o, j] + sum_{c, v} weight[o, j, c, v] * x[c, j * s + v - p]`` for stride s and padding p
    before the signal. Spectra are such signals: a position has a meaning of its own.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int, default=3
        Number of neighbouring values that a filter sees.
    stride : int, default=1
        Step of the kernels.
    padding : "valid", "same", "causal", int or (int, int), default="valid"
        Zeros around the signal, as for `Conv1D`.
    activation : str or layer, default=None
        Applied to the output, as for `Conv2D`.
    bias : bool, default=True
        Whether every output has a bias.
    init : str or callable, default="he_uniform"
        How weights start: see :mod:`skconvnet.initializers`. Biases start at zero.
    learning_rate_factor : float or (float, float), default=1.0
        Factor of the estimator's `learning_rate` for this layer, or one for its weight and one for its bias.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    See Also
    --------
    LocallyConnected2D : The same for images.

    Notes
    -----
    Among ``network_.weights``, "weight" has shape (filters, length, channels, kernel_size) and "bias"
    (filters, length), for the length of the output. Weights that only ever multiply padding get no gradient.

    Examples
    --------
    >>> from skconvnet.layers import LocallyConnected1D
    >>> LocallyConnected1D(6, 5).parameter_shapes((1, 1, 32))["weight"]
    (6, 28, 1, 5)
    """

    _n_axes = 1
