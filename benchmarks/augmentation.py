"""Measure the cost of augmentation layers in training: the article's CIFAR-10 network with and without them.

    python benchmarks/augmentation.py [--rounds 5] [--samples 5000] [--threads 2] [--output table.md]

Every network trains for an epoch on float32 images of 32x32x3, in batches of 50 with Adam. In each round all
networks train in turn. A row has the fastest of the rounds, and what the layers add to the fastest round
without them. Images are random.
"""

import argparse
from pathlib import Path

import numpy as np

from skconvnet import ConvNetClassifier, architectures
from skconvnet.layers import (
    Augment,
    GaussianNoise,
    Mixup,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
)


def mirror(X, rng):
    """Flip half of the images, in NumPy."""
    flipped = rng.random_sample(len(X)) < 0.5
    X[flipped] = X[flipped, :, ::-1]
    return X


STACKS = {
    "none": [],
    "RandomFlip": [RandomFlip()],
    "RandomShift": [RandomShift(4)],
    "RandomCrop": [RandomCrop(32, padding=4)],
    "RandomRotation": [RandomRotation(15)],
    "RandomErasing": [RandomErasing()],
    "GaussianNoise": [GaussianNoise()],
    "Mixup": [Mixup()],
    "Augment, a flip in NumPy": [Augment(mirror)],
    "Mixup, flip, crop, erasing": [Mixup(), RandomFlip(), RandomCrop(32, padding=4), RandomErasing()],
}


def measure(rounds, n_samples, n_threads):
    """Time an epoch of every stack, in turn; return the seconds of each stack in each round."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 32, 32, 3), np.float32)
    y = np.arange(n_samples) % 10
    estimators = {
        name: ConvNetClassifier(
            [*stack, *architectures.annt_cifar10()],
            batch_size=50,
            max_iter=1,
            warm_start=True,
            n_threads=n_threads,
            random_state=0,
        ).fit(X[:50], y[:50])
        for name, stack in STACKS.items()
    }
    seconds = {name: [] for name in STACKS}
    for _ in range(rounds):
        for name, estimator in estimators.items():
            estimator.fit(X, y)
            seconds[name].append(estimator.history_[-1]["duration"])
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    seconds = measure(arguments.rounds, arguments.samples, arguments.threads)
    fastest = {name: min(times) for name, times in seconds.items()}
    steps = arguments.samples / 50
    lines = ["| layers | ms per step of 50 | added |", "|---|---|---|"]
    for name, time in fastest.items():
        lines.append(f"| {name} | {1e3 * time / steps:.2f} | {time / fastest['none'] - 1:+.1%} |")
    lines.append("\nThe last row is a usual set of layers, which may add 10 %.")
    text = "\n".join(lines)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
