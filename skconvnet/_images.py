"""Images and signals as users have them, and as networks read them: (n, channels, height, width)."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse

from skconvnet._advice import short_repr
from skconvnet._types import Array, Shape
from skconvnet._warnings import warn

# What to do with samples of different shapes.
CONVERT = 'Convert images to one mode first, such as image.convert("{}").'
RESIZE = "Resize images, or pad or cut signals, to one shape first."

# Pillow's modes by their number of channels.
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def holds_all(values: Any) -> bool:
    """Whether values are in an array, a list or the like; those of a generator or a dictionary are not."""
    known = ("__array__", "__array_interface__", "__dataframe__")
    if isinstance(values, Sequence) or any(hasattr(values, name) for name in known):
        return True
    try:
        memoryview(values)
    except TypeError:
        return False
    return True


def flatten_images(X: Any) -> tuple[Any, Shape | None]:
    """View images as rows; leave everything else to scikit-learn's checks.

    Parameters
    ----------
    X : array-like of 2, 3 or 4 dimensions, or one image of Pillow

    Returns
    -------
    rows : array-like of shape (n, n_features)
    image_shape : tuple of int or None
        The shape of a sample if X had 3 or 4 dimensions, or was an image.

    Raises
    ------
    TypeError
        If X is a masked array that masks something, or does not hold all samples, as a generator does not.
    ValueError
        If X has more than 4 dimensions, holds text, dictionaries, pairs or objects that are arrays, or its
        images differ in shape.
    """
    if np.ma.is_masked(X):
        raise TypeError("X is a masked array; fill or drop what it masks first.")
    if _is_picture(X):
        X = [X]
    if isinstance(X, (list, tuple)) and any(map(_is_picture, X)):
        if any(_is_picture(image) and image.mode == "P" for image in X):
            raise ValueError(
                'X has images with a palette, whose values are no colours: give image.convert("RGB"), or '
                "np.asarray(image) if these values are meant."
            )
        X = [np.asarray(image) for image in X]
    if sparse.issparse(X):
        return X, None
    if hasattr(X, "columns"):
        if len(X.columns) == 1:
            _refuse_objects(np.asarray(X), f"X[{X.columns[0]!r}]")
        return X, None
    if not holds_all(X) and not isinstance(X, os.PathLike):
        raise TypeError(
            f"X must be an array of all samples, got {short_repr(X)} of type {type(X).__name__}. Give "
            f"np.stack(images), and the labels as y. If the samples do not fit into memory, give a "
            f"memory-mapped array, or mini-batches to partial_fit."
        )
    try:
        array = np.asarray(X)
    except ValueError:
        _require_one_shape(X)
        raise
    _refuse_objects(array, "X" if array.ndim < 2 else "X[:, 0]")
    if array.ndim > 4:
        raise ValueError(
            f"X must be images of shape (n, height, width, channels) or (n, height, width), signals of shape "
            f"(n, length, channels), or rows of shape (n, n_features); got {array.ndim} dimensions, "
            f"{array.shape}."
        )
    if array.ndim < 3:
        return X, None
    return array.reshape(len(array), math.prod(array.shape[1:])), array.shape[1:]


def _is_picture(X: Any) -> bool:
    """Whether X is one image of Pillow, which is imported if it is."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(X, pillow.Image)


def _refuse_objects(array: Array, name: str) -> None:
    """Refuse an array in which every sample is a text, dictionary, pair, or object that is an array."""
    if array.dtype.kind not in "OSTU" or not array.size:
        return
    if array.ndim == 2 and array.shape[1] == 2:
        _refuse_pairs(array)
    if array.size != len(np.atleast_1d(array)):
        return
    samples = array.ravel()
    if isinstance(samples[0], (str, bytes, os.PathLike)):
        raise ValueError(
            "X holds text, such as file names; load the images: "
            "np.stack([np.asarray(PIL.Image.open(f)) for f in X])"
        )
    if isinstance(samples[0], Mapping):
        key = next(iter(samples[0]), "image")
        raise ValueError(
            f"X holds a dictionary for each sample; give one array of all images, such as "
            f"np.stack([sample[{key!r}] for sample in X])"
        )
    if np.ndim(samples[0]):
        _require_one_shape(samples)
        raise ValueError(
            f"X holds an array as each sample's only value; give one array of all: np.stack({name})"
        )


def _refuse_pairs(samples: Any) -> None:
    """Refuse samples that are pairs of an array and something else, such as (image, label)."""
    if all(
        isinstance(sample, (tuple, list, np.ndarray))
        and len(sample) == 2
        and np.ndim(sample[0]) > np.ndim(sample[1])
        for sample in samples
    ):
        raise ValueError(
            "X has pairs, such as (image, label): give np.stack([image for image, _ in pairs]) as X, and "
            "[label for _, label in pairs] as y."
        )


def _require_one_shape(samples: Any) -> None:
    """Refuse samples that differ in shape, or are pairs."""
    _refuse_pairs(samples)
    first, *rest = map(np.shape, samples)
    for k, shape in enumerate(rest, 1):
        if shape != first:
            same_size = len(first) >= 2 and shape[:2] == first[:2]
            remedy = CONVERT.format("RGB") if same_size else RESIZE
            raise ValueError(
                f"X's samples differ in shape: {first} at index 0 and {shape} at index {k}. {remedy}"
            ) from None


@dataclass(frozen=True)
class Layout:
    """The axes of a user's samples.

    Images are (height, width, channels) or, with the channels first, (channels, height, width); signals are
    (length, channels) or (channels, length). To a network a signal is an image of one row.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, default="channels_first"
    signals : bool, default=False
        Whether samples that are not plain vectors are signals.
    """

    data_format: str = "channels_first"
    signals: bool = False

    @property
    def _is_last(self) -> bool:
        return self.data_format == "channels_last"

    @property
    def n_axes(self) -> int:
        """The number of axes of a sample beside the channels."""
        return 1 if self.signals else 2

    @property
    def description(self) -> str:
        """What the shape of a sample may be, for messages."""
        size = "length" if self.signals else "height, width"
        full = f"({size}, channels)" if self._is_last else f"(channels, {size})"
        return f"({size}{',' * self.signals}) or {full}"

    def add_channel(self, shape: Shape) -> Shape:
        """Return the shape of a sample with its channels, 1 if it has none."""
        if len(shape) > self.n_axes:
            return tuple(shape)
        return (*shape, 1) if self._is_last else (1, *shape)

    def drop_row(self, shape: Shape) -> Shape:
        """Return the shape of a signal that is given as an image of one row; others stay as they are."""
        row = 0 if self._is_last else 1
        if self.signals and len(shape) == 3 and shape[row] == 1:
            return (*shape[:row], *shape[row + 1 :])
        return shape

    def to_network(self, shape: Shape) -> Shape:
        """Turn the shape of a sample into that of a network's input; vectors stay as they are."""
        if len(shape) == 1:
            return shape
        channels, *size = (shape[-1], *shape[:-1]) if self._is_last else shape
        return (channels, *([1] if self.signals else []), *size)

    def arrange(self, samples: Array) -> Array:
        """View samples as a network reads them; vectors stay as they are."""
        if samples.ndim == 2:
            return samples
        samples = np.moveaxis(samples, -1, 1) if self._is_last else samples
        return samples[:, :, np.newaxis] if self.signals else samples

    def restore(self, images: Array) -> Array:
        """View a network's input as the user has it: the inverse of `arrange`."""
        if images.ndim == 2:
            return images
        images = images[:, :, 0] if self.signals else images
        return np.moveaxis(images, 1, -1) if self._is_last else images


def check_sample_shape(shape: Shape, fitted: Shape, layout: Layout) -> None:
    """Refuse samples whose shape is not that of the fitted network; leave rows to scikit-learn's checks.

    Parameters
    ----------
    shape : tuple of int
        Shape of X.
    fitted : tuple of int
        Shape of one image or signal, with channels where the layout has them.
    layout : Layout

    Raises
    ------
    ValueError
        If X is a single sample, or has samples of another shape.
    """
    kind = "signal" if layout.signals else "image"
    sample, as_rows = layout.drop_row(shape[1:]), len(shape) < 3
    if as_rows and sample == (math.prod(fitted),):
        return
    if not as_rows and layout.add_channel(sample) == fitted:
        return
    if len(shape) in (layout.n_axes, layout.n_axes + 1) and layout.add_channel(shape) == fitted:
        raise ValueError(
            f"X of shape {shape} is read as {shape[0]} {'rows' if as_rows else f'{kind}s'}; for one "
            f"{kind} give X[None], or [X] if it is no array."
        )
    if not as_rows or (layout.signals and len(shape) == 2):
        (n_channels, *size), (_, *own_size) = map(layout.to_network, (fitted, layout.add_channel(sample)))
        same_size = size == own_size and not layout.signals
        remedy = CONVERT.format(MODES.get(n_channels, "RGB")) if same_size else RESIZE
        raise ValueError(f"X's {kind}s have shape {sample}, the network was fitted on {fitted}. {remedy}")


def resolve_input_shape(
    input_shape: Sequence[int] | None, sample_shape: Shape | None, n_features: int, layout: Layout
) -> Shape:
    """Return the shape of one sample, from input_shape and the shape of X.

    Parameters
    ----------
    input_shape : sequence of int or None
        (h, w), (h, w, c), or (c, h, w) when channels come first; for signals without the height.
    sample_shape : tuple of int or None
        The shape of a sample of X if X was not given as rows.
    n_features : int
        The number of values in a sample.
    layout : Layout

    Returns
    -------
    shape : tuple of int
        (n_features,) for plain vectors; else with channels where the layout has them.

    Raises
    ------
    ValueError
        If input_shape is wrong, or does not fit X, or X has images where signals are expected.
    """
    sample_shape = None if sample_shape is None else layout.drop_row(sample_shape)
    if input_shape is None:
        if sample_shape is None:
            return layout.add_channel((n_features,)) if layout.signals else (n_features,)
        if layout.signals and len(sample_shape) > 2:
            raise ValueError(
                f"X of shape (n, {', '.join(map(str, sample_shape))}) has images, but the first layer with "
                f"windows is for signals of shape {layout.description}. Use Conv2D and other layers of "
                f"images, or give X of shape (n, length) or with channels."
            )
        shape = layout.add_channel(sample_shape)
        _warn_of_channels_first(shape, layout)
        return shape
    order, n_axes = layout.description, layout.n_axes
    if len(input_shape) not in (n_axes, n_axes + 1) or not all(
        isinstance(n, Integral) and n > 0 for n in input_shape
    ):
        remedy = (
            "" if layout.signals or len(input_shape) != 1 else " For signals, begin the layers with Conv1D."
        )
        raise ValueError(f"input_shape must be {order}, got {input_shape!r}.{remedy}")
    shape = layout.add_channel(tuple(int(n) for n in input_shape))
    if sample_shape is not None and layout.add_channel(sample_shape) != shape:
        kind = "signals" if layout.signals else "images"
        raise ValueError(
            f"input_shape={tuple(input_shape)} does not fit X, whose {kind} have shape {sample_shape}."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"input_shape={tuple(input_shape)} needs rows of {math.prod(shape)} values, "
            f"but X has rows of {n_features}. input_shape is {order}."
        )
    return shape


def warn_of_signals(shape: Shape) -> None:
    """Warn of images of a shape (height, width) that may be signals, where no layer says which they are."""
    height, width = shape
    if min(shape) * 8 <= max(shape):
        warn(
            f"X of shape (n, {height}, {width}) is read as images of {height}x{width} pixels; if they are, "
            f"set input_shape={shape}. If they are signals of {height} values in {width} channels, set "
            f'layers="signals" or begin the layers with Conv1D; if of {width} values in {height} channels, '
            f'set data_format="channels_first" as well.'
        )


def _warn_of_channels_first(shape: Shape, layout: Layout) -> None:
    """Warn of samples that seem to have their channels first, but are read as if they were last."""
    if layout.data_format == "channels_first":
        return
    *size, channels = shape
    if layout.signals:
        suspicious = channels > 4 and size[0] * 4 <= channels
        read = f"{size[0]} values"
    else:
        suspicious = size[0] in (1, 3) and size[1] == channels > 4
        read = f"{size[0]}x{size[1]} pixels"
    if suspicious:
        warn(
            f"X of shape (n, {', '.join(map(str, shape))}) is read as {read} in {channels} "
            f'channels; if channels come first, set data_format="channels_first". If not, set '
            f"input_shape={shape}."
        )


def suggest_channels_first(shape: Shape, layout: Layout) -> str:
    """Return advice for a sample that seems to have its channels first, but is read as if they were last."""
    first, last = shape[0], shape[-1]
    few = len(shape) > 1 and (first < last if layout.signals else first in (1, 3))
    if layout.data_format == "channels_last" and few and last > 4:
        return f' Samples of shape {shape} with their channels first need data_format="channels_first".'
    return ""


def view_images(rows: Array, shape: Shape, layout: Layout, dtype: np.dtype[Any]) -> Array:
    """View checked rows as a network reads them, without a copy if possible.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Real numbers.
    shape : tuple of int
        Shape of a sample, as the user has it.
    layout : Layout
    dtype : dtype
        The network's dtype. Rows of uint8, float32 and float64 are read as they are, a mini-batch at a
        time; other types are converted to it first.

    Returns
    -------
    images : ndarray of shape (n, channels, height, width) or (n, features)

    Raises
    ------
    ValueError
        If a value is too large for dtype.
    TypeError
        If rows are not real numbers.
    """
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"X must be real numbers, got {rows.dtype}.")
    if rows.dtype == bool:
        rows = rows.view(np.uint8)
    if rows.dtype.type not in (np.uint8, np.float32, np.float64):
        rows = rows.astype(dtype)
    rows = np.require(rows, rows.dtype.newbyteorder("="), "A")
    if rows.dtype == np.float64 and dtype == np.float32:
        largest = np.finfo(np.float32).max
        if max(rows.max(), -rows.min()) > largest:
            raise ValueError(
                f"X has values beyond {largest:g}, infinity in the float32 that the network "
                f'computes in. Scale X, or use dtype="float64".'
            )
    return layout.arrange(rows.reshape(len(rows), *shape))
