"""Compare initial weights, skconvnet's default and others, with PyTorch's defaults on small and large tasks.

    python benchmarks/defaults.py [--data FOLDER] [--tasks digits_400 ...] [--seeds 10] [--output FILE]

The tasks come from scikit-learn's digits and from generated signals; those with mnist or cifar10 in their
names need FOLDER, which holds `mnist.npz` as Keras distributes it, and `cifar10.npz` with arrays of the same
names. Each task is learned with Adam by every candidate and by the same network in PyTorch with its own
initial weights, at a learning rate of 0.001, but annt_mnist at 0.002. The score is that of the last epoch on
test samples: accuracy, R2 for numbers, the fraction of samples with all labels right, or the mean accuracy of
the classes where they are imbalanced. The table has medians over the seeds, with the lowest and the highest
score. Large tasks have at most three seeds.
"""

import argparse
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from networks import make_torch_module
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score

from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet._network import Network
from skconvnet.architectures import annt_mnist
from skconvnet.layers import BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, Output, ReLU


def draw_like_torch(shape, fan_in, fan_out, rng):
    """PyTorch's rule: uniform within 1 / sqrt(fan_in)."""
    return rng.uniform(-1, 1, shape) / np.sqrt(fan_in)


# name: initial weights of hidden layers and of the output layer
CANDIDATES = {
    "default": ("he_uniform", "small_uniform"),
    "he, zeros": ("he_uniform", "zeros"),
    "he, PyTorch's": ("he_uniform", draw_like_torch),
    "he, lecun": ("he_uniform", "lecun_uniform"),
    "he, glorot": ("he_uniform", "glorot_uniform"),
    "lecun, small": ("lecun_uniform", "small_uniform"),
    "PyTorch's, small": (draw_like_torch, "small_uniform"),
    "PyTorch's": (draw_like_torch, draw_like_torch),
}

SCORES = {"accuracy": accuracy_score, "balanced": balanced_accuracy_score, "R2": r2_score}


@dataclass
class Task:
    """Samples (n, height, width, channels), a network without its output layer, and how to train it."""

    layers: list
    train: tuple
    test: tuple
    n_epochs: int
    batch_size: int = 32
    learning_rate: float = 0.001
    score: str = "accuracy"

    @property
    def estimator(self):
        return ConvNetRegressor if self.score == "R2" else ConvNetClassifier


def convolve(*filters, units=None, norm=False):
    """Return convolutions, each with a pooling, and a dense layer if units are given."""
    layers = []
    for n in filters:
        after = [BatchNorm(), ReLU()] if norm else [ReLU()]
        layers += [Conv2D(n, 3, padding="same"), *after, MaxPool2D(2)]
    return [*layers, Flatten(), Dense(units, activation="relu")] if units else layers


def make_digits(n, layers, n_epochs, target=lambda y: y, **options):
    """Return a task with the first n digits."""
    X, y = load_digits(return_X_y=True)
    X, y = (X / 16).reshape(-1, 8, 8, 1).astype(np.float32), target(y)
    return Task(layers, (X[:n], y[:n]), (X[n : n + 400], y[n : n + 400]), n_epochs, **options)


def label_digits(y):
    """Return three labels of each digit: odd, larger than 4, a multiple of 3."""
    return np.stack([y % 2 == 1, y > 4, y % 3 == 0], axis=1).astype(int)


def make_signals():
    """Return a task with three kinds of waves of unknown phase in noise."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 2 * np.pi, 64)
    y = rng.integers(0, 3, 900)
    phase = rng.uniform(0, 2 * np.pi, (900, 1))
    waves = np.stack([np.sin(3 * t + phase), np.sign(np.sin(3 * t + phase)), np.sin(3 * t + phase) ** 3])
    X = waves[y, np.arange(900)] + rng.normal(0, 0.4, (900, 64))
    X = X.astype(np.float32).reshape(-1, 1, 64, 1)
    layers = [Conv2D(16, (1, 7), padding="same", activation="relu"), MaxPool2D((1, 4))]
    layers += [Conv2D(16, (1, 5), padding="same", activation="relu"), MaxPool2D((1, 4))]
    return Task(layers, (X[:500], y[:500]), (X[500:], y[500:]), 20)


def make_images(folder, name, n, layers, n_epochs, margin=0, **options):
    """Return a task with the first n training images of a file, and all its test images.

    Zeros are added around the images, of this margin.
    """
    with np.load(folder / f"{name}.npz") as file:
        X, y, X_test, y_test = (file[part] for part in ("x_train", "y_train", "x_test", "y_test"))
    X, X_test = (np.atleast_3d(a).reshape(*a.shape[:3], -1).astype(np.float32) / 255 for a in (X[:n], X_test))
    X, X_test = (np.pad(a, ((0, 0), (margin, margin), (margin, margin), (0, 0))) for a in (X, X_test))
    return Task(
        layers, (X, y[:n].ravel()), (X_test, y_test.ravel()), n_epochs, **{"batch_size": 64, **options}
    )


def order_annt_cifar10():
    """Return ANNT's CIFAR-10 network in the order convolution, pooling, ReLU, batch normalization."""
    layers = []
    for filters in (32, 32, 64):
        layers += [Conv2D(filters, 5, padding=2), MaxPool2D(2), ReLU(), BatchNorm(scale=False, center=False)]
    return [*layers, Dense(64, activation="relu"), BatchNorm(scale=False, center=False)]


TASKS = {
    "digits_200": lambda _: make_digits(200, convolve(8), 20),
    "digits_400": lambda _: make_digits(400, convolve(8), 6),
    "digits_1400": lambda _: make_digits(1400, convolve(32, 64, units=128), 5),
    "signals": lambda _: make_signals(),
    "regression": lambda _: make_digits(600, [Conv2D(8, 3), ReLU()], 30, np.float32, score="R2"),
    "labels": lambda _: make_digits(600, convolve(8), 20, label_digits),
    "imbalanced": lambda _: make_digits(
        1000, convolve(8), 10, lambda y: (y == 8).astype(int), score="balanced"
    ),
    "mnist_2000": lambda folder: make_images(folder, "mnist", 2000, convolve(32, 64, units=128), 5),
    "cifar10_5000": lambda folder: make_images(folder, "cifar10", 5000, convolve(32, 64, units=128), 8),
    "cifar10_5000_norm": lambda folder: make_images(
        folder, "cifar10", 5000, convolve(32, 64, units=128, norm=True), 8
    ),
    "annt_mnist": lambda folder: make_images(
        folder, "mnist", 60000, annt_mnist(full=True), 20, margin=2, batch_size=50, learning_rate=0.002
    ),
    "annt_cifar10": lambda folder: make_images(
        folder, "cifar10", 50000, order_annt_cifar10(), 20, batch_size=50
    ),
    "mnist_60000": lambda folder: make_images(folder, "mnist", 60000, convolve(32, 64, units=128), 2),
    "cifar10_50000": lambda folder: make_images(folder, "cifar10", 50000, convolve(32, 64, units=128), 4),
    "cifar10_50000_norm": lambda folder: make_images(
        folder, "cifar10", 50000, convolve(32, 64, units=128, norm=True), 4
    ),
}


def learn(task, candidate, seed):
    """Return the test score of skconvnet."""
    hidden, output = CANDIDATES[candidate]
    layers = [replace(a, init=hidden) if isinstance(a, (Conv2D, Dense)) else a for a in task.layers]
    options = {"loss": "binary_cross_entropy"} if task.train[1].ndim == 2 else {}
    model = task.estimator(
        [*layers, Output(init=output)],
        **options,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        max_iter=task.n_epochs,
        random_state=seed,
    )
    predicted = model.fit(*task.train).predict(task.test[0])
    return SCORES[task.score](task.test[1], predicted)


def learn_by_torch(task, seed):
    """Return the test score of the same network in PyTorch, with its initial weights and Adam."""
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    X, y = task.train
    shape = (X.shape[3], *X.shape[1:3])
    n_outputs = y.shape[1] if y.ndim == 2 else 1 if task.score == "R2" else len(np.unique(y))
    module = make_torch_module(Network(task.layers, shape, n_outputs))
    optimizer = torch.optim.Adam(module.parameters(), lr=task.learning_rate)
    images, images_test = (torch.tensor(np.moveaxis(a, 3, 1).copy()) for a in (X, task.test[0]))
    targets = torch.tensor(y)

    def compute_loss(outputs, rows):
        if y.ndim == 2:
            return functional.binary_cross_entropy_with_logits(outputs, targets[rows].float())
        if task.score == "R2":
            return functional.mse_loss(outputs[:, 0], targets[rows])
        return functional.cross_entropy(outputs, targets[rows])

    for _ in range(task.n_epochs):
        order = torch.randperm(len(X))
        for start in range(0, len(X), task.batch_size):
            rows = order[start : start + task.batch_size]
            optimizer.zero_grad()
            compute_loss(module(images[rows]), rows).backward()
            optimizer.step()
    module.eval()
    with torch.no_grad():
        outputs = torch.cat([module(part) for part in images_test.split(500)]).numpy()
    if y.ndim == 2:
        predicted = (outputs > 0).astype(int)
    else:
        predicted = outputs[:, 0] if task.score == "R2" else outputs.argmax(1)
    return SCORES[task.score](task.test[1], predicted)


def summarize(scores):
    """Return the median and the range of some scores."""
    return f"{statistics.median(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder that holds mnist.npz and cifar10.npz")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), help="default: all that need no folder")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, help="file that gets the table")
    options = parser.parse_args()
    quick = [name for name in TASKS if "mnist" not in name and "cifar" not in name]
    lines = [
        f"| task | {' | '.join(options.candidates)} | PyTorch |",
        "|---" * (len(options.candidates) + 2) + "|",
    ]
    for name in options.tasks or (TASKS if options.data else quick):
        task = TASKS[name](options.data)
        seeds = range(min(options.seeds, 10 if len(task.train[1]) < 3000 else 3))
        cells = [summarize([learn(task, c, seed) for seed in seeds]) for c in options.candidates]
        cells.append(summarize([learn_by_torch(task, seed) for seed in seeds]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(name, *zip([*options.candidates, "PyTorch"], cells), sep="\n    ", flush=True)
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if options.output:
        options.output.write_text(table)


if __name__ == "__main__":
    main()
