"""Train networks for signals on six sets of the UCR and UEA archives, and compare with published accuracies.

    pip install --no-deps aeon
    python benchmarks/train_ucr.py [--data FOLDER] [--networks fcn resnet1d] [--sets GunPoint ...]
                                   [--seeds 0 1 2 3 4] [--output FILE]

FOLDER holds a folder for each set with files SET_TRAIN.ts and SET_TEST.ts; by default it is that of the
package aeon, of which only these files are used. Every channel of every signal is standardized by itself, as
the archive does with its sets of one channel. Settings are the same for all sets: Adam in a one-cycle
schedule up to 0.003, batches of 16, 150 epochs but at least 1,500 steps, averaged weights. The test signals
measure the accuracy of the last epoch; the published ones are means of Fawaz et al., "Deep learning for time
series classification: a review" (2019).
"""

import argparse
import statistics
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from skconvnet import ConvNetClassifier, architectures
from skconvnet.schedules import OneCycle

BATCH_SIZE, LEAST_EPOCHS, LEAST_STEPS = 16, 150, 1500

# set: the published mean accuracy of each network, if there is one
PUBLISHED = {
    "GunPoint": {"fcn": 1.0, "resnet1d": 0.99},
    "ItalyPowerDemand": {"fcn": 0.96, "resnet1d": 0.96},
    "ArrowHead": {"fcn": 0.85, "resnet1d": 0.84},
    "OSULeaf": {"fcn": 0.98, "resnet1d": 0.98},
    "BasicMotions": {},
    "ACSF1": {"resnet1d": 0.92},
}
NETWORKS = {"fcn": architectures.fcn, "resnet1d": architectures.resnet1d}


def read_signals(path):
    """Read a .ts file of signals of one length; return X of shape (n, channels, length), and y."""
    _, _, data = path.read_text(encoding="utf-8").partition("@data\n")
    rows = [line.split(":") for line in data.splitlines() if line.strip()]
    X = [[channel.split(",") for channel in row[:-1]] for row in rows]
    return np.array(X, np.float32), np.array([row[-1] for row in rows])


def load(folder, name):
    """Return the standardized signals and the labels of a set, to train and to test."""
    parts = []
    for part in ("TRAIN", "TEST"):
        X, y = read_signals(folder / name / f"{name}_{part}.ts")
        deviation = X.std(axis=2, keepdims=True)
        parts += [(X - X.mean(axis=2, keepdims=True)) / np.where(deviation > 0, deviation, 1), y]
    return parts


def find_folder():
    """Return the folder of the sets in the package aeon, which is not imported."""
    spec = find_spec("aeon")
    if spec is None:
        raise SystemExit("The package aeon has the sets: pip install --no-deps aeon, or give --data.")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


def measure(network, data, seed):
    """Return the accuracy on the test signals, and the seconds of training."""
    X, y, X_test, y_test = data
    n_steps = -(-len(X) // BATCH_SIZE)
    n_epochs = max(LEAST_EPOCHS, -(-LEAST_STEPS // n_steps))
    clf = ConvNetClassifier(
        NETWORKS[network](),
        data_format="channels_first",
        batch_size=BATCH_SIZE,
        max_iter=n_epochs,
        learning_rate=OneCycle(0.003, n_epochs * n_steps),
        average="ema",
        random_state=seed,
    )
    start = time.perf_counter()
    clf.fit(X, y)
    seconds = time.perf_counter() - start
    return clf.score(X_test, y_test), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="default: the folder of the package aeon")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--sets", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    folder = arguments.data or find_folder()
    lines = [
        "| set | network | mean accuracy | published | lowest to highest | seconds of a fit |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for name in arguments.sets:
        data = load(folder, name)
        for network in arguments.networks:
            scores, seconds = zip(*(measure(network, data, seed) for seed in arguments.seeds), strict=True)
            published = PUBLISHED[name].get(network, "")
            lines.append(
                f"| {name} | {network} | {statistics.mean(scores):.3f} | {published} | "
                f"{min(scores):.3f} to {max(scores):.3f} | {statistics.median(seconds):.0f} |"
            )
            print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
