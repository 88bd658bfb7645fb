"""Upsampling: larger images without parameters."""

from dataclasses import dataclass
from typing import Literal

from skconvnet._advice import suggest
from skconvnet._lowering.calls import Window
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._lowering.pool import PoolCall, UpSampleCall
from skconvnet._types import Shape, Size
from skconvnet.layers.base import Layer, ShapeError, check_image, check_pair
from skconvnet.layers.window import LARGEST_IMAGE

INTERPOLATIONS = "nearest", "bilinear"


@dataclass(repr=False, eq=False)
class UpSample2D(Layer):
    """Make images larger by whole factors.

    Parameters
    ----------
    size : int or (int, int), default=2
        Factors of height and width.
    interpolation : {"nearest", "bilinear"}, default="nearest"
        "nearest" repeats every pixel. "bilinear" interpolates between the centres of pixels, and repeats
        the outermost ones beyond their centres, as PyTorch does with ``align_corners=False``.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If size is not of these kinds, or interpolation is another word.

    See Also
    --------
    Conv2DTranspose : Upsampling whose weights are learnt.

    Notes
    -----
    A signal has one row: ``UpSample2D((1, 2))`` makes it longer.

    Examples
    --------
    >>> from skconvnet.layers import UpSample2D
    >>> UpSample2D((2, 3)).output_shape((16, 7, 7))
    (16, 14, 21)
    """

    size: Size = 2
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pair("UpSample2D", "size", self.size, 1)
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"UpSample2D: unknown interpolation {self.interpolation!r}. "
                f"{suggest(self.interpolation, INTERPOLATIONS)}"
            )

    def output_shape(self, shape: Shape) -> Shape:
        check_image(shape)
        (kh, kw), (channels, height, width) = check_pair("UpSample2D", "size", self.size, 1), shape
        if height * kh * width * kw > LARGEST_IMAGE:
            raise ShapeError(f"an output of at most {LARGEST_IMAGE} pixels", "Use a smaller size.")
        return channels, height * kh, width * kw

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        size = check_pair("UpSample2D", "size", self.size, 1)
        y = plan.add_tensor(self.output_shape(x.shape), x)
        plan.add_call(UpSampleCall(x, y, size))
        if self.interpolation == "bilinear":
            # A mean over s of these pixels is the interpolation at a pixel's centre if s is odd, and at its
            # edge if s is even; then the centre is the mean of two edges.  Windows that are cut off at the
            # border have pixels of one value.
            rows, columns = ((n // 2, n // 2) for n in size)
            y = _average(plan, y, Window(size, (1, 1), (rows, columns)))
            down, right = (2 - n % 2 for n in size)
            if (down, right) != (1, 1):
                y = _average(plan, y, Window((down, right), (1, 1), ((0, 0), (0, 0))))
        return y


def _average(plan: Plan, x: Tensor, window: Window) -> Tensor:
    """Add an average over windows, and return its output."""
    sizes = (n + sum(sides) - k + 1 for n, k, sides in zip(x.shape[1:], window.kernel, window.padding))
    y = plan.add_tensor((x.shape[0], *sizes), x)
    plan.add_call(PoolCall("avg_pool", x, y, window))
    return y
