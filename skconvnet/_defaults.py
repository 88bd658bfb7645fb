"""The layers of an estimator that is given none: for vectors, images and signals."""

from skconvnet._types import Shape
from skconvnet.layers import Conv1D, Conv2D, Dense, Flatten, Layer, MaxPool1D, MaxPool2D


def make_default_layers(shape: Shape) -> list[Layer]:
    """Return the layers that an estimator uses if it is given none.

    Parameters
    ----------
    shape : tuple of int
        (channels, height, width) or (features,).

    Returns
    -------
    layers : list of layer
        For vectors, one dense layer of 100 units with ReLU. For images, convolutions with ReLU, each followed
        by a maximum pooling that halves height and width, then a dense layer of 128 units with ReLU. The
        convolutions have 3x3 kernels, and 32 filters in the first one and 64 in the others; there are two,
        and more until height and width are at most 8. An axis of fewer than 4 pixels is not halved, nor one
        of at most 8 after the second convolution. Along an axis of more than 64 pixels, the first convolution
        has the stride, a power of 2, that leaves at most 64, and a kernel that overlaps by almost half.
    """
    if len(shape) == 1:
        return [Dense(100, activation="relu")]
    steps = [_choose_step(n, 64) for n in shape[1:]]
    size = [-(-n // step) for n, step in zip(shape[1:], steps)]
    kernel = [max(2 * step - 1, 3) for step in steps]
    layers: list[Layer] = [Conv2D(32, _join(kernel), stride=_join(steps), padding="same", activation="relu")]
    n_convolutions = 1
    while True:
        window = [2 if n >= (4 if n_convolutions <= 2 else 9) else 1 for n in size]
        if window != [1, 1]:
            layers.append(MaxPool2D(_join(window)))
            size = [n // step for n, step in zip(size, window)]
        if n_convolutions >= 2 and max(size) <= 8:
            return [*layers, Flatten(), Dense(128, activation="relu")]
        layers.append(Conv2D(64, padding="same", activation="relu"))
        n_convolutions += 1


def make_signal_layers(shape: Shape) -> list[Layer]:
    """Return the layers that an estimator uses for signals with ``layers="signals"``.

    Parameters
    ----------
    shape : tuple of int
        (channels, 1, length).

    Returns
    -------
    layers : list of layer
        Convolutions with ReLU, each followed by a maximum pooling that halves the length, then a dense layer
        of 128 units with ReLU. The first convolution has 32 filters of 7 values, the others have 64 of 5;
        there are two, and more until the length is at most 16. A length of fewer than 4 values is not halved.
        For more than 512 values, the first convolution has the stride, a power of 2, that leaves at most 512,
        and a kernel that overlaps by almost half.
    """
    step = _choose_step(shape[2], 512)
    length = -(-shape[2] // step)
    layers: list[Layer] = [Conv1D(32, max(2 * step - 1, 7), stride=step, padding="same", activation="relu")]
    n_convolutions = 1
    while True:
        if length >= 4:
            layers.append(MaxPool1D(2))
            length //= 2
        if n_convolutions >= 2 and length <= 16:
            return [*layers, Flatten(), Dense(128, activation="relu")]
        layers.append(Conv1D(64, 5, padding="same", activation="relu"))
        n_convolutions += 1


def _choose_step(n: int, most: int) -> int:
    """Return the smallest power of 2 that divides an axis of n into at most this number of parts."""
    return 1 << (-(-n // most) - 1).bit_length()


def _join(pair: list[int]) -> int | tuple[int, int]:
    """Return one size for two equal ones."""
    down, right = pair
    return down if down == right else (down, right)
