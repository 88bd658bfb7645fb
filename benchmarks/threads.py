"""Measure how much faster several threads are than one, for batches of a few blocks.

    python benchmarks/threads.py [--threads 2] [--batches 8 16 50] [--rounds 15]

A row is a network and a batch size. Forward and backward pass, and prediction, run on one thread and on
several threads in turn; the table has the median times and the median ratio of a round, with its quartiles.
"""

import argparse
import statistics
import time

import numpy as np
from networks import make_network

from skconvnet import kernels
from skconvnet.losses import CROSS_ENTROPY

NETWORKS = "annt_mnist", "annt_cifar10", "resnet", "vgg", "fcn", "large"


def make_calls(name, batch, threads):
    """Return functions that train and predict on one batch."""
    network = make_network(name)[1]
    rng = np.random.RandomState(0)
    network.initialize(rng)
    X = rng.standard_normal((batch, *network.input_shape)).astype(np.float32)
    rows, y = np.arange(batch), np.empty((batch, 10), np.float32)
    program, predicting = network.compile(training=True), network.compile()
    data = network.wrap_data(X, rows % 10, np.ones(batch), CROSS_ENTROPY)
    gradient = np.zeros(network.n_params, np.float32)
    workspaces = network.make_workspace(program, threads, batch), network.make_workspace(predicting, threads)
    return {
        "training": lambda: program.loss(
            data, rows, network.params, None, gradient, workspaces[0], total=float(batch)
        ),
        "predicting": lambda: predicting.forward(data.samples, rows, network.params, y, workspaces[1]),
    }


def time_in_turn(calls, rounds):
    """Return the seconds of each call in each round."""
    seconds = [[] for _ in calls]
    for _ in range(1 + rounds):  # the first round does not count
        for call, times in zip(calls, seconds):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [times[1:] for times in seconds]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 50])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    lanes = kernels.get_engine(np.float32).lanes
    print(f"float32, {kernels.get_isa()}: a block has {lanes} samples\n")
    print(f"| network | batch | | ms, 1 thread | ms, {arguments.threads} threads | ratio (quartiles) |")
    print("|---|---|---|---|---|---|")
    for name in NETWORKS:
        for batch in arguments.batches:
            one, several = (make_calls(name, batch, n) for n in (1, arguments.threads))
            for work in one:
                times = time_in_turn([one[work], several[work]], arguments.rounds)
                low, ratio, high = statistics.quantiles((a / b for a, b in zip(*times)), n=4)
                medians = " | ".join(f"{statistics.median(t) * 1e3:.2f}" for t in times)
                print(
                    f"| {name} | {batch} | {work} | {medians} | {ratio:.2f} ({low:.2f}, {high:.2f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
