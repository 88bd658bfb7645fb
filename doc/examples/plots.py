"""Draw every display of skconvnet.plotting, for a small network that classifies handwritten digits.

python plots.py [--folder pictures]
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skconvnet import ConvNetClassifier
from skconvnet.layers import BatchNorm, Conv2D, Dense, Dropout, MaxPool2D, ReLU, Residual
from skconvnet.plotting import (
    FeatureMapsDisplay,
    FiltersDisplay,
    LearningCurveDisplay,
    MistakesDisplay,
    NetworkDisplay,
    SaliencyDisplay,
)

LAYERS = [
    Conv2D(16, padding="same", activation="relu", name="stem"),
    Residual([Conv2D(16, padding="same", bias=False), BatchNorm()], name="block"),
    ReLU(),
    MaxPool2D(),
    Dense(64, activation="relu"),
    Dropout(0.3),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="pictures", type=Path, help="where to save the pictures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    digits = load_digits()
    X_train, X_test, y_train, y_test = train_test_split(
        digits.images / 16, digits.target, test_size=0.5, random_state=0
    )
    clf = ConvNetClassifier(LAYERS, max_iter=40, early_stopping=True, n_iter_no_change=5, random_state=0)
    clf.fit(X_train, y_train)
    print(f"Accuracy on {len(X_test)} held-out digits: {clf.score(X_test, y_test):.4f}")

    digit = X_test[0]
    displays = {
        "curves": LearningCurveDisplay.from_estimator(clf),
        "network": NetworkDisplay.from_estimator(clf),
        "filters": FiltersDisplay.from_estimator(clf),
        "maps": FeatureMapsDisplay.from_estimator(clf, digit, layer="block"),
        "gradient": SaliencyDisplay.from_estimator(clf, digit),
        "grad_cam": SaliencyDisplay.from_estimator(clf, digit, method="grad_cam"),
        "mistakes": MistakesDisplay.from_estimator(clf, X_test, y_test, n=12),
    }
    for name, display in displays.items():
        display.figure_.savefig(folder / f"{name}.png", dpi=110)
    print(f"Saved {', '.join(displays)} to {folder}")


if __name__ == "__main__":
    main()
