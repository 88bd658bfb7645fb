"""Accuracy against minutes: train recipes in skconvnet and in PyTorch, and draw a curve for each.

    python benchmarks/curves.py --mnist FOLDER --cifar10 FILE [--recipes augmented resnet] [--threads 2]
    python benchmarks/curves.py --draw

Recipes are those of train_mnist.py and train_cifar10.py, on all training images, seed 0; after each epoch the
test images measure the accuracy, in time that does not count. PyTorch has the same layers, with its own
initial weights, channels last. Each recipe and library runs in a process of its own; curves are kept in
doc/pictures/accuracy.json, and --draw draws doc/pictures/accuracy.png from it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import train_cifar10
import train_mnist
from networks import make_torch_module

from skconvnet import ConvNetClassifier
from skconvnet import layers as ours
from skconvnet._network import Network
from skconvnet.schedules import resolve_schedule

PICTURE = Path(__file__).parents[1] / "doc" / "pictures" / "accuracy.png"
MNIST, CIFAR10 = ("augmented", "annt_mnist"), ("resnet", "annt_cifar10", "record")
# The record's optimizer is in no PyTorch package: train_record_torch.py has that curve.
LIBRARIES = {"skconvnet": (*MNIST, *CIFAR10), "PyTorch": (*MNIST, "resnet", "annt_cifar10")}


def load(recipe, path):
    """Return a recipe's task on all training images."""
    if recipe in MNIST:
        return train_mnist.load(path, train_mnist.NETWORKS[recipe], train_on_all=True)
    return train_cifar10.load(path, train_cifar10.NETWORKS[recipe], train_on_all=True)


def train_skconvnet(task, threads):
    """Yield the seconds of each epoch, and the accuracy after it."""
    params = {**task.params, "test_time_augmentation": None}
    clf = ConvNetClassifier(task.layers, random_state=0, dtype="float32", n_threads=threads, **params)
    for _ in range(task.n_epochs):
        clf.partial_fit(*task.train, classes=np.unique(task.train[1]))
        yield clf.history_[-1]["duration"], clf.score(*task.test)


def split_layers(task):
    """Return rescaling, augmentation and the layers after them."""
    kinds = (ours.RandomFlip, ours.RandomCrop, ours.RandomShift, ours.RandomRotation)
    first = next(k for k, layer in enumerate(task.layers) if not isinstance(layer, kinds) and k > 0)
    before = isinstance(task.layers[0], (ours.Rescaling, ours.Standardize))
    return (task.layers[0] if before else None), task.layers[before:first], task.layers[first * before :]


def convert_images(images, scaling, statistics):
    """Return images as a tensor, scaled as the recipe's first layer does."""
    import torch

    x = images.reshape(*images.shape[:3], -1).transpose(0, 3, 1, 2).astype(np.float32)
    if isinstance(scaling, ours.Rescaling):
        x = x * np.float32(scaling.scale) + np.float32(scaling.offset)
    elif scaling is not None:
        mean, deviation = statistics
        x = (x - mean[:, None, None]) / deviation[:, None, None]
    return torch.from_numpy(np.ascontiguousarray(x)).to(memory_format=torch.channels_last)


def change_images(x, augmentation, rng):
    """Return images that are flipped, shifted and rotated at random, each by one affine map."""
    import torch
    from torch.nn import functional

    n, size = len(x), x.shape[-1]
    sign, shifts, angle = np.ones(n), np.zeros((n, 2)), np.zeros(n)
    for layer in augmentation:
        if isinstance(layer, ours.RandomFlip):
            sign = rng.choice([-1.0, 1.0], n)
        elif isinstance(layer, ours.RandomRotation):
            angle = np.deg2rad(rng.uniform(-layer.degrees, layer.degrees, n))
        else:
            most = layer.pixels if isinstance(layer, ours.RandomShift) else layer.padding
            shifts = rng.integers(-most, most, (n, 2), endpoint=True)
    shifts = 2 * shifts / size
    maps = np.stack([np.cos(angle) * sign, -np.sin(angle), np.sin(angle) * sign, np.cos(angle)], 1)
    maps = np.concatenate([maps.reshape(n, 2, 2), shifts[:, :, None]], 2).astype(np.float32)
    grid = functional.affine_grid(torch.from_numpy(maps), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def make_torch_optimizer(module, optimizer):
    """Return PyTorch's optimizer: Adam by default, or SGD with the same momentum."""
    import torch

    if isinstance(optimizer, str):
        return torch.optim.Adam(module.parameters(), fused=True)
    return torch.optim.SGD(module.parameters(), momentum=optimizer.momentum, nesterov=optimizer.nesterov)


def train_torch(task, threads):
    """Yield the seconds of each epoch, and the accuracy after it."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scaling, augmentation, layers = split_layers(task)
    images = task.train[0].reshape(*task.train[0].shape[:3], -1)
    statistics = images.mean((0, 1, 2), dtype=np.float64), images.std((0, 1, 2), dtype=np.float64)
    statistics = [value.astype(np.float32) for value in statistics]
    X, X_test = (convert_images(a[0], scaling, statistics) for a in (task.train, task.test))
    y, y_test = (torch.from_numpy(a[1].astype(np.int64).ravel()) for a in (task.train, task.test))
    network = Network([*layers, ours.Output()], tuple(X.shape[1:]), 10)
    module = make_torch_module(network).to(memory_format=torch.channels_last)
    optimizer = make_torch_optimizer(module, task.params.get("optimizer", "adam"))
    schedule = resolve_schedule(task.params.get("learning_rate", 0.001))
    decay, batch, step = task.params.get("weight_decay", 0), task.params["batch_size"], 0
    optimizer.param_groups[0]["weight_decay"] = decay
    for _ in range(task.n_epochs):
        start = time.perf_counter()
        module.train()
        for index in torch.from_numpy(rng.permutation(len(X))).split(batch):
            optimizer.param_groups[0]["lr"] = float(schedule.rates(np.array([step]))[0])
            x = change_images(X[index], augmentation, rng) if augmentation else X[index]
            optimizer.zero_grad()
            functional.cross_entropy(module(x), y[index]).backward()
            optimizer.step()
            step += 1
        seconds = time.perf_counter() - start
        module.eval()
        with torch.inference_mode():
            n_right = sum(
                int((module(x).argmax(1) == labels).sum())
                for x, labels in zip(X_test.split(500), y_test.split(500), strict=True)
            )
        yield seconds, n_right / len(y_test)


TRAINERS = {"skconvnet": train_skconvnet, "PyTorch": train_torch}


def read_curves():
    """Return the curves that are kept: a list of dictionaries."""
    file = PICTURE.with_suffix(".json")
    return json.loads(file.read_text()) if file.exists() else []


def run(library, recipe, path, threads):
    """Train, print a line per epoch, and keep the curve in the place of the former one."""
    task = load(recipe, path)
    minutes, accuracy = [0.0], [0.1]
    for seconds, score in TRAINERS[library](task, threads):
        minutes.append(minutes[-1] + seconds / 60)
        accuracy.append(score)
        print(f"{library} {recipe}: {minutes[-1]:6.2f} minutes, {score:.4f}", flush=True)
    curve = {"library": library, "recipe": recipe, "minutes": minutes, "accuracy": accuracy}
    curves = [c for c in read_curves() if (c["library"], c["recipe"]) != (library, recipe)]
    text = ",\n ".join(json.dumps(c) for c in [*curves, curve])
    PICTURE.with_suffix(".json").write_text(f"[{text}]\n")


def draw():
    """Draw a panel for each set of images: error on a logarithmic axis, against minutes."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    curves = read_curves()
    for axes, title, recipes in zip(panels, ("MNIST", "CIFAR-10 (JPEG once)"), (MNIST, CIFAR10), strict=True):
        for k, recipe in enumerate(recipes):
            for curve in (c for c in curves if c["recipe"] == recipe):
                mine = curve["library"] == "skconvnet"
                line, label = ("-", recipe) if mine else ("--", f"{recipe}, PyTorch")
                axes.plot(curve["minutes"][1:], curve["accuracy"][1:], line, color=f"C{k}", label=label)
        axes.set(title=title, xlabel="minutes of training, two cores", xscale="log")
        axes.set_ylim(*((0.96, 0.998) if recipes is MNIST else (0.4, 0.95)))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)
    panels[0].set_ylabel("accuracy on the test images")
    figure.savefig(PICTURE, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="the folder that holds mnist.npz")
    parser.add_argument("--cifar10", type=Path, help="a folder of batches, or an .npz file")
    parser.add_argument("--recipes", nargs="+", choices=(*MNIST, *CIFAR10), default=(*MNIST, *CIFAR10))
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draw", action="store_true", help="draw the curves that are kept")
    arguments = parser.parse_args()
    if arguments.draw:
        return draw()
    jobs = [(name, r) for r in arguments.recipes for name in arguments.libraries if r in LIBRARIES[name]]
    if len(jobs) == 1:
        (library, recipe), path = jobs[0], arguments.mnist if arguments.recipes[0] in MNIST else None
        return run(library, recipe, path or arguments.cifar10, arguments.threads)
    for library, recipe in jobs:  # PyTorch and skconvnet have threads of their own: a process each
        command = [sys.executable, __file__, *sys.argv[1:], "--recipes", recipe, "--libraries", library]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
