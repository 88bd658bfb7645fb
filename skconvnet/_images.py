"""The forms that images come in, and the one that networks read: (n, channels, height, width)."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse

from skconvnet._types import Array, Shape


def flatten_images(X: Any) -> tuple[Any, Shape | None]:
    """See images as rows; leave everything else to scikit-learn's checks.

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
        If X has more than 4 dimensions.
    """
    if np.ma.is_masked(X):
        raise TypeError("X is a masked array; fill or drop what it masks first.")
    if sparse.issparse(X) or hasattr(X, "columns"):
        return X, None
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.ndim > 4:
        raise ValueError(
            f"X must be images of shape (n, height, width, channels) or (n, height, width), or rows "
            f"of shape (n, n_features); got {array.ndim} dimensions, {array.shape}."
        )
    if array.ndim < 3:
        return X, None
    return array.reshape(len(array), int(np.prod(array.shape[1:]))), array.shape[1:]


def settle_input_shape(
    input_shape: Sequence[int] | None, image_shape: Shape | None, n_features: int, data_format: str
) -> Shape:
    """Give the shape of one sample, from what the user said and what X looks like.

    Parameters
    ----------
    input_shape : sequence of int or None
        (h, w), (h, w, c), or (c, h, w) when channels come first.
    image_shape : tuple of int or None
        The shape of a sample of X if X was not given as rows.
    n_features : int
        Numbers in a sample.
    data_format : {"channels_last", "channels_first"}

    Returns
    -------
    shape : tuple of int
        (n_features,) for plain vectors; else with channels where data_format has them.

    Raises
    ------
    ValueError
        If they do not fit.
    """
    if input_shape is None:
        if image_shape is None:
            return (n_features,)
        return _with_channel(image_shape, data_format)
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
            f"input_shape={tuple(input_shape)} needs rows of {int(np.prod(shape))} numbers, "
            f"but X has rows of {n_features}. input_shape is {order}."
        )
    return shape


def _with_channel(shape: Shape, data_format: str) -> Shape:
    """Add the channel of a (height, width) image."""
    if len(shape) == 3:
        return tuple(shape)
    return (*shape, 1) if data_format == "channels_last" else (1, *shape)


def channels_first(shape: Shape, data_format: str) -> Shape:
    """Turn the shape of a sample into (channels, height, width); vectors stay as they are."""
    if len(shape) == 1 or data_format == "channels_first":
        return shape
    return (shape[2], *shape[:2])


def view_images(rows: Array, shape: Shape, data_format: str, dtype: np.dtype[Any]) -> Array:
    """See checked rows as a network reads them, without a copy where that can be.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Of real numbers.
    shape : tuple of int
        Of a sample, as the user has it.
    data_format : {"channels_last", "channels_first"}
    dtype : dtype
        The network's. Rows of uint8, float32 and float64 are read as they are, a mini-batch at a
        time; other types are converted to it first.

    Returns
    -------
    images : ndarray of shape (n, channels, height, width) or (n, features)

    Raises
    ------
    ValueError
        If a number is too large for dtype.
    TypeError
        If rows are no real numbers.
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
                f"X has numbers beyond {largest:g}, infinity in the float32 that the network "
                f'computes in. Scale X, or use dtype="float64".'
            )
    return arrange_axes(rows.reshape(len(rows), *shape), data_format)


def arrange_axes(images: Array, data_format: str) -> Array:
    """See images as a network reads them, channels first; vectors stay as they are."""
    return np.moveaxis(images, -1, 1) if images.ndim == 4 and data_format == "channels_last" else images


def show_images(images: Array, data_format: str) -> Array:
    """See what a network reads as the user has it: the way back from `arrange_axes`."""
    return np.moveaxis(images, 1, -1) if images.ndim == 4 and data_format == "channels_last" else images
