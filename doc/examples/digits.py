"""Classify handwritten digits: search an architecture, train it, and draw what it learnt.

    python digits.py [--picture digits.png]

scikit-learn's 1,797 digits of 8x8 pixels are rows of 64 values, so the classifier gets their shape. A grid
search in a pipeline selects one of three architectures on three quarters of the digits; the last quarter only
measures the accuracy of the selected one.
"""

import argparse
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from skconvnet import ConvNetClassifier
from skconvnet.layers import Conv2D, Dense, Flatten, MaxPool2D

ARCHITECTURES = {
    "dense": [Dense(100, activation="relu")],
    "one convolution": [
        Conv2D(32, padding="same", activation="relu", name="stem"),
        MaxPool2D(),
    ],
    "two convolutions": [
        Conv2D(32, padding="same", activation="relu", name="stem"),
        MaxPool2D(),
        Conv2D(64, padding="same", activation="relu"),
        MaxPool2D(),
        Flatten(),
        Dense(64, activation="relu"),
    ],
}


def split(X, y, seed):
    """Hold out a quarter of the images of each digit."""
    return train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)


def name_of(layers):
    """Return the name of one of the architectures."""
    return next(name for name, candidate in ARCHITECTURES.items() if candidate == layers)


def score_epochs(model, X_train, X_test, y_train, y_test):
    """Train once more, an epoch at a time; return the held-out accuracy after each epoch."""
    scaler = clone(model["scale"]).fit(X_train)
    network, accuracies = clone(model["convnet"]).set_params(verbose=0), []
    for _ in range(network.max_iter):
        network.partial_fit(scaler.transform(X_train), y_train, classes=np.unique(y_train))
        accuracies.append(network.score(scaler.transform(X_test), y_test))
    return accuracies


def draw(model, held_out, path):
    """Save the learning curves and the filters of the first layer as one picture."""
    history = model["convnet"].history_
    epochs = [record["epoch"] for record in history]
    figure = plt.figure(figsize=(11, 4.2), layout="constrained")
    curves, filters = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.2, 1]).flat

    losses, accuracies = curves.subplots(2, 1, sharex=True)
    losses.semilogy(epochs, [record["train_loss"] for record in history], label="training")
    losses.set_ylabel("cross-entropy")
    accuracies.plot(epochs, [record["train_score"] for record in history], label="training")
    accuracies.plot(epochs, held_out, label="held out")
    accuracies.set(xlabel="epoch", ylabel="accuracy", ylim=(0.8, 1.005))
    for axes in (losses, accuracies):
        axes.grid(alpha=0.3)
        axes.legend()
    curves.suptitle("Learning curves")

    weight = model["convnet"].network_.weights["stem.weight"][:, 0]
    largest = np.abs(weight).max()
    grid = filters.subplots(4, 8)
    for axes, kernel in zip(grid.flat, weight):
        image = axes.imshow(kernel, cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set(xticks=[], yticks=[])
    filters.colorbar(image, ax=grid, location="bottom", shrink=0.8, label="weight")
    filters.suptitle("Filters of the first layer")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", default="digits.png", help="where to save the picture")
    arguments = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = split(X, y, seed=0)
    pipeline = Pipeline(
        [
            ("scale", MinMaxScaler()),
            (
                "convnet",
                ConvNetClassifier(input_shape=(8, 8), learning_rate=2e-3, max_iter=40, random_state=0),
            ),
        ]
    )

    start = time.perf_counter()
    search = GridSearchCV(pipeline, {"convnet__layers": list(ARCHITECTURES.values())}, cv=5)
    search.fit(X_train, y_train)
    print(f"Cross-validated accuracy ({time.perf_counter() - start:.1f} s for 16 fits):")
    results = search.cv_results_
    for layers, score in zip(results["param_convnet__layers"], results["mean_test_score"]):
        print(f"  {name_of(layers):<17} {score:.4f}")

    model = clone(search.best_estimator_).set_params(convnet__verbose=1)
    print(f"\nTraining: {name_of(model['convnet'].layers)}")
    model.fit(X_train, y_train)
    print()
    model["convnet"].network_.summary()

    print("\nConfusion matrix of the held-out quarter (rows: true digit, columns: predicted):")
    print(confusion_matrix(y_test, model.predict(X_test)))
    accuracies = [model.score(X_test, y_test)]
    for seed in range(1, 5):
        X_a, X_b, y_a, y_b = split(X, y, seed)
        other = clone(model).set_params(convnet__random_state=seed, convnet__verbose=0)
        accuracies.append(other.fit(X_a, y_a).score(X_b, y_b))
    print("\nHeld-out accuracy, five seeds of split and weights:", *(f"{a:.4f}" for a in accuracies))
    print(f"Held-out accuracy, median: {np.median(accuracies):.4f}")

    draw(model, score_epochs(model, X_train, X_test, y_train, y_test), arguments.picture)
    print(f"Saved learning curves and filters to {arguments.picture}")


if __name__ == "__main__":
    main()
