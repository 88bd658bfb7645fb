"""Train networks from the literature on CIFAR-10 and measure their accuracy.

    python benchmarks/train_cifar10.py --data PATH [--networks resnet] [--seeds 0 1 2] [--all] [--output FILE]

PATH is a folder with CIFAR-10's binary or Python batches, or an .npz file with uint8 arrays x_train,
y_train, x_test, y_test. The last eighth of the training images selects the epoch whose weights are kept; the
other training images are trained on. The 10,000 test images measure the accuracy of the kept weights, and of
those after the last epoch. With --all, all training images are trained on, the last epoch counts, and the
column valid_score has the accuracy on the test images.

annt_cifar10  pixels scaled to [-1, 1]; batches of 50, Adam at 0.001, 20 epochs, as in the article
record        the layers and settings of architectures.cifar_record: batches of 2,000, 8 epochs; predictions
              are averaged over flips and shifts
resnet        14 layers; channels standardized, training images flipped and shifted at random; batches
              of 128, Nesterov's momentum 0.9, weight decay 0.0005, a one-cycle learning rate up to 0.1, 16
              epochs
"""

import argparse
from pathlib import Path

import numpy as np
from training import Task, measure, measure_last, report

from skconvnet import architectures
from skconvnet.datasets import read_cifar10
from skconvnet.layers import RandomCrop, RandomFlip, RandomShift, Rescaling, Standardize
from skconvnet.optimizers import SGD, Muon
from skconvnet.schedules import LinearDecay, OneCycle


def make_annt_cifar10(n_samples):
    """Return layers, parameters and epochs of the article."""
    return [Rescaling(1 / 127.5, -1), *architectures.annt_cifar10()], {"batch_size": 50}, 20


def make_resnet(n_samples):
    """Return layers, parameters and epochs of a residual network of 14 layers."""
    n_epochs, batch_size = 16, 128
    params = {
        "batch_size": batch_size,
        "optimizer": SGD(momentum=0.9, nesterov=True),
        "learning_rate": OneCycle(0.1, n_epochs * -(-n_samples // batch_size)),
        "weight_decay": 5e-4,
    }
    augmentation = [RandomFlip(), RandomCrop(32, padding=4)]
    return [Standardize(), *augmentation, *architectures.resnet(blocks=2)], params, n_epochs


def make_record(n_samples):
    """Return layers, parameters and epochs of the network that learns in a few epochs."""
    n_epochs, batch_size = 8, 2000
    params = {
        "batch_size": batch_size,
        "optimizer": Muon(
            momentum=0.6, normalize=True, iterations=3, other=SGD(momentum=0.85, nesterov=True)
        ),
        "learning_rate": LinearDecay(0.05, n_epochs * -(-n_samples // batch_size)),
        "weight_decay": 0.2,
        "label_smoothing": 0.2,
        "test_time_augmentation": [RandomFlip(), RandomShift(1)],
    }
    return architectures.cifar_record(), params, n_epochs


NETWORKS = {"annt_cifar10": make_annt_cifar10, "record": make_record, "resnet": make_resnet}


def load(path, make, train_on_all):
    """Read the images and return the task."""
    if path.is_dir():
        batches = read_cifar10(path)
        X, y, X_test, y_test = batches.X_train, batches.y_train, batches.X_test, batches.y_test
    else:
        with np.load(path) as file:
            X, y, X_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    test, n = (X_test, y_test), len(X) if train_on_all else len(X) * 7 // 8
    return Task(*make(n), (X[:n], y[:n]), test if train_on_all else (X[n:], y[n:]), test)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of batches, or an .npz file")
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
