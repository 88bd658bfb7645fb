"""What the training benchmarks share: loops over seeds, the weights of the best epoch, tables."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from skconvnet import ConvNetClassifier


@dataclass
class Task:
    """A network with its settings, and images split in three: to train, to select an epoch, to test."""

    layers: list
    params: dict
    n_epochs: int
    train: tuple
    valid: tuple
    test: tuple


def train(seed, task):
    """Train and print a line per epoch; return the classifier, and what the best epoch has."""
    params = {**task.params, "test_time_augmentation": None}  # only for the test images
    clf = ConvNetClassifier(task.layers, random_state=seed, dtype="float32", **params)
    classes, best = np.unique(task.train[1]), {"score": 0}
    print("epoch  train_loss  train_score  valid_score  seconds")
    for epoch in range(1, task.n_epochs + 1):
        clf.partial_fit(*task.train, classes=classes)
        record, score = clf.history_[-1], clf.score(*task.valid)
        if score > best["score"]:
            best = {"epoch": epoch, "score": score, "weights": dict(clf.network_.weights)}
        print(
            f"{epoch:5d}  {record['train_loss']:10.4f}  {record['train_score']:11.4f}  {score:11.4f}  "
            f"{record['duration']:7.2f}",
            flush=True,
        )
    return clf, best


def measure(name, task, seeds):
    """Train with each seed; return a Markdown table."""
    rows, kept, last = [], [], []
    for seed in seeds:
        print(f"{name}, seed {seed}")
        clf, best = train(seed, task)
        clf.set_params(test_time_augmentation=task.params.get("test_time_augmentation"))
        last.append(clf.score(*task.test))
        clf.network_.set_weights(best["weights"])
        start = time.perf_counter()
        kept.append(clf.score(*task.test))
        predicted = len(task.test[1]) / (time.perf_counter() - start)
        seconds = sum(record["duration"] for record in clf.history_)
        trained = len(task.train[1]) * task.n_epochs / seconds
        print(f"test accuracy {kept[-1]:.4f} (epoch {best['epoch']}), {last[-1]:.4f} (last epoch)\n")
        rows.append(
            f"| {seed} | {best['score']:.4f} | {best['epoch']} | {kept[-1]:.4f} | {last[-1]:.4f} | "
            f"{seconds:.1f} s | {trained:,.0f} | {predicted:,.0f} |"
        )
    return "\n".join(
        [
            f"| {name}, seed | best validation | in epoch | test, that epoch | test, last epoch | "
            f"{task.n_epochs} epochs of training | trained, samples/s | predicted, samples/s |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            f"| median | | | **{statistics.median(kept):.4f}** | **{statistics.median(last):.4f}** | | | |",
        ]
    )


def measure_last(name, task, seeds):
    """Train with each seed, and measure the last epoch, also over variants; return a Markdown table."""
    variants = task.params.get("test_time_augmentation")
    rows, finals = [], []
    for seed in seeds:
        print(f"{name}, all training images, seed {seed}")
        clf, _ = train(seed, task)
        score = clf.score(*task.test)
        final = clf.set_params(test_time_augmentation=variants).score(*task.test) if variants else score
        seconds = sum(record["duration"] for record in clf.history_)
        print(f"test accuracy {score:.4f}, with variants {final:.4f}\n", flush=True)
        rows.append(f"| {seed} | {score:.4f} | {final:.4f} | {seconds:.1f} s |")
        finals.append(final)
    return "\n".join(
        [
            f"| {name}, all training images, seed | test, last epoch | with variants | "
            f"{task.n_epochs} epochs of training |",
            "|---|---|---|---|",
            *rows,
            f"| median | | **{statistics.median(finals):.4f}** | |",
        ]
    )


def report(tables, output):
    """Print the tables, and write them to `output`, unless it is None."""
    text = "\n\n".join(tables) + "\n"
    print(text, end="")
    if output:
        output.write_text(text)
