"""Measure how the time of one convolution depends on its shape, and where it jumps.

    python benchmarks/shapes.py [--threads 2] [--output shapes.png]

There is a base case, and one axis varies at a time: image size, channels, kernel, batch. The time is that of
a layer's forward pass and of its gradients to weights and input. It is the difference between networks of
three such layers and of one, so the gathering of samples and the scattering of gradients do not count.
The number of operations is that of the plain sum inside the image, for all lanes of the batch's blocks,
including empty ones. The table of cliffs lists where the rate changes by more than a factor of two from one
value to the next. A second table shows that the time of a whole `fit` per sample does not grow with the
number of samples.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from skconvnet import ConvNetClassifier, kernels
from skconvnet._network import Network
from skconvnet.layers import Conv2D, MaxPool2D

BASE = {"size": 16, "channels": 16, "kernel": 5, "batch": 64}
AXES = {
    "size": [8, 12, 16, 24, 32, 48, 64, 96, 128],
    "channels": [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256],
    "kernel": list(range(1, 12)),
    "batch": [1, 2, 4, 8, 16, 17, 32, 33, 48, 64, 96, 128, 256, 512],
}
LABELS = {
    "size": "image height and width (pixels)",
    "channels": "channels, in and out",
    "kernel": "kernel height and width (pixels)",
    "batch": "batch (samples)",
}
FIT_SIZES = [500, 1000, 2000, 4000, 8000, 16000]
CLIFF = 2
SECONDS = 0.2  # a network is run for at least this time, and three times; the fastest run counts


def time_step(depth, size, channels, kernel, batch, threads):
    """Return the seconds of a forward and backward pass through `depth` convolutions."""
    network = Network([Conv2D(channels, kernel, padding="same")] * depth, (channels, size, size))
    rng = np.random.RandomState(0)
    network.initialize(rng)
    X, dy = rng.standard_normal((2, batch, channels, size, size)).astype(np.float32)
    program = network.compile(training=True, input_gradient=True)
    arguments = (
        network.wrap(X),
        network.wrap(dy),
        np.arange(batch),
        network.params,
        np.empty((batch, X[0].size), np.float32),
        np.zeros(network.n_params, np.float32),
        network.make_workspace(program, threads, batch),
    )
    seconds = []
    while len(seconds) < 3 or sum(seconds) < SECONDS:
        start = time.perf_counter()
        program.backward(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def count_flops(size, channels, kernel):
    """Return the operations of forward pass and both gradients for one sample, without those on padding."""
    read = np.arange(size)[:, None] + np.arange(kernel) - (kernel - 1) // 2
    taps = np.count_nonzero((read >= 0) & (read < size))  # along one axis, for all outputs
    return 3 * 2 * channels**2 * taps**2


def measure(size, channels, kernel, batch, threads):
    """Return the GFLOP/s of a layer, over all lanes of the batch's blocks."""
    lanes = kernels.get_engine(np.float32).lanes
    shape = size, channels, kernel, batch
    seconds = (time_step(3, *shape, threads) - time_step(1, *shape, threads)) / 2
    return -(-batch // lanes) * lanes * count_flops(size, channels, kernel) / seconds / 1e9


def find_cliffs(axis, rates):
    """Return the lines of a table of neighbours whose rates differ too much."""
    values = AXES[axis]
    pairs = zip(values, values[1:], rates, rates[1:])
    return [
        f"| {axis} | {before} to {after} | {rate:.0f} | {next_rate:.0f} | {next_rate / rate:.2f} |"
        for before, after, rate, next_rate in pairs
        if max(rate, next_rate) > CLIFF * min(rate, next_rate)
    ]


def time_fit(samples, threads):
    """Return the microseconds per sample and epoch of a whole `fit`."""
    rng = np.random.default_rng(0)
    X = rng.random((samples, 16, 16), dtype=np.float32)
    clf = ConvNetClassifier(
        [Conv2D(16, 5, activation="relu"), MaxPool2D(2)], max_iter=3, n_threads=threads, random_state=0
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        clf.fit(X, np.arange(samples) % 10)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / clf.max_iter / samples * 1e6


def plot(rates, title, output):
    """Save a panel for each axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(11, 7.5), sharey=True, layout="constrained")
    for panel, (axis, values) in zip(panels.flat, AXES.items()):
        panel.plot(values, rates[axis], "o-")
        panel.axvline(BASE[axis], color="0.6", linestyle=":", label="base case")
        if axis != "kernel":
            panel.set_xscale("log", base=2)
        ticks = [v for v in values if v not in (17, 33)]  # their labels would overlap those of 16 and 32
        panel.set_xticks(ticks, ticks, rotation=45 if len(ticks) > 11 else 0)
        panel.minorticks_off()
        panel.set_xlabel(LABELS[axis])
        panel.set_ylabel("GFLOP/s")
        panel.set_ylim(0, 1.05 * max(map(max, rates.values())))
        panel.grid(alpha=0.3)
    panels[0, 0].legend()
    figure.suptitle(title)
    figure.savefig(output, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="a picture, such as shapes.png (needs matplotlib)")
    arguments = parser.parse_args()

    rates = {}
    for axis, values in AXES.items():
        shapes = [{**BASE, axis: value} for value in values]
        rates[axis] = [measure(**shape, threads=arguments.threads) for shape in shapes]
        print(f"| {axis} | {' | '.join(map(str, values))} |")
        print("|---" * (len(values) + 1) + "|")
        print(f"| GFLOP/s | {' | '.join(f'{rate:.0f}' for rate in rates[axis])} |\n", flush=True)
    base = "{size}x{size} pixels, {channels} channels, {kernel}x{kernel} kernel, batch {batch}".format(**BASE)
    threads = f"{arguments.threads} thread{'s' * (arguments.threads > 1)}"
    title = (
        f"A convolution, forward and backward: {base}, one axis varied\n"
        f"{threads}, float32, {kernels.get_isa()}; whole blocks, operations of plain sums"
    )
    if arguments.output:
        plot(rates, title, arguments.output)
    cliffs = [line for axis in AXES for line in find_cliffs(axis, rates[axis])]
    print(f"Neighbours that differ by more than a factor of {CLIFF}: {len(cliffs)}\n")
    print("\n".join(["| axis | from, to | GFLOP/s | GFLOP/s | ratio |", "|---|---|---|---|---|", *cliffs]))
    print(f"\n| samples of a fit | {' | '.join(map(str, FIT_SIZES))} |")
    print("|---" * (len(FIT_SIZES) + 1) + "|")
    times = [f"{time_fit(samples, arguments.threads):.2f}" for samples in FIT_SIZES]
    print(f"| us per sample and epoch | {' | '.join(times)} |")


if __name__ == "__main__":
    main()
