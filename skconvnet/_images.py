"""Images in the forms that users have, and in the one that networks read: (n, channels, height, width)."""

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse

from skconvnet._types import Array, Shape
from skconvnet._warnings import warn


def flatten_images(X: Any) -> tuple[Any, Shape | None]:
    """View images as rows; leave everything else to scikit-learn's checks.

    Parameters
    ----------
    X : array-like of 2, 3 or 4 dimensions

    Returns
    -------
    rows : array-like of shape (n, n_features)
    image_shape : tuple of int or None
        The shape of a sample if X had 3 or 4 dimensions.

    Raises
    ------
    TypeError
        If X is a masked array that masks something.
    ValueError
        If X has more than 4 dimensions, holds text or objects that are arrays, or its images differ in shape.
    """
    if np.ma.is_masked(X):
        raise TypeError("X is a masked array; fill or drop what it masks first.")
    if sparse.issparse(X):
        return X, None
    if hasattr(X, "columns"):
        if len(X.columns) == 1:
            _refuse_objects(np.asarray(X), f"X[{X.columns[0]!r}]")
        return X, None
    try:
        array = np.asarray(X)
    except ValueError:
        _require_one_shape(X)
        raise
    _refuse_objects(array, "X" if array.ndim < 2 else "X[:, 0]")
    if array.ndim > 4:
        raise ValueError(
            f"X must be images of shape (n, height, width, channels) or (n, height, width), or rows "
            f"of shape (n, n_features); got {array.ndim} dimensions, {array.shape}."
        )
    if array.ndim < 3:
        return X, None
    return array.reshape(len(array), int(np.prod(array.shape[1:]))), array.shape[1:]


def _refuse_objects(array: Array, name: str) -> None:
    """Refuse an array in which every sample is one text, or one object that is an array."""
    if array.dtype.kind not in "OSTU" or array.size != len(np.atleast_1d(array)) or not array.size:
        return
    samples = array.ravel()
    if isinstance(samples[0], (str, bytes, os.PathLike)):
        raise ValueError(
            "X holds text, such as file names; load the images: "
            "np.stack([np.asarray(PIL.Image.open(f)) for f in X])"
        )
    if np.ndim(samples[0]):
        _require_one_shape(samples)
        raise ValueError(
            f"X holds an array as each sample's only value; give one array of all: np.stack({name})"
        )


def _require_one_shape(samples: Any) -> None:
    """Refuse samples that differ in shape."""
    first, *rest = map(np.shape, samples)
    for k, shape in enumerate(rest, 1):
        if shape != first:
            raise ValueError(
                f"X's samples differ in shape: {first} at index 0 and {shape} at index {k}. Resize images "
                f"to one shape first."
            ) from None


def check_image_shape(shape: Shape, fitted: Shape, data_format: str) -> None:
    """Refuse images whose shape is not that of the fitted network; leave rows to scikit-learn's checks.

    Parameters
    ----------
    shape : tuple of int
        Shape of X.
    fitted : tuple of int
        Shape of one image, with channels where data_format has them.
    data_format : {"channels_last", "channels_first"}

    Raises
    ------
    ValueError
        If X is a single image, or has images of another shape.
    """
    sample, as_rows = shape[1:], len(shape) < 3
    if as_rows and sample == (int(np.prod(fitted)),):
        return
    if not as_rows and _with_channel(sample, data_format) == fitted:
        return
    if len(shape) in (2, 3) and _with_channel(shape, data_format) == fitted:
        raise ValueError(
            f"X of shape {shape} is read as {shape[0]} {'rows' if as_rows else 'images'}; for one "
            f"image give X[None]."
        )
    if not as_rows:
        raise ValueError(f"X's images have shape {sample}, the network was fitted on {fitted}.")


def resolve_input_shape(
    input_shape: Sequence[int] | None, image_shape: Shape | None, n_features: int, data_format: str
) -> Shape:
    """Return the shape of one sample, from input_shape and the shape of X.

    Parameters
    ----------
    input_shape : sequence of int or None
        (h, w), (h, w, c), or (c, h, w) when channels come first.
    image_shape : tuple of int or None
        The shape of a sample of X if X was not given as rows.
    n_features : int
        The number of values in a sample.
    data_format : {"channels_last", "channels_first"}

    Returns
    -------
    shape : tuple of int
        (n_features,) for plain vectors; else with channels where data_format has them.

    Raises
    ------
    ValueError
        If input_shape is wrong, or does not fit X.
    """
    if input_shape is None:
        if image_shape is None:
            return (n_features,)
        shape = _with_channel(image_shape, data_format)
        if data_format == "channels_last" and len(image_shape) == 3:
            _warn_of_channels_first(shape)
        return shape
    order = "(height, width) or " + (
        "(height, width, channels)" if data_format == "channels_last" else "(channels, height, width)"
    )
    if len(input_shape) not in (2, 3) or not all(isinstance(n, Integral) and n > 0 for n in input_shape):
        raise ValueError(f"input_shape must be {order}, got {input_shape!r}.")
    shape = _with_channel(tuple(int(n) for n in input_shape), data_format)
    if image_shape is not None and _with_channel(image_shape, data_format) != shape:
        raise ValueError(
            f"input_shape={tuple(input_shape)} does not fit X, whose images have shape {image_shape}."
        )
    if int(np.prod(shape)) != n_features:
        raise ValueError(
            f"input_shape={tuple(input_shape)} needs rows of {int(np.prod(shape))} values, "
            f"but X has rows of {n_features}. input_shape is {order}."
        )
    return shape


def _warn_of_channels_first(shape: Shape) -> None:
    """Warn of images that seem to have their channels first, but are read as if they were last."""
    height, width, channels = shape
    if height in (1, 3) and width == channels > 4:
        warn(
            f"X of shape (n, {height}, {width}, {channels}) is read as {height}x{width} pixels in {channels} "
            f'channels; if channels come first, set data_format="channels_first". If not, set '
            f"input_shape={shape}."
        )


def suggest_channels_first(shape: Shape, data_format: str) -> str:
    """Return advice for a sample that seems to have its channels first, but is read as if they were last."""
    if data_format == "channels_last" and len(shape) == 3 and shape[0] in (1, 3) and shape[2] > 4:
        return f' Samples of shape {shape} with their channels first need data_format="channels_first".'
    return ""


def _with_channel(shape: Shape, data_format: str) -> Shape:
    """Return the shape of an image with its channels, 1 for a (height, width) image."""
    if len(shape) == 3:
        return tuple(shape)
    return (*shape, 1) if data_format == "channels_last" else (1, *shape)


def channels_first(shape: Shape, data_format: str) -> Shape:
    """Turn the shape of a sample into (channels, height, width); vectors stay as they are."""
    if len(shape) == 1 or data_format == "channels_first":
        return shape
    return (shape[2], *shape[:2])


def view_images(rows: Array, shape: Shape, data_format: str, dtype: np.dtype[Any]) -> Array:
    """View checked rows as a network reads them, without a copy if possible.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Real numbers.
    shape : tuple of int
        Shape of a sample, as the user has it.
    data_format : {"channels_last", "channels_first"}
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
    return arrange_axes(rows.reshape(len(rows), *shape), data_format)


def arrange_axes(images: Array, data_format: str) -> Array:
    """View images as a network reads them, channels first; vectors stay as they are."""
    return np.moveaxis(images, -1, 1) if images.ndim == 4 and data_format == "channels_last" else images


def restore_axes(images: Array, data_format: str) -> Array:
    """View images of a network as the user has them: the inverse of `arrange_axes`."""
    return np.moveaxis(images, 1, -1) if images.ndim == 4 and data_format == "channels_last" else images
