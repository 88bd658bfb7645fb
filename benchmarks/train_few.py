"""Train on 50 images of each class of MNIST and of CIFAR-10; a grid search of minutes chooses the recipe.

    python benchmarks/train_few.py --mnist FILE --cifar10 FILE [--seeds 0 1 2] [--output FILE]

The files are .npz files with uint8 arrays x_train, y_train, x_test, y_test. A seed draws the images of each
class from the training images. `GridSearchCV` with three folds compares widths of the network, augmentation
and numbers of epochs; the best is fitted on all 500 images, and the 10,000 test images measure it once.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from networks import convolve
from sklearn.model_selection import GridSearchCV
from training import report

from skconvnet import ConvNetClassifier
from skconvnet.layers import (
    Dropout,
    GlobalAvgPool2D,
    MaxPool2D,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
    Standardize,
)
from skconvnet.schedules import OneCycle

N_PER_CLASS, BATCH_SIZE = 50, 32

AUGMENTATION = {
    "mnist": ([], [RandomShift(2)], [RandomRotation(15), RandomShift(2)]),
    "cifar10": (
        [RandomFlip()],
        [RandomFlip(), RandomCrop(32, padding=4, padding_mode="reflect")],
        [RandomFlip(), RandomCrop(32, padding=4, padding_mode="reflect"), RandomErasing(0.5)],
    ),
}


def make_layers(width, augmentation):
    """Return a network of three stages of two convolutions."""
    layers = [Standardize(), *augmentation]
    for factor in (1, 2, 4):
        layers += [*convolve(factor * width, 3), *convolve(factor * width, 3), MaxPool2D()]
    return [*layers[:-1], GlobalAvgPool2D(), Dropout(0.3)]


def list_settings(augmentations, n_samples):
    """Return the grids: the rate rises and falls once within the epochs."""
    return [
        {
            "layers": [make_layers(width, layers) for width in (16, 32) for layers in augmentations],
            "max_iter": [n_epochs],
            "learning_rate": [OneCycle(0.004, n_epochs * -(-n_samples // BATCH_SIZE))],
        }
        for n_epochs in (40, 80)
    ]


def draw(y, seed):
    """Return the positions of the same number of samples of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.choice(np.flatnonzero(y == c), N_PER_CLASS, replace=False) for c in np.unique(y)]
    )


def measure(name, path, seeds):
    """Search, fit and test with each seed; return a Markdown table."""
    with np.load(path) as file:
        X, y, X_test, y_test = (file[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    rows, scores = [], []
    for seed in seeds:
        few = draw(y, seed)
        clf = ConvNetClassifier(batch_size=BATCH_SIZE, average="ema", dtype="float32", random_state=seed)
        n_in_fold = len(few) * 2 // 3
        search = GridSearchCV(clf, list_settings(AUGMENTATION[name], n_in_fold), cv=3, error_score="raise")
        start = time.perf_counter()
        search.fit(X[few], y[few])
        minutes = (time.perf_counter() - start) / 60
        scores.append(search.score(X_test, y_test))
        best = search.best_params_
        layers = [layer for layer in best["layers"] if "Random" in type(layer).__name__]
        chosen = f"{best['max_iter']} epochs, {best['layers'][len(layers) + 1].filters} filters, {layers}"
        rows.append(f"| {seed} | {search.best_score_:.3f} | {scores[-1]:.4f} | {minutes:.1f} | {chosen} |")
        print(name, rows[-1], flush=True)
    return "\n".join(
        [
            f"| {name}, seed | three folds | test | minutes of the search | chosen |",
            "|---|---|---|---|---|",
            *rows,
            f"| median | | **{statistics.median(scores):.4f}** | | |",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--cifar10", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    paths = {"mnist": arguments.mnist, "cifar10": arguments.cifar10}
    if not any(paths.values()):
        parser.error("give --mnist or --cifar10")
    report([measure(name, path, arguments.seeds) for name, path in paths.items() if path], arguments.output)


if __name__ == "__main__":
    main()
