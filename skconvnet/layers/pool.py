"""Pooling layers."""

from dataclasses import dataclass, field
from typing import ClassVar

from skconvnet._lowering.calls import Window
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._lowering.pool import PoolCall
from skconvnet._types import Padding, Pair, Shape, SignalPadding, Size
from skconvnet.layers.base import Layer, ShapeError, check_axes
from skconvnet.layers.window import Windowed


@dataclass(repr=False, eq=False)
class _Pool(Windowed):
    """Base class of poolings over windows."""

    pool_size: Size = 2
    stride: Size | None = field(default=None, kw_only=True)
    padding: Padding | SignalPadding = field(default="valid", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._pairs()
        self._check_padding()

    def _pairs(self) -> tuple[Pair, Pair]:
        """Return window and stride as pairs."""
        window = self._resolve_size("pool_size")
        return window, window if self.stride is None else self._resolve_size("stride")

    def output_shape(self, shape: Shape) -> Shape:
        check_axes(shape, self._n_axes)
        window = self._span()
        if any(side >= size for pair, size in zip(self._pad(shape), window) for side in pair):
            kind = f"{window[0]}x{window[1]} pixels" if self._n_axes == 2 else f"{window[1]} values"
            raise ShapeError(
                f"a padding smaller than its window of {kind}, so that every window contains "
                f"{'a pixel' if self._n_axes == 2 else 'a value'}; it has {self.padding!r}",
                "Use a smaller padding.",
            )
        remedy = 'Use a smaller pool_size, padding="same", or pool less often.'
        return (shape[0], *self._slide(shape, remedy))

    def _lower(self, plan: Plan, x: Tensor, kernel_name: str, **options: bool) -> Tensor:
        """Add the call of one of the two kernels, and return its output."""
        y = plan.add_tensor(self.output_shape(x.shape), x)
        window, stride = self._pairs()
        plan.add_call(PoolCall(kernel_name, x, y, Window(window, stride, self._pad(x.shape)), **options))
        return y


@dataclass(repr=False, eq=False)
class _MaxPool(_Pool):
    """Base class of maxima over windows."""

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return self._lower(plan, x, "max_pool")


@dataclass(repr=False, eq=False)
class _AvgPool(_Pool):
    """Base class of averages over windows."""

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return self._lower(plan, x, "avg_pool")


@dataclass(repr=False, eq=False)
class MaxPool2D(_MaxPool):
    """Maximum over windows of each channel; padding is never the maximum.

    The gradient goes to the first of the window's pixels that equals the maximum; where windows
    overlap, gradients add up.

    Parameters
    ----------
    pool_size : int or (int, int), default=2
        Height and width of the window, in pixels.
    stride : int or (int, int), default=None
        Step of the window; None for pool_size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        Rows and columns around the image that windows may reach into, as for Conv2D.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    Examples
    --------
    >>> from skconvnet.layers import MaxPool2D
    >>> MaxPool2D(2).output_shape((32, 26, 26))
    (32, 13, 13)
    """

    _n_axes = 2


@dataclass(repr=False, eq=False)
class AvgPool2D(_AvgPool):
    """Average over windows of each channel; padding does not count.

    Parameters
    ----------
    pool_size : int or (int, int), default=2
        Height and width of the window, in pixels.
    stride : int or (int, int), default=None
        Step of the window; None for pool_size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        Rows and columns around the image that windows may reach into, as for Conv2D.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    Examples
    --------
    >>> from skconvnet.layers import AvgPool2D
    >>> AvgPool2D(3, stride=2, padding="same").output_shape((32, 26, 26))
    (32, 13, 13)
    """

    _n_axes = 2


@dataclass(repr=False, eq=False)
class _GlobalPool(Layer):
    """Base class of poolings over whole images or signals; `_kernel` is the engine's name of the kernel."""

    _kernel: ClassVar[str]

    def output_shape(self, shape: Shape) -> Shape:
        check_axes(shape, self._n_axes)
        return shape[:1]

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_tensor(self.output_shape(x.shape), x)
        _, height, width = x.shape
        window = Window((height, width), (1, 1), ((0, 0), (0, 0)))
        plan.add_call(PoolCall(self._kernel, x, y, window))
        return y


@dataclass(repr=False, eq=False)
class GlobalMaxPool2D(_GlobalPool):
    """Maximum over each whole channel: a vector with one feature per channel.

    The gradient goes to the first of the channel's pixels that equals the maximum.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    Examples
    --------
    >>> from skconvnet.layers import GlobalMaxPool2D
    >>> GlobalMaxPool2D().output_shape((32, 26, 26))
    (32,)
    """

    _n_axes = 2
    _kernel = "max_pool"


@dataclass(repr=False, eq=False)
class GlobalAvgPool2D(_GlobalPool):
    """Average over each whole channel: a vector with one feature per channel.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    References
    ----------
    Lin, Chen and Yan, "Network in network", ICLR 2014.

    Examples
    --------
    >>> from skconvnet.layers import GlobalAvgPool2D
    >>> GlobalAvgPool2D().output_shape((32, 26, 26))
    (32,)
    """

    _n_axes = 2
    _kernel = "avg_pool"


@dataclass(repr=False, eq=False)
class MaxPool1D(_MaxPool):
    """Maximum over windows of each channel of signals; padding is never the maximum.

    Parameters
    ----------
    pool_size : int, default=2
        Length of the window.
    stride : int, default=None
        Step of the window; None for pool_size.
    padding : "valid", "same", "causal", int or (int, int), default="valid"
        Positions around the signal that windows may reach into, as for `Conv1D`.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    See Also
    --------
    MaxPool2D : The same for images.

    Examples
    --------
    >>> from skconvnet.layers import MaxPool1D
    >>> MaxPool1D(2).output_shape((32, 1, 100))
    (32, 1, 50)
    """

    _n_axes = 1


@dataclass(repr=False, eq=False)
class AvgPool1D(_AvgPool):
    """Average over windows of each channel of signals; padding does not count.

    Parameters
    ----------
    pool_size : int, default=2
        Length of the window.
    stride : int, default=None
        Step of the window; None for pool_size.
    padding : "valid", "same", "causal", int or (int, int), default="valid"
        Positions around the signal that windows may reach into, as for `Conv1D`.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    See Also
    --------
    AvgPool2D : The same for images.

    Examples
    --------
    >>> from skconvnet.layers import AvgPool1D
    >>> AvgPool1D(2).output_shape((32, 1, 100))
    (32, 1, 50)
    """

    _n_axes = 1


@dataclass(repr=False, eq=False)
class GlobalMaxPool1D(_GlobalPool):
    """Maximum over each whole channel of signals: a vector with one feature per channel.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    See Also
    --------
    GlobalMaxPool2D : The same for images.

    Examples
    --------
    >>> from skconvnet.layers import GlobalMaxPool1D
    >>> GlobalMaxPool1D().output_shape((32, 1, 100))
    (32,)
    """

    _n_axes = 1
    _kernel = "max_pool"


@dataclass(repr=False, eq=False)
class GlobalAvgPool1D(_GlobalPool):
    """Average over each whole channel of signals: a vector with one feature per channel.

    Parameters
    ----------
    name : str, default=None
        Makes the layer searchable by name.

    See Also
    --------
    GlobalAvgPool2D : The same for images.

    Examples
    --------
    >>> from skconvnet.layers import GlobalAvgPool1D
    >>> GlobalAvgPool1D().output_shape((32, 1, 100))
    (32,)
    """

    _n_axes = 1
    _kernel = "avg_pool"
