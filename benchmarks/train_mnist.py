"""Train networks from the literature on MNIST and measure their accuracy.

    python benchmarks/train_mnist.py --data FOLDER [--networks numpy_cnn] [--seeds 0] [--all] [--output FILE]

FOLDER holds `mnist.npz` as Keras distributes it: uint8 arrays x_train, y_train, x_test, y_test. The first
50,000 training images are trained on; the other 10,000 select the epoch whose weights are kept. The 10,000
test images measure the accuracy of the kept weights, and of those after the last epoch. With --all, all
training images are trained on, the last epoch counts, and the column valid_score has the accuracy on the test
images.

augmented     five convolutions with batch normalisation, for images that are rotated and shifted at random;
              batches of 128, Adam with a one-cycle learning rate up to 0.004, 10 epochs
annt_mnist    pixels scaled to [-1, 1], images padded with -1 to 32x32; batches of 50, Adam at 0.002,
              20 epochs, as in the article
numpy_cnn     pixels standardized; batches of 32, Adam at 0.001, 2 epochs
kajda_mnist   pixels scaled to [0, 1]; batches of 32, Adam at 0.001, 20 epochs
"""

import argparse
from pathlib import Path

import numpy as np
from networks import convolve
from training import Task, measure, measure_last, report

from skconvnet import architectures
from skconvnet.layers import MaxPool2D, RandomRotation, RandomShift, Rescaling, Standardize
from skconvnet.schedules import OneCycle


def make_augmented(images, n_samples):
    """Return images, layers, parameters and epochs of a network for images that change at random."""
    n_epochs, batch_size = 10, 128
    params = {
        "batch_size": batch_size,
        "learning_rate": OneCycle(0.004, n_epochs * -(-n_samples // batch_size)),
    }
    layers = [
        *(Rescaling(1 / 255), RandomRotation(10), RandomShift(2)),
        *(*convolve(24, 5, padding="valid"), MaxPool2D()),
        *(*convolve(48, 3), *convolve(48, 3), MaxPool2D()),
        *(*convolve(96, 3), *convolve(96, 3), MaxPool2D()),
    ]
    return images, layers, params, n_epochs


def make_annt_mnist(images, n_samples):
    """Scale and pad as the article does; return images, layers, parameters and epochs."""
    scaled = images.astype(np.float32) / 127.5 - 1
    images = np.pad(scaled, ((0, 0), (2, 2), (2, 2)), constant_values=-1)
    return images, architectures.annt_mnist(), {"batch_size": 50, "learning_rate": 0.002}, 20


def make_numpy_cnn(images, n_samples):
    """Standardize by the training images; return images, layers, parameters and epochs."""
    return images, [Standardize(), *architectures.numpy_cnn()], {"batch_size": 32}, 2


def make_kajda_mnist(images, n_samples):
    """Scale to [0, 1]; return images, layers, parameters and epochs."""
    return images, [Rescaling(1 / 255), *architectures.kajda_mnist()], {"batch_size": 32}, 20


NETWORKS = {
    "augmented": make_augmented,
    "annt_mnist": make_annt_mnist,
    "numpy_cnn": make_numpy_cnn,
    "kajda_mnist": make_kajda_mnist,
}


def load(folder, make, train_on_all):
    """Read the images and return the task."""
    with np.load(folder / "mnist.npz") as file:
        X, y, X_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    n = len(X) if train_on_all else 50000
    X, layers, params, n_epochs = make(X, n)
    test = make(X_test, n)[0], y_test
    return Task(layers, params, n_epochs, (X[:n], y[:n]), test if train_on_all else (X[n:], y[n:]), test)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds mnist.npz")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    parser.add_argument("--all", action="store_true", help="train on all training images")
    arguments = parser.parse_args()
    run = measure_last if arguments.all else measure
    tables = [
        run(name, load(arguments.data, NETWORKS[name], arguments.all), arguments.seeds)
        for name in arguments.networks
    ]
    report(tables, arguments.output)


if __name__ == "__main__":
    main()
