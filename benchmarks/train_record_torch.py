"""Train the record network on CIFAR-10 in PyTorch, with the settings of its paper, beside train_cifar10.py.

    python benchmarks/train_record_torch.py --data FILE [--seed 0] [--epochs 8] [--validate]

FILE is an .npz file with uint8 arrays x_train, y_train, x_test, y_test. All training images are trained on,
and the test images measure the accuracy after each epoch; with --validate, the last eighth of the
training images measures it instead, and the others are trained on. The network, its settings and the changes
of its images are those of the form with Muon of Jordan, arXiv:2404.00498: losses are sums over 2,000 images,
biases and the output layer have SGD with momentum, learning rates fall along a line. This program uses
nothing of skconvnet.
"""

import argparse
import time
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BATCH_SIZE = 2000
RATES = {"kernel": 0.24, "bias": 0.053, "output": 0.67}
WEIGHT_DECAY = 2e-6 * BATCH_SIZE  # of a step; divided by the learning rate for SGD
EPOCHS_OF_THE_FIRST_BIAS = 3


class Network(nn.Module):
    """A frozen whitening layer, three stages of two convolutions, an output layer."""

    def __init__(self):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        layers = [nn.GELU()]
        for channels, filters in ((24, 64), (64, 256), (256, 256)):
            for inputs, pools in ((channels, [nn.MaxPool2d(2)]), (filters, [])):
                conv = nn.Conv2d(inputs, filters, 3, padding=1, bias=False)
                nn.init.dirac_(conv.weight[:inputs])
                norm = nn.BatchNorm2d(filters, eps=1e-12, momentum=0.4)
                norm.weight.requires_grad_(False)
                layers += [conv, *pools, norm, nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten())
        self.output = nn.Linear(256, 10, bias=False)
        with torch.no_grad():
            self.output.weight /= self.output.weight.std()

    @torch.no_grad()
    def learn_patches(self, images):
        """Set the first layer to the whitening of 2x2 patches, and to its negative."""
        patches = functional.unfold(images, 2).transpose(1, 2).reshape(-1, 12).double()
        values, vectors = torch.linalg.eigh(torch.cov(patches.T))
        kernels = (vectors / torch.sqrt(values + 5e-4)).T.flip(0)
        self.whiten.weight[:] = torch.cat([kernels, -kernels]).reshape(24, 3, 2, 2)
        self.whiten.bias.zero_()
        self.whiten.weight.requires_grad_(False)

    def forward(self, x):
        return self.output(self.layers(self.whiten(x))) / 256


@torch.no_grad()
def orthogonalize(gradient):
    """Return about the nearest matrix with orthonormal rows, in 3 steps of Newton and Schulz."""
    matrix = gradient.flatten(1)
    tall = len(matrix) > matrix.shape[1]
    matrix = matrix.T if tall else matrix
    matrix = matrix / (matrix.norm() + 1e-7)
    for _ in range(3):
        gram = matrix @ matrix.T
        matrix = 3.4445 * matrix + (-4.775 * gram + 2.0315 * gram @ gram) @ matrix
    return (matrix.T if tall else matrix).reshape(gradient.shape)


class Muon:
    """Momentum, orthogonal steps, kernels of a fixed norm."""

    def __init__(self, kernels, momentum=0.6):
        self.momentum = momentum
        self.pairs = [(kernel, torch.zeros_like(kernel)) for kernel in kernels]

    @torch.no_grad()
    def step(self, rate):
        for kernel, velocity in self.pairs:
            velocity.mul_(self.momentum).add_(kernel.grad)
            step = orthogonalize(kernel.grad + self.momentum * velocity)
            kernel *= len(kernel) ** 0.5 / kernel.norm()
            kernel -= rate * step


def augment(images, epoch, flips, rng):
    """Return images flipped in turn and cropped at random by up to 2 pixels from reflected margins."""
    n = len(images)
    padded = functional.pad(images, (2, 2, 2, 2), mode="reflect")
    rows, columns = (torch.from_numpy(rng.integers(0, 5, n)) for _ in range(2))
    steps = torch.arange(32)
    index = torch.arange(n)
    picked = padded[
        index[:, None, None, None],
        torch.arange(3)[None, :, None, None],
        (rows[:, None] + steps)[:, None, :, None],
        (columns[:, None] + steps)[:, None, None, :],
    ]
    flipped = torch.from_numpy((flips + epoch) % 2 == 1)
    picked[flipped] = picked[flipped].flip(-1)
    return picked


@torch.inference_mode()
def score(network, images, labels, variants):
    """Return the accuracy of the mean output over flips and, for 6 variants, shifts by one pixel."""
    network.eval()
    n_right = 0
    for x, y in zip(images.split(500), labels.split(500), strict=True):
        outputs = network(x) + network(x.flip(-1)) if variants > 1 else network(x)
        if variants == 6:
            outputs = 2 * outputs  # as much as both shifts
            padded = functional.pad(x, (1, 1, 1, 1), mode="reflect")
            for k in (0, 2):
                shifted = padded[:, :, k : k + 32, k : k + 32]
                outputs = outputs + (network(shifted) + network(shifted.flip(-1)))
        n_right += int((outputs.argmax(1) == y).sum())
    network.train()
    return n_right / len(labels)


def load(path, validate):
    """Return standardized training and test images with their labels."""
    with np.load(path) as file:
        X, y, X_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    if validate:
        n = len(X) * 7 // 8
        X, y, X_test, y_test = X[:n], y[:n], X[n:], y[n:]
    mean, deviation = (f(X / np.float32(255), (0, 1, 2)) for f in (np.mean, np.std))

    def convert(X, y):
        images = ((X / np.float32(255) - mean) / deviation).astype(np.float32).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(y.astype(np.int64).ravel())

    return *convert(X, y), *convert(X_test, y_test)


def train(network, images, labels, n_epochs, rng):
    """Train for a number of epochs, and yield number, loss, accuracy and seconds of each."""
    biases = [p for name, p in network.layers.named_parameters() if "bias" in name]
    kernels = [p for p in network.layers.parameters() if p.dim() == 4]
    groups = [
        {"params": [network.whiten.bias], "lr": RATES["bias"]},
        {"params": biases, "lr": RATES["bias"]},
        {"params": [network.output.weight], "lr": RATES["output"]},
    ]
    for group in groups:
        group["weight_decay"] = WEIGHT_DECAY / group["lr"]
    sgd = torch.optim.SGD(groups, momentum=0.85, nesterov=True)
    rates = [group["lr"] for group in sgd.param_groups]
    muon = Muon(kernels)
    n_steps = n_epochs * (len(images) // BATCH_SIZE)
    n_first = EPOCHS_OF_THE_FIRST_BIAS * (len(images) // BATCH_SIZE)
    flips, step = rng.integers(0, 2, len(images)), 0
    for epoch in range(1, n_epochs + 1):
        start, losses, n_right = time.perf_counter(), 0.0, 0
        changed = augment(images, epoch, flips, rng)
        for index in torch.from_numpy(rng.permutation(len(images))).split(BATCH_SIZE):
            if len(index) < BATCH_SIZE:
                continue
            network.whiten.bias.requires_grad_(step < n_first)
            outputs = network(changed[index])
            loss = functional.cross_entropy(outputs, labels[index], label_smoothing=0.2, reduction="sum")
            network.zero_grad()
            loss.backward()
            falls = [max(0, 1 - step / n_first), *[1 - step / n_steps] * 2]
            for group, rate, fall in zip(sgd.param_groups, rates, falls, strict=True):
                group["lr"] = rate * fall
            sgd.step()
            muon.step(RATES["kernel"] * falls[1])
            losses += float(loss.detach())
            n_right += int((outputs.detach().argmax(1) == labels[index]).sum())
            step += 1
        yield epoch, losses / len(images), n_right / len(images), time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--validate", action="store_true", help="measure on training images held back")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    X, y, X_test, y_test = load(arguments.data, arguments.validate)
    network = Network()
    network.learn_patches(X[: ceil(len(X) / 10)])
    network.to(memory_format=torch.channels_last)
    network.train()
    print("epoch  train_loss  train_score  test_score  seconds")
    for epoch, loss, right, seconds in train(network, X, y, arguments.epochs, rng):
        accuracy = score(network, X_test, y_test, 1)
        print(f"{epoch:5d}  {loss:10.4f}  {right:11.4f}  {accuracy:10.4f}  {seconds:7.1f}", flush=True)
    for variants in (2, 6):
        print(
            f"accuracy, mean of {variants} variants: {score(network, X_test, y_test, variants):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
