"""Layers that change images at random in training, so that the network never sees the same one twice."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

import numpy as np

from skconvnet._lowering.augmentation import ErasingCall, GaussianNoiseCall, WarpCall
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Shape, Size
from skconvnet._values import check_numbers
from skconvnet.layers.base import Layer, ShapeError, check_flag, check_image, check_pair
from skconvnet.layers.window import slide


@dataclass(repr=False, eq=False)
class _Augmentation(Layer):
    """Base class of layers that change images in training only, and keep their shape."""

    def output_shape(self, shape: Shape) -> Shape:
        check_image(shape)
        return shape

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return self._change(plan, x) if plan.training else x

    def _change(self, plan: Plan, x: Tensor) -> Tensor:
        """Add the kernel calls of training, and return the output."""
        raise NotImplementedError


@dataclass(repr=False, eq=False)
class VariedLayer(_Augmentation):
    """Base class of layers that make only a few variants of an image."""

    def vary(self, images: Array) -> Iterator[Array]:
        """Yield images in every way that this layer may change them.

        Parameters
        ----------
        images : ndarray of shape (n, channels, height, width)

        Yields
        ------
        variant : ndarray of that shape
        """
        raise NotImplementedError


def _warp(plan: Plan, x: Tensor, shape: Shape, **choices: Any) -> Tensor:
    """Add the call of a random affine map of x, and return its output, of this shape."""
    y = plan.add_tensor(shape, x)
    plan.add_call(WarpCall(x, y, plan.allocate_stream(), **choices))
    return y


@dataclass(repr=False, eq=False)
class RandomFlip(VariedLayer):
    """Flip images in training, in each direction with probability 1/2.

    Parameters
    ----------
    horizontal : bool, default=True
        Whether to swap left and right with probability 1/2.
    vertical : bool, default=False
        Whether to swap top and bottom with probability 1/2.
    alternating : bool, default=False
        Whether an image that is swapped in one epoch is not swapped in the next one, and the other way round;
        how it begins is drawn at random. Two epochs then show both views of every image (Jordan, "94% on
        CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3.6).
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is neither True nor False.

    Notes
    -----
    The random numbers depend on the estimator's `random_state`, the step and the position of a sample in
    its mini-batch alone: they are the same for any number of threads. In prediction, nothing is random, and
    images do not change, except that `RandomCrop` crops them. Both hold for all layers whose names begin
    with Random, and for `GaussianNoise`.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.layers import Conv2D, GlobalAvgPool2D, RandomFlip, RandomShift, Standardize
    >>> clf = ConvNetClassifier([Standardize(), RandomFlip(), RandomShift(4), Conv2D(8), GlobalAvgPool2D()])
    """

    horizontal: bool = True
    vertical: bool = False
    alternating: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.horizontal, str):
            raise ValueError(
                f"RandomFlip: horizontal and vertical must be True or False, got {self.horizontal!r}; write "
                f"RandomFlip() or RandomFlip(horizontal=True), with vertical=True to swap top and bottom."
            )
        check_flag("RandomFlip", "horizontal", self.horizontal)
        check_flag("RandomFlip", "vertical", self.vertical)
        check_flag("RandomFlip", "alternating", self.alternating)

    def _change(self, plan: Plan, x: Tensor) -> Tensor:
        choices = {"flip": self.vertical, "mirror": self.horizontal, "alternating": self.alternating}
        return _warp(plan, x, x.shape, **choices)

    def vary(self, images: Array) -> Iterator[Array]:
        for down, across in itertools.product((1, -1)[: 1 + self.vertical], (1, -1)[: 1 + self.horizontal]):
            yield images[:, :, ::down, ::across]


@dataclass(repr=False, eq=False)
class RandomShift(VariedLayer):
    """Shift images by whole pixels in training; the pixels at the border are repeated.

    Parameters
    ----------
    pixels : int or (int, int), default=2
        The largest shift in rows and columns, in either direction; all shifts up to it are equally likely.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If pixels is not an int or a pair of them, or is negative.

    See Also
    --------
    RandomFlip : What random layers have in common.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, RandomShift
    >>> layers = [RandomShift((2, 4)), Conv2D(8)]
    """

    pixels: Size = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pair("RandomShift", "pixels", self.pixels, 0)

    def _change(self, plan: Plan, x: Tensor) -> Tensor:
        rows, columns = check_pair("RandomShift", "pixels", self.pixels, 0)
        return _warp(plan, x, x.shape, tops=range(-rows, rows + 1), lefts=range(-columns, columns + 1))

    def vary(self, images: Array) -> Iterator[Array]:
        pixels = check_pair("RandomShift", "pixels", self.pixels, 0)
        rows, columns = (
            [np.clip(np.arange(n) + shift, 0, n - 1) for shift in range(-most, most + 1)]
            for n, most in zip(images.shape[2:], pixels)
        )
        for down, across in itertools.product(rows, columns):
            yield images[:, :, down[:, np.newaxis], across]


@dataclass(repr=False, eq=False)
class RandomCrop(Layer):
    """Crop each image, to a random window in training and to the middle one in prediction.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window, in pixels.
    padding : int or (int, int), default=0
        Rows above and below, and columns left and right of the image, by which windows may extend beyond
        it in training.
    padding_mode : {"edge", "reflect"}, default="edge"
        What is there: the pixels at the border, repeated, or a mirror image without them, as in `numpy.pad`.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above.

    See Also
    --------
    RandomFlip : What random layers have in common.

    Notes
    -----
    If an odd number of rows or columns is cut off in prediction, the extra one is cut off at the bottom or
    the right. A window of the image's own size changes nothing in prediction.

    Examples
    --------
    >>> from skconvnet.layers import RandomCrop
    >>> RandomCrop(28).output_shape((3, 32, 32))
    (3, 28, 28)
    >>> RandomCrop(32, padding=4).output_shape((3, 32, 32))
    (3, 32, 32)
    """

    size: Size
    padding: Size = field(default=0, kw_only=True)
    padding_mode: Literal["edge", "reflect"] = field(default="edge", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pair("RandomCrop", "size", self.size, 1)
        check_pair("RandomCrop", "padding", self.padding, 0)
        if self.padding_mode not in ("edge", "reflect"):
            raise ValueError(
                f'RandomCrop: padding_mode must be "edge" or "reflect", got {self.padding_mode!r}.'
            )

    def _list_starts(self, shape: Shape) -> list[range]:
        """Return the rows, and the columns, of the image at which windows may begin."""
        size = check_pair("RandomCrop", "size", self.size, 1)
        padding = check_pair("RandomCrop", "padding", self.padding, 0)
        slide(shape, (1, 1), (1, 1), padding, "Use less padding.")
        if self.padding_mode == "reflect" and not (padding[0] < shape[1] and padding[1] < shape[2]):
            raise ShapeError(
                f"an image of at least {padding[0] + 1}x{padding[1] + 1} pixels, which reflecting mirrors",
                'Use less padding, or padding_mode="edge".',
            )
        counts = slide(shape, size, (1, 1), padding, "Use a smaller size, or more padding.")
        return [range(-before, n - before) for n, before in zip(counts, padding)]

    def _list_middle(self, shape: Shape) -> list[range]:
        """Return the row, and the column, at which the window in the middle begins."""
        return [starts[(len(starts) - 1) // 2 :][:1] for starts in self._list_starts(shape)]

    def output_shape(self, shape: Shape) -> Shape:
        check_image(shape)
        self._list_starts(shape)
        return shape[0], *check_pair("RandomCrop", "size", self.size, 1)

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        shape = self.output_shape(x.shape)
        if shape == x.shape and not plan.training:
            return x
        tops, lefts = self._list_starts(x.shape) if plan.training else self._list_middle(x.shape)
        return _warp(plan, x, shape, tops=tops, lefts=lefts, reflect=self.padding_mode == "reflect")


@dataclass(repr=False, eq=False)
class RandomRotation(_Augmentation):
    """Rotate images about their centre in training.

    Between pixels, values are interpolated bilinearly; beyond the image, the pixels at its border are
    repeated.

    Parameters
    ----------
    degrees : float, default=10
        The largest angle, in either direction, from 0 to 180; all angles up to it are equally likely. Keras
        counts in full turns instead: its 0.1 is 36 here.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If degrees is not a number from 0 to 180.

    See Also
    --------
    RandomFlip : What random layers have in common.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, RandomRotation
    >>> layers = [RandomRotation(15), Conv2D(8)]
    """

    degrees: float = 10
    _n_axes = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, degrees="[0, 180]")

    def _change(self, plan: Plan, x: Tensor) -> Tensor:
        return _warp(plan, x, x.shape, degrees=float(self.degrees))


@dataclass(repr=False, eq=False)
class RandomErasing(_Augmentation):
    """Set a rectangle of some images to 0 in training, in all channels.

    Put it after `Standardize` or another layer that brings the images' mean to about 0.

    Parameters
    ----------
    size : (float, float), default=(0.02, 0.4)
        The smallest and the largest fraction of the image's area; all between them are equally likely.
    probability : float, default=0.5
        The probability that an image loses a rectangle.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If a value is not of the kinds above, or not from 0 to 1.

    See Also
    --------
    RandomFlip : What random layers have in common.

    Notes
    -----
    The ratio of a rectangle's height to its width is from 0.3 to 1 / 0.3, and its logarithm is uniform.
    Height and width are rounded to pixels, at least one, and limited to those of the image; the rectangle
    may lie anywhere within the image.

    References
    ----------
    Zhong, Zheng, Kang, Li and Yang, "Random erasing data augmentation", AAAI 2020, algorithm 1, with
    rectangles that are cut instead of drawn again.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, RandomErasing
    >>> layers = [RandomErasing(probability=0.25), Conv2D(8)]
    """

    size: tuple[float, float] = (0.02, 0.4)
    probability: float = 0.5
    _aspect = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, probability="[0, 1]")
        pair = self.size if isinstance(self.size, tuple) and len(self.size) == 2 else ("", "")
        if not all(isinstance(v, Real) for v in pair) or not 0 <= pair[0] <= pair[1] <= 1:
            raise ValueError(
                f"RandomErasing: size must be a pair of numbers from 0 to 1, the smallest and the "
                f"largest fraction of the image's area, got {self.size!r}."
            )

    def _change(self, plan: Plan, x: Tensor) -> Tensor:
        y = plan.add_like(x)
        size = float(self.size[0]), float(self.size[1])
        plan.add_call(ErasingCall(x, y, plan.allocate_stream(), size, self._aspect, float(self.probability)))
        return y


@dataclass(repr=False, eq=False)
class GaussianNoise(Layer):
    """Add noise of the normal distribution to every value, in training.

    Parameters
    ----------
    stddev : float, default=0.1
        Standard deviation of the noise; its mean is 0.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If stddev is negative or not finite.

    See Also
    --------
    RandomFlip : What random layers have in common.

    References
    ----------
    Box and Muller, "A note on the generation of random normal deviates", Annals of Mathematical
    Statistics 29, 1958.

    Examples
    --------
    >>> from skconvnet.layers import Conv2D, GaussianNoise
    >>> layers = [GaussianNoise(0.05), Conv2D(8)]
    """

    stddev: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, stddev="[0, inf)")

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        if not plan.training:
            return x
        y = plan.add_like(x)
        plan.add_call(GaussianNoiseCall(x, y, plan.allocate_stream(), float(self.stddev)))
        return y


def list_variants(layers: Sequence[VariedLayer], images: Array) -> Iterator[Array]:
    """Yield images in every way that layers, one after the other, may change them.

    Parameters
    ----------
    layers : sequence of RandomFlip and RandomShift
    images : ndarray of shape (n, channels, height, width)

    Yields
    ------
    variant : ndarray of that shape
    """
    if not layers:
        yield images
        return
    for variant in layers[0].vary(images):
        yield from list_variants(layers[1:], variant)


RANDOM_LAYERS = RandomFlip, RandomShift, RandomCrop, RandomRotation, RandomErasing, GaussianNoise
