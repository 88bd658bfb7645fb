"""Profile of a training step.

``python -m skconvnet.profile lenet5`` prints each kernel's fraction of the time, forward and backward.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from skconvnet import architectures, kernels
from skconvnet._network import Network
from skconvnet._types import Shape
from skconvnet.layers.base import Layer

__all__ = ["main", "profile"]


def profile(
    layers: Sequence[Layer | None],
    input_shape: Shape,
    *,
    n_outputs: int = 10,
    batch_size: int = 64,
    dtype: DTypeLike = "float32",
    repeats: int = 50,
) -> list[tuple[str, float]]:
    """Time the parts of a training step on one thread.

    Parameters
    ----------
    layers : list of layer
    input_shape : tuple of int
        (channels, height, width) or (features,).
    n_outputs : int, default=10
        Number of classes.
    batch_size : int, default=64
    dtype : {"float32", "float64"}, default="float32"
    repeats : int, default=50
        Number of runs; for each part, the fastest run counts.

    Returns
    -------
    parts : list of (str, float)
        Name of each part and its seconds for the whole batch: gathering the samples, every kernel forward,
        the loss, every kernel backward. The optimizer's step is not among them.

    Examples
    --------
    >>> from skconvnet.layers import Dense
    >>> from skconvnet.profile import profile
    >>> parts = profile([Dense(5)], (20,), repeats=1)
    >>> parts[0][0]
    'gather'
    """
    rng = np.random.RandomState(0)
    network = Network(layers, input_shape, n_outputs, dtype)
    network.initialize(rng)
    X = rng.standard_normal((batch_size, *input_shape)).astype(dtype)
    target = rng.randint(0, n_outputs, batch_size)
    fastest = np.min([network.time_parts(X, target) for _ in range(repeats)], axis=0)
    names = network.list_calls()
    labels = ["gather", *(f"{n} forward" for n in names), "loss", *(f"{n} backward" for n in names)]
    return list(zip(labels, fastest.tolist()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the profile of a network of `skconvnet.architectures`.

    Parameters
    ----------
    arguments : list of str, default=None
        Arguments of the command line; None takes them from `sys.argv`.

    Examples
    --------
    >>> from skconvnet.profile import main
    >>> main(["kajda_mnist", "--batch", "16"])  # doctest: +SKIP
    """
    parser = argparse.ArgumentParser(prog="python -m skconvnet.profile", description=__doc__)
    parser.add_argument("network", choices=sorted(architectures.INPUT_SHAPES))
    parser.add_argument("--batch", type=int, default=64, help="samples (default: 64)")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    options = parser.parse_args(arguments)
    layers = getattr(architectures, options.network)()
    shape = architectures.INPUT_SHAPES[options.network]
    parts = profile(layers, shape, batch_size=options.batch, dtype=options.dtype)
    total = sum(seconds for _, seconds in parts)
    print(f"{options.network}, {options.dtype}, batch of {options.batch}, one thread, {kernels.get_isa()}")
    width = max(len(label) for label, _ in parts)
    for label, seconds in parts:
        print(f"{label:<{width}}  {seconds * 1e6:10.1f} us  {seconds / total:6.1%}")
    print(f"{'total':<{width}}  {total * 1e6:10.1f} us")


if __name__ == "__main__":
    main()
