"""Test-time augmentation: predictions that are means over variants of images."""

from typing import Any

import numpy as np

from skconvnet._advice import short_repr
from skconvnet._network import Network
from skconvnet._types import Array, Shape
from skconvnet.layers.augmentation import VariedLayer, list_variants

# The number of images that are varied at a time.
IMAGES_AT_ONCE = 2048


def check_variants(layers: Any, shape: Shape | None = None) -> None:
    """Refuse layers, or a shape of the input, without variants of images that can be listed.

    Parameters
    ----------
    layers : list of RandomFlip and RandomShift, or None
        The estimator's `test_time_augmentation`.
    shape : tuple of int, default=None
        The shape of the network's input, if it is known.

    Raises
    ------
    ValueError
        If there is another layer among them, or the input is a vector.
    """
    for layer in layers or ():
        if not isinstance(layer, VariedLayer):
            raise ValueError(
                f"test_time_augmentation must be a list of RandomFlip and RandomShift layers, got "
                f"{short_repr(layer)} in it."
            )
    if layers and shape is not None and len(shape) != 3:
        raise ValueError(
            "test_time_augmentation needs images, but X has rows of features. Set input_shape=(height, "
            "width) or (height, width, channels), or leave it out."
        )


def average_variants(network: Network, layers: Any, images: Array, n_threads: int) -> Array:
    """Return the mean outputs of a network for all variants of images.

    Parameters
    ----------
    network : Network
    layers : list of RandomFlip and RandomShift
    images : ndarray of shape (n, channels, height, width)
    n_threads : int

    Returns
    -------
    outputs : ndarray of shape (n, n_outputs)

    Raises
    ------
    ValueError
        As `check_variants` does.
    """
    check_variants(layers, network.input_shape)
    outputs = np.zeros((len(images), network.count_outputs()), network.dtype)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        n = 0
        for variant in list_variants(layers, images[rows]):
            outputs[rows] += network.forward(variant, n_threads)
            n += 1
        outputs[rows] /= n
    return outputs
