"""Profile of a training step.

``python -m skconvnet.profile lenet5`` prints each kernel's fraction of the time, forward and backward, and
its rate. For other layers: ``python -m skconvnet.profile --layers "[Conv2D(8), ReLU()]" --input 28 28 1``.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from skconvnet import architectures, kernels
from skconvnet import layers as layer_classes
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
    n_threads: int = 1,
) -> list[tuple[str, float]]:
    """Time the parts of a training step.

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
    n_threads : int, default=1
        The times are those of the first thread.

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
    network = _make_network(layers, input_shape, n_outputs, dtype)
    return _time(network, batch_size, repeats, n_threads)


def _make_network(
    layers: Sequence[Layer | None], input_shape: Shape, n_outputs: int, dtype: DTypeLike
) -> Network:
    """Return a network with parameters drawn at random."""
    network = Network(layers, input_shape, n_outputs, dtype)
    network.initialize(np.random.RandomState(0))
    return network


def _time(network: Network, batch_size: int, repeats: int, n_threads: int) -> list[tuple[str, float]]:
    """Return the parts' names and seconds."""
    rng = np.random.RandomState(1)
    X = rng.standard_normal((batch_size, *network.input_shape)).astype(network.dtype)
    target = rng.randint(0, network.count_outputs(), batch_size)
    fastest = network.time_parts(X, target, n_threads, repeats)
    names = network.list_calls()
    labels = ["gather", *(f"{n} forward" for n in names), "loss", *(f"{n} backward" for n in names)]
    return list(zip(labels, fastest.tolist()))


def _read_layers(text: str) -> list[Layer | None]:
    """Return the layers that a Python expression stands for; names are those of `skconvnet.layers`."""
    names = {name: getattr(layer_classes, name) for name in layer_classes.__all__}
    try:
        return list(eval(text, {"__builtins__": {}}, names))
    except Exception as error:
        raise argparse.ArgumentTypeError(
            f"must be a Python list of layers, such as '[Conv2D(8), MaxPool2D()]', got {text!r}: {error}"
        ) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the profile of a network of `skconvnet.architectures`, or of other layers.

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
    parser.add_argument("network", nargs="?", choices=sorted(architectures.INPUT_SHAPES))
    parser.add_argument(
        "--layers", type=_read_layers, help="a Python list, such as '[Conv2D(8), MaxPool2D()]'"
    )
    parser.add_argument(
        "--input", type=int, nargs="+", help="with --layers: height, width and channels, or features"
    )
    parser.add_argument("--outputs", type=int, default=10, help="classes (default: 10)")
    parser.add_argument("--batch", type=int, default=64, help="samples (default: 64)")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--threads", type=int, default=1, help="the first one's times count (default: 1)")
    parser.add_argument("--repeats", type=int, default=50, help="runs; the fastest counts (default: 50)")
    options = parser.parse_args(arguments)
    if (options.network is None) == (options.layers is None):
        parser.error("name a network, or give --layers and --input")
    if options.network:
        layers = getattr(architectures, options.network)()
        shape = architectures.INPUT_SHAPES[options.network]
    else:
        if options.input is None or len(options.input) not in (1, 3):
            parser.error("--layers needs --input: height, width and channels, or a number of features")
        layers, shape = options.layers, (*options.input[2:], *options.input[:2])
    network = _make_network(layers, shape, options.outputs, options.dtype)
    parts = _time(network, options.batch, options.repeats, options.threads)
    operations = network.count_operations() * options.batch
    peak = network.measure_peak(options.threads)
    threads = "one thread" if options.threads == 1 else f"{options.threads} threads"
    print(
        f"{options.network or 'layers'}, {options.dtype}, batch of {options.batch}, {threads}, "
        f"{kernels.get_isa()}, peak of {peak / 1e9:.0f} GFLOP/s"
    )
    total = sum(seconds for _, seconds in parts)
    rows = [*zip(parts, operations), (("total", total), operations.sum())]
    width = max(len(label) for (label, _), _ in rows)
    for (label, seconds), n in rows:
        rate = f"  {n / seconds / 1e9:7.1f} GFLOP/s  {n / seconds / peak:4.0%} of the peak" if n else ""
        print(f"{label:<{width}}  {seconds * 1e6:10.1f} us  {seconds / total:6.1%}{rate}")


if __name__ == "__main__":
    main()
