"""Compare with PyTorch, skorch and scikit-learn: rates, ratios, and the fraction of the FMA peak.

    python benchmarks/compare.py [--rounds 5] [--threads 2] [--rows ROW ...] [--output table.md]

Every contender runs in a process of its own, in turn, for several rounds. The figures are medians over
rounds; the ratio is that to the fastest peer of a row. PyTorch runs in eager mode, contiguous and channels
last, with fused Adam, on modules made from the same lists of layers. It predicts in batches of 1,000 (500 for
VGG); separate rows have batches of 50, which suit the caches better. On the networks that networks.py makes
itself, and on ResNet-20, it predicts in batches of 64. In training it gets its mini-batches as slices of a
tensor, at no cost; skconvnet's time is that of a whole epoch of `fit`, including shuffling, gathering and the
running score. A peer that is not installed is skipped, and the table says so. The peak is measured in the
same run by a loop that works in registers only (it needs a C compiler). The fraction of the peak counts a
network's arithmetic as plain sums, including the zeros of the padding: work that is left out, or reduced by
Winograd's algorithm, counts in full.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from networks import make_network, make_torch_module

HERE = Path(__file__).resolve().parent
SECONDS = 0.4  # the least time that a contender repeats its calls for

# A contender's name starts with its library; "threads" replaces --threads.
TORCH = {"PyTorch": {}, "PyTorch channels last": {"channels_last": True}}
SMALL_BATCHES = {f"{name}, batches of 50": options for name, options in TORCH.items()}
ONE_THREAD = {f"{name}, one thread": {**options, "threads": 1} for name, options in TORCH.items()}
SKORCH = {"skorch": {}, "skorch, one thread": {"threads": 1}}
SKLEARN = {"scikit-learn": {}, "scikit-learn, one thread": {"threads": 1}}
CONTENDERS = {"skconvnet": {}, **TORCH, **SMALL_BATCHES, **ONE_THREAD, **SKORCH, **SKLEARN}

# The packages that contenders need: the start of their names, the module to look for, how to install it.
REQUIREMENTS = [("PyTorch", "torch", "torch==2.13.0"), ("skorch", "skorch", "torch==2.13.0 skorch")]


class Row(NamedTuple):
    """A row of the table."""

    what: str
    network: str
    work: str  # train: an epoch; fit: all of them; predict; forward: predict without the estimator
    peers: dict
    at_least: float | None = None  # the ratio to reach
    aim: float | None = None
    samples: int = 10000
    batch: int = 50  # of training; of PyTorch's predictions
    epochs: int = 8  # of a fit


LAYOUTS_AND_THREADS = {**TORCH, **ONE_THREAD}
ROWS = {
    "annt_mnist train": Row(
        "ANNT's MNIST network (all maps connected), batch 50, training", "annt_mnist", "train", TORCH, 5, 7
    ),
    "annt_mnist predict": Row("the same, predicting", "annt_mnist", "predict", TORCH, 5.8, 7, batch=1000),
    "annt_mnist predict small": Row(
        "the same, PyTorch in batches of 50", "annt_mnist", "predict", SMALL_BATCHES
    ),
    "annt_cifar10 train": Row(
        "ANNT's CIFAR-10 network, batch 50, training", "annt_cifar10", "train", TORCH, 1.5, 1.9, 1000
    ),
    "annt_cifar10 predict": Row(
        "the same, predicting", "annt_cifar10", "predict", TORCH, 2.2, 2.6, 2000, 1000
    ),
    "annt_cifar10 predict small": Row(
        "the same, PyTorch in batches of 50", "annt_cifar10", "predict", SMALL_BATCHES, samples=2000
    ),
    "numpy_cnn train": Row(
        "Numpy-CNN's network, batch 32, training", "numpy_cnn", "train", TORCH, 4.2, 5.5, 3200, 32
    ),
    "kajda_mnist train": Row(
        "Kajda's network, batch 32, training", "kajda_mnist", "train", LAYOUTS_AND_THREADS, 15, 25, batch=32
    ),
    "vgg train": Row("VGG, 32x32x3, batch 128, training", "vgg", "train", TORCH, 1.9, 2.4, 128, 128, 3),
    "vgg predict": Row("the same, predicting", "vgg", "predict", TORCH, 2.1, 2.6, 500, 500),
    "vgg predict small": Row(
        "the same, PyTorch in batches of 50", "vgg", "predict", SMALL_BATCHES, samples=500
    ),
    "resnet train": Row("ResNet-20, batch 128, training", "resnet", "train", TORCH, 1.9, 2.5, 512, 128, 3),
    "resnet predict": Row("the same, predicting", "resnet", "predict", TORCH, 2.2, 2.8, 512, 64),
    "fcn train": Row("1-D FCN, 150 values, batch 16, training", "fcn", "train", TORCH, 1.5, 2.2, 128, 16, 3),
    "fcn predict": Row("the same, predicting", "fcn", "predict", TORCH, 1.6, 2.2, 512, 64),
    "large train": Row("224x224x3, batch 16, training", "large", "train", TORCH, 1.2, 1.8, 32, 16, 3),
    "large predict": Row("the same, predicting", "large", "predict", TORCH, 1.6, 2.2, 64, 64),
    "wide train": Row(
        "wide, up to 256 channels, batch 500, training", "wide", "train", TORCH, 1.25, 1.6, 500, 500, 3
    ),
    "wide predict": Row("the same, predicting", "wide", "predict", TORCH, 1.5, 2, 500, 64),
    "separable train": Row(
        "depthwise-separable 32-64-128-256, batch 64, training",
        "separable",
        "train",
        TORCH,
        2.7,
        3.5,
        512,
        64,
        3,
    ),
    "separable predict": Row("the same, predicting", "separable", "predict", TORCH, 2.9, 4, 1024, 64),
    "stages train": Row(
        "four 3x3 stages on 128x128, batch 32, training", "stages", "train", TORCH, 2.5, 3.2, 64, 32, 3
    ),
    "stages predict": Row("the same, predicting", "stages", "predict", TORCH, 2.8, 3.5, 128, 64),
    "dense fit": Row(
        "dense 784-128-10, batch 50, a `fit` of 5 epochs", "dense", "fit", SKLEARN, 3, 5, epochs=5
    ),
    "annt_mnist fit": Row(
        "ANNT's MNIST network, batch 50, a `fit` of 2 epochs", "annt_mnist", "fit", SKORCH, 6, 9, epochs=2
    ),
    "annt_mnist predict one": Row(
        "the same, one image, `predict_proba`", "annt_mnist", "predict", SKORCH, 2, 4, 1
    ),
    "annt_mnist forward one": Row(
        "the same, one image, the bare network", "annt_mnist", "forward", LAYOUTS_AND_THREADS, 1.5, 3, 1
    ),
    "annt_cifar10 predict one": Row(
        "ANNT's CIFAR-10 network, one image, `predict_proba`", "annt_cifar10", "predict", SKORCH, 1.5, 2, 1
    ),
    "annt_cifar10 forward one": Row(
        "the same, the bare network", "annt_cifar10", "forward", LAYOUTS_AND_THREADS, 1, 1.5, 1
    ),
}


def count_flops(row):
    """Return the operations per sample: two per multiply-add of plain sums."""
    network = make_network(row.network)[1]
    counts = network.count_operations()
    n_forward = len(counts) // 2  # the loss included, which counts as none
    return int(sum(counts) if row.work in ("train", "fit") else sum(counts[:n_forward]))


def make_data(network, samples):
    """Return images and labels that can be learned: a pixel of each class is bright."""
    images = np.random.default_rng(0).random((samples, *network.input_shape), dtype=np.float32)
    labels = np.arange(samples) % 10
    images.reshape(samples, -1)[np.arange(samples), 40 + 3 * labels] = 4
    return images, labels


def time_skconvnet(row, threads):
    """Return the seconds that skconvnet takes for a row's work."""
    from skconvnet import ConvNetClassifier

    layers, network = make_network(row.network)
    X, y = make_data(network, row.samples)
    clf = ConvNetClassifier(
        layers,
        data_format="channels_first",
        batch_size=row.batch,
        max_iter=row.epochs,
        n_threads=threads,
        random_state=0,
    )
    if row.work == "fit":
        return time_calls(lambda: clf.fit(X, y))
    if row.work == "train":
        return statistics.median(record["duration"] for record in clf.fit(X, y).history_[1:])
    clf.fit(*make_data(network, 50))
    if row.work == "predict":
        return time_calls(lambda: clf.predict_proba(X))
    return time_calls(lambda: clf.network_.forward(X, threads, "softmax"))


def time_torch(row, threads, channels_last=False):
    """Return the seconds that PyTorch takes for a row's work."""
    import torch

    torch.set_num_threads(threads)
    network = make_network(row.network)[1]
    module = make_torch_module(network)
    X, y = (torch.from_numpy(a) for a in make_data(network, row.samples))
    if channels_last:
        X, module = (t.to(memory_format=torch.channels_last) for t in (X, module))
    batches = [slice(k, k + row.batch) for k in range(0, len(X), row.batch)]
    if row.work == "train":
        optimizer = torch.optim.Adam(module.parameters(), fused=True)

        def work():
            for batch in batches:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(X[batch]), y[batch]).backward()
                optimizer.step()

    else:
        module.eval()

        @torch.inference_mode()
        def work():
            for batch in batches:
                torch.softmax(module(X[batch]), 1)

    return time_calls(work)


def time_skorch(row, threads):
    """Return the seconds that skorch takes for a row's work."""
    import torch
    from skorch import NeuralNetClassifier

    torch.set_num_threads(threads)
    network = make_network(row.network)[1]
    X, y = make_data(network, row.samples)
    net = NeuralNetClassifier(
        make_torch_module(network),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        batch_size=row.batch,
        max_epochs=row.epochs,
        train_split=None,
        verbose=0,
    )
    if row.work == "fit":
        return time_calls(lambda: net.fit(X, y))
    net.initialize()
    return time_calls(lambda: net.predict_proba(X))


def time_sklearn(row, threads):
    """Return the seconds that scikit-learn takes to fit a dense network with one hidden layer."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    layers, network = make_network(row.network)
    mlp = MLPClassifier(
        tuple(layer.units for layer in layers),
        batch_size=row.batch,
        max_iter=row.epochs,
        tol=0,
        n_iter_no_change=sys.maxsize,
    )
    X, y = make_data(network, row.samples)
    return time_calls(lambda: mlp.fit(X, y))


def time_calls(work):
    """Return the median seconds of a call; the first call does not count."""
    work()
    seconds = []
    while sum(seconds) < SECONDS:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


TIMERS = {
    "skconvnet": time_skconvnet,
    "PyTorch": time_torch,
    "skorch": time_skorch,
    "scikit-learn": time_sklearn,
}


def run_contender(name, key, threads):
    """Return the samples per second of one contender, in this process."""
    row = ROWS[key]
    options = {"threads": threads, **CONTENDERS[name]}
    seconds = TIMERS[name.replace(",", " ").split()[0]](row, **options)
    return row.samples * (row.epochs if row.work == "fit" else 1) / seconds


def call_contender(name, key, threads):
    """Run one contender in a new process, which is not forked, since PyTorch is slower in a forked one."""
    command = [sys.executable, __file__, "--threads", str(threads), "--worker", name, key]
    environment = {**os.environ, "OMP_NUM_THREADS": str(CONTENDERS[name].get("threads", threads))}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(output.stdout)


def measure_peak(threads):
    """Return the GFLOP/s of a loop of multiply-adds in registers, or None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fma_peak"
        flags = ["-O3", "-march=native", "-fopenmp"]
        subprocess.run([compiler, *flags, HERE / "fma_peak.c", "-o", program], check=True)
        output = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True)
    return float(output.stdout)


def describe_machine():
    """Return the processor's name and the versions of the libraries."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    from skconvnet import __version__, kernels

    libraries = {"NumPy": "numpy", "scikit-learn": "scikit-learn", "PyTorch": "torch", "skorch": "skorch"}
    return "; ".join(
        [
            f"{[*names, platform.processor() or platform.machine()][0]}, {os.cpu_count()} cores",
            f"Python {platform.python_version()}",
            f"skconvnet {__version__} ({kernels.get_isa()})",
            *(
                f"{library} {version(name)}"
                for library, name in libraries.items()
                if find_spec(name.replace("scikit-learn", "sklearn"))
            ),
        ]
    )


def describe_row(row, rates, peak):
    """Return a row's cells, from the median samples per second of every contender."""
    peers = dict(rates)
    ours = peers.pop("skconvnet")
    best = max(peers, key=peers.get, default=None)

    def describe_rate(rate):
        return f"{1e6 / rate:,.1f} us" if row.samples == 1 else f"{rate:,.0f} / s"

    has_fraction = peak and row.samples > 1
    return [
        row.what,
        describe_rate(ours),
        f"{describe_rate(peers[best])} ({best})" if best else "",
        f"{ours / peers[best]:.2f} x" if best else "",
        *(f"{bar:g} x" if bar else "" for bar in (row.at_least, row.aim)),
        f"{ours * count_flops(row) / peak / 1e9:.0%}" if has_fraction else "",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="; ".join(ROWS)
    )
    parser.add_argument("--output", type=Path, help="also write the table, and a .json beside it")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(run_contender(*arguments.worker, arguments.threads))
        return

    missing = {name: remedy for name, module, remedy in REQUIREMENTS if find_spec(module) is None}
    notes = [f"{name} is not installed ({remedy}): skipped." for name, remedy in missing.items()]
    rates = {
        key: {name: [] for name in ("skconvnet", *ROWS[key].peers) if not name.startswith(tuple(missing))}
        for key in arguments.rows
    }
    peaks = []
    for k in range(arguments.rounds):
        peaks.append(measure_peak(arguments.threads))
        for key, contenders in rates.items():
            print(f"round {k + 1}: {key}", file=sys.stderr)
            for name, values in contenders.items():
                values.append(call_contender(name, key, arguments.threads))
    peak = None if None in peaks else statistics.median(peaks)
    if peak is None:
        notes.append("No C compiler: the peak was not measured.")

    cells = [
        ["work", "skconvnet", "best peer", "ratio", "at least", "aim", "fraction of the FMA peak"],
        ["---"] * 7,
    ]
    for key, contenders in rates.items():
        medians = {name: statistics.median(values) for name, values in contenders.items()}
        cells.append(describe_row(ROWS[key], medians, peak))
    machine = (
        f"{arguments.threads} threads, float32, medians of {arguments.rounds} rounds. {describe_machine()}."
    )
    if peak:
        machine += f" FMA peak: {peak:.0f} GFLOP/s."
    table = "\n".join([*(f"| {' | '.join(row)} |" for row in cells), "", machine, *notes])
    print(table)
    if arguments.output:
        arguments.output.write_text(table + "\n")
        results = {"machine": machine, "peak_gflops": peaks, "samples_per_second": rates}
        arguments.output.with_suffix(".json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
