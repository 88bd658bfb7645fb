"""Pooling layers."""

from dataclasses import dataclass, field
from typing import ClassVar

from skconvnet._lowering.calls import Window
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._lowering.pool import PoolCall
from skconvnet._types import Padding, Pair, Shape, Size
from skconvnet.layers.base import Layer, ShapeError, check_image, check_pair
from skconvnet.layers.window import check_padding, pad_image, slide


@dataclass(repr=False, eq=False)
class _Pool2D(Layer):
    """Base class of poolings over windows."""

    pool_size: Size = 2
    stride: Size | None = field(default=None, kw_only=True)
    padding: Padding = field(default="valid", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = type(self).__name__
        check_pair(owner, "pool_size", self.pool_size, 1)
        if self.stride is not None:
            check_pair(owner, "stride", self.stride, 1)
        check_padding(owner, self.padding)

    def _pairs(self) -> tuple[Pair, Pair]:
        """Return window and stride as pairs."""
        owner = type(self).__name__
        window = check_pair(owner, "pool_size", self.pool_size, 1)
        return window, window if self.stride is None else check_pair(owner, "stride", self.stride, 1)

    def output_shape(self, shape: Shape) -> Shape:
        check_image(shape)
        window, stride = self._pairs()
        sides = pad_image(shape, window, stride, self.padding)
        if any(side >= size for pair, size in zip(sides, window) for side in pair):
            raise ShapeError(
                f"a padding smaller than its window of {window[0]}x{window[1]} pixels, so that "
                f"every window contains a pixel; it has {self.padding!r}",
                "Use a smaller padding.",
            )
        remedy = 'Use a smaller pool_size, padding="same", or pool less often.'
        return (shape[0], *slide(shape, window, stride, self.padding, remedy))

    def _lower(self, plan: Plan, x: Tensor, kernel_name: str, **options: bool) -> Tensor:
        """Add the call of one of the two kernels, and return its output."""
        y = plan.add_tensor(self.output_shape(x.shape), x)
        window, stride = self._pairs()
        padding = pad_image(x.shape, window, stride, self.padding)
        plan.add_call(PoolCall(kernel_name, x, y, Window(window, stride, padding), **options))
        return y


@dataclass(repr=False, eq=False)
class MaxPool2D(_Pool2D):
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

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return self._lower(plan, x, "max_pool")


@dataclass(repr=False, eq=False)
class AvgPool2D(_Pool2D):
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

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return self._lower(plan, x, "avg_pool")


@dataclass(repr=False, eq=False)
class _GlobalPool2D(Layer):
    """Base class of poolings over whole images; `_kernel` is the engine's name of the kernel."""

    _kernel: ClassVar[str]

    def output_shape(self, shape: Shape) -> Shape:
        check_image(shape)
        return shape[:1]

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_tensor(self.output_shape(x.shape), x)
        _, height, width = x.shape
        window = Window((height, width), (1, 1), ((0, 0), (0, 0)))
        plan.add_call(PoolCall(self._kernel, x, y, window))
        return y


@dataclass(repr=False, eq=False)
class GlobalMaxPool2D(_GlobalPool2D):
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

    _kernel = "max_pool"


@dataclass(repr=False, eq=False)
class GlobalAvgPool2D(_GlobalPool2D):
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

    _kernel = "avg_pool"
