"""Layers that scale, shift or pad an image."""

from dataclasses import dataclass

from skconvnet._lowering.calls import RescalingCall
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Shape, Sides, Size
from skconvnet._values import check_numbers
from skconvnet.layers.base import Layer, check_image
from skconvnet.layers.window import check_padding, pad_image, slide


@dataclass(repr=False, eq=False)
class Rescaling(Layer):
    """Scale and shift every value: ``y = scale * x + offset``.

    Parameters
    ----------
    scale : float
        ``Rescaling(1 / 255)`` turns bytes into values from 0 to 1.
    offset : float, default=0
        Added after scaling.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If scale or offset is not a finite number.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, Rescaling
    >>> layers = [Rescaling(1 / 255), Conv2D(8)]  # for images of uint8
    """

    scale: float
    offset: float = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, scale="(-inf, inf)", offset="(-inf, inf)")

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_like(x)
        plan.add_call(RescalingCall(x, y, float(self.scale), float(self.offset)))
        return y


@dataclass(repr=False, eq=False)
class ZeroPad2D(Layer):
    """Put rows and columns of zeros around an image.

    A convolution or pooling pads by itself with `padding`; use this layer if zeros are to count as
    pixels, as in an average or a maximum.

    Parameters
    ----------
    padding : int, (int, int) or ((int, int), (int, int))
        Rows above and below and columns left and right; (rows, columns); or ((top, bottom),
        (left, right)).
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If padding is not of these kinds.

    Examples
    --------
    >>> from skconvnet.layers import ZeroPad2D
    >>> ZeroPad2D(((0, 1), (2, 2))).output_shape((3, 8, 8))
    (3, 9, 12)
    """

    padding: Size | Sides

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.padding, str):
            raise ValueError(
                f"ZeroPad2D: padding must be an int, a pair (height, width) or "
                f"((top, bottom), (left, right)), got {self.padding!r}."
            )
        check_padding("ZeroPad2D", self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        check_image(shape)
        return (shape[0], *slide(shape, (1, 1), (1, 1), self.padding, "Use less padding."))

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        y = plan.add_tensor(self.output_shape(x.shape), x)
        (top, _), (left, _) = pad_image(x.shape, (1, 1), (1, 1), self.padding)
        plan.add_call(RescalingCall(x, y, corner=(0, top, left)))
        return y
