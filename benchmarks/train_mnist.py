"""Train the ANNT article's MNIST network and measure how well it reads.

    python benchmarks/train_mnist.py --data FOLDER [--seeds 0 1 2] [--output doc/mnist.md]

FOLDER holds `mnist.npz` as Keras distributes it: uint8 arrays x_train, y_train, x_test, y_test. The first
50,000 training images train, the other 10,000 pick the epoch whose weights are kept, and the 10,000 test
images tell the accuracy: of the kept weights, and of those after the last epoch. Pixels are scaled to
[-1, 1] and images padded with -1 to 32x32, as in the article; batches of 50, Adam at 0.002, 20 epochs.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from skconvnet import ConvNetClassifier
from skconvnet.architectures import annt_mnist

EPOCHS = 20


def load(folder):
    """Read the images and prepare them as the article does."""
    with np.load(folder / "mnist.npz") as file:
        arrays = [file[name] for name in ("x_train", "y_train", "x_test", "y_test")]

    def prepare(images):
        scaled = images.astype(np.float32) / 127.5 - 1
        return np.pad(scaled, ((0, 0), (2, 2), (2, 2)), constant_values=-1)

    return prepare(arrays[0]), arrays[1], prepare(arrays[2]), arrays[3]


def train(seed, X, y, X_valid, y_valid):
    """Train with the article's settings, a line an epoch; give classifier and best epoch's weights."""
    clf = ConvNetClassifier(
        annt_mnist(), batch_size=50, learning_rate=0.002, random_state=seed, dtype="float32"
    )
    best = {"score": 0}
    print("epoch  train_loss  train_score  valid_score  seconds")
    for epoch in range(1, EPOCHS + 1):
        clf.partial_fit(X, y, classes=np.arange(10))
        record, score = clf.history_[-1], clf.score(X_valid, y_valid)
        if score > best["score"]:
            best = {"epoch": epoch, "score": score, "weights": dict(clf.network_.weights)}
        print(
            f"{epoch:5d}  {record['train_loss']:10.4f}  {record['train_score']:11.4f}  {score:11.4f}  "
            f"{record['duration']:7.2f}",
            flush=True,
        )
    return clf, best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds mnist.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()

    X, y, X_test, y_test = load(arguments.data)
    rows, kept, last = [], [], []
    for seed in arguments.seeds:
        print(f"seed {seed}")
        clf, best = train(seed, X[:50000], y[:50000], X[50000:], y[50000:])
        last.append(clf.score(X_test, y_test))
        clf.network_.set_weights(best["weights"])
        start = time.perf_counter()
        kept.append(clf.score(X_test, y_test))
        predicted = len(X_test) / (time.perf_counter() - start)
        seconds = sum(record["duration"] for record in clf.history_)
        print(f"test accuracy {kept[-1]:.4f} (epoch {best['epoch']}), {last[-1]:.4f} (last epoch)\n")
        rows.append(
            f"| {seed} | {best['score']:.4f} | {best['epoch']} | {kept[-1]:.4f} | {last[-1]:.4f} | "
            f"{seconds:.1f} s | {50000 * EPOCHS / seconds:,.0f} | {predicted:,.0f} |"
        )
    table = "\n".join(
        [
            "| seed | best validation | in epoch | test, that epoch | test, last epoch | "
            "20 epochs of training | trained, samples/s | predicted, samples/s |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            f"| median | | | **{statistics.median(kept):.4f}** | {statistics.median(last):.4f} | | | |",
        ]
    )
    print(table)
    if arguments.output:
        arguments.output.write_text(table + "\n")


if __name__ == "__main__":
    main()
