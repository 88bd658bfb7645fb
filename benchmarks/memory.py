"""Measure the memory that predicting and fitting add to a process, and the time that the import takes.

    python benchmarks/memory.py [--work WORK ...] [--rounds 7] [--output table.md]

Every figure comes from a new process. The memory is the peak resident set (Linux). What a call adds is the
difference to a process that does everything except the call, minus the size of the call's result. The time of
the import is that of skconvnet after scikit-learn, the median over rounds. Images are random.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

# This process imports little, since a child inherits the peak of its parent.


def prepare_predict():
    """60,000 images of float32 and 28x28, and their prediction by Numpy-CNN's network."""
    import numpy as np

    from skconvnet import ConvNetClassifier, architectures

    rng = np.random.default_rng(0)
    clf = ConvNetClassifier(architectures.numpy_cnn(), max_iter=1, random_state=0)
    # the fit comes before X, so that its peak does not hide that of the prediction
    clf.fit(rng.random((10, 28, 28), np.float32), np.arange(10))
    X = rng.random((60_000, 28, 28), np.float32)
    return X, lambda: clf.predict_proba(X)


def prepare_fit():
    """50,000 images of uint8 and 32x32x3, and an epoch of ANNT's CIFAR-10 network over them."""
    import numpy as np

    from skconvnet import ConvNetClassifier, architectures

    X = np.random.default_rng(0).integers(0, 256, (50_000, 32, 32, 3), np.uint8)
    y = np.arange(len(X)) % 10
    clf = ConvNetClassifier(architectures.annt_cifar10(), max_iter=1, random_state=0)
    return X, lambda: clf.fit(X, y)


def make_large_images():
    """Return 64 images of 224x224x3, channels first, and labels."""
    import numpy as np

    return np.random.default_rng(0).random((64, 3, 224, 224), np.float32), np.arange(64) % 10


def prepare_fit_large():
    """64 images of float32 and 224x224x3, and an epoch of the large network (networks.py), 2 threads."""
    from networks import make_network

    from skconvnet import ConvNetClassifier

    X, y = make_large_images()
    layers, _ = make_network("large")
    options = {"data_format": "channels_first", "batch_size": 16, "max_iter": 1, "n_threads": 2}
    return X, lambda: ConvNetClassifier(layers, random_state=0, **options).fit(X, y)


def prepare_torch_large():
    """The same in PyTorch, with fused Adam."""
    import torch
    from networks import make_network, make_torch_module

    torch.set_num_threads(2)
    X, y = make_large_images()
    module = make_torch_module(make_network("large")[1])
    optimizer = torch.optim.Adam(module.parameters(), fused=True)

    def fit():
        for k in range(0, len(X), 16):
            optimizer.zero_grad()
            outputs = module(torch.from_numpy(X[k : k + 16]))
            torch.nn.functional.cross_entropy(outputs, torch.from_numpy(y[k : k + 16])).backward()
            optimizer.step()

    return X, fit


WORK = {  # and the most MB that it may add
    "predict": (prepare_predict, 50),
    "fit": (prepare_fit, 300),
    "fit large": (prepare_fit_large, 300),
    "PyTorch large": (prepare_torch_large, None),
}
IMPORT_LIMIT = 50  # ms


def run_work(name, call):
    """Run the work, with or without the call; return the bytes of this process's peak, X and the result."""
    X, work = WORK[name][0]()
    result = work() if call else None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return peak, X.nbytes, getattr(result, "nbytes", 0)


def run_import():
    """Return the seconds of scikit-learn's import in this process, and of skconvnet's after it."""
    start = time.perf_counter()
    import sklearn  # noqa: F401 -- timed, not used

    middle = time.perf_counter()
    import skconvnet  # noqa: F401 -- timed, not used

    return middle - start, time.perf_counter() - middle


def call_worker(*arguments):
    """Run a worker in a process of its own."""
    command = [sys.executable, __file__, "--worker", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", nargs="*", choices=WORK, default=list(WORK), metavar="WORK")
    parser.add_argument("--rounds", type=int, default=7, help="imports (default: 7)")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, *call = arguments.worker
        print(json.dumps(run_import() if name == "import" else run_work(name, bool(call))))
        return

    lines = [
        "| work | X | peak | peak minus X | peak without the call | added | limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in arguments.work:
        prepare, limit = WORK[name]
        bare, *_ = call_worker(name)
        peak, X, result = call_worker(name, "call")
        cells = (f"{size / 1e6:.0f} MB" for size in (X, peak, peak - X, bare, peak - bare - result))
        limit_cell = f"< {limit} MB" if limit else ""
        lines.append(f"| {prepare.__doc__[:-1]} | {' | '.join(cells)} | {limit_cell} |")
    theirs, ours = zip(*(call_worker("import") for _ in range(arguments.rounds)))
    lines += [
        "",
        "| import sklearn | import skconvnet after it | limit |",
        "|---|---|---|",
        f"| {statistics.median(theirs) * 1e3:.0f} ms | {statistics.median(ours) * 1e3:.0f} ms "
        f"| < {IMPORT_LIMIT} ms |",
    ]
    table = "\n".join(lines)
    print(table)
    if arguments.output:
        arguments.output.write_text(table + "\n")


if __name__ == "__main__":
    main()
