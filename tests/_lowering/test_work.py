"""How evenly threads share the work of a training step, as the plan estimates it."""

import re
from pathlib import Path

import pytest

from skconvnet import architectures, kernels
from skconvnet._lowering.work import BARRIER_WORK, Work, count_busiest, estimate_balance
from skconvnet._network import Network
from skconvnet.layers import BatchNorm, Conv2D, GlobalAvgPool2D, MaxPool2D, ReLU

SHOWN = {
    name: (getattr(architectures, name)(), architectures.INPUT_SHAPES[name]) for name in ("resnet", "vgg")
}
SHOWN["annt_cifar10"] = architectures.annt_cifar10(), (3, 32, 32)
SHOWN["224x224"] = (
    [Conv2D(32, 7, stride=2, padding="same", bias=False), BatchNorm(), ReLU()]
    + [
        layer
        for n in (64, 128, 256)
        for layer in (MaxPool2D(), Conv2D(n, 3, padding="same", bias=False), BatchNorm(), ReLU())
    ]
    + [GlobalAvgPool2D()],
    (3, 224, 224),
)

# Not reached, from this number of threads on: with 16 lanes these batches are one block or two, and each thread
# transforms all channels of small images for itself.
BELOW = {("resnet", 16): 7, ("resnet", 32): 14, ("annt_cifar10", 16): 11}


def test_work_of_some_units():
    work = Work(2.0, 12, group=4, setup=10.0)
    assert work.count(0, 4) == 8 + 10
    assert work.count(3, 5) == 4 + 20
    assert work.count(5, 5) == 0
    assert work.total == 24 + 30
    assert Work(3.0, 5).total == 15


def test_the_busiest_thread():
    assert count_busiest(Work(1.0, 8), 1, 4) == 2
    assert count_busiest(Work(1.0, 9), 1, 4) == 3
    assert count_busiest(Work(1.0, 8, group=8, setup=5.0), 1, 4) == 2 + 5
    assert count_busiest(Work(1.0, 12), 2, 3) == 8  # two shards of 12 units, 24 / 3 for each thread
    assert count_busiest(Work(1.0, 1), 1, 4) == 1


def test_balance():
    tasks = [[Work(1e6, 8)], [Work(1e6, 2), Work(1e6, 2)]]
    assert estimate_balance(tasks, 0, (4, 0, 1), 4) == 1
    assert estimate_balance(tasks, 0, (3, 0, 1), 4) == 0.75  # a thread has nothing to do
    shared = 12e6 / 4 / (2e6 + 1e6 + 1e6 + 2 * BARRIER_WORK)
    assert estimate_balance(tasks, 0, (0, 1, 1), 4) == pytest.approx(shared)
    assert estimate_balance(tasks, 2, (4, 0, 1), 4) == pytest.approx(12e6 / (12e6 + 2 * BARRIER_WORK))


def test_a_barrier_costs_what_the_engine_counts():
    source = (Path(kernels.__file__).parent / "region.pxd").read_text()
    assert int(re.search(r"BARRIER_WORK = (\d+)", source)[1]) == BARRIER_WORK


@pytest.mark.parametrize("batch", [16, 32, 50, 128])
@pytest.mark.parametrize("name", SHOWN)
def test_threads_share_the_work_evenly(name, batch):
    network = Network(*SHOWN[name], 10)
    balances = {n_threads: network.estimate_balance(batch, n_threads) for n_threads in range(2, 17)}
    limit = BELOW.get((name, batch), 17)
    assert all(0.8 < balance <= 1 for n_threads, balance in balances.items() if n_threads < limit), balances
    assert all(0.5 < balance <= 1 for balance in balances.values()), balances
