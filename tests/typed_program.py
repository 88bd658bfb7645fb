"""What mypy should know of a user's program, and what it should refuse; nothing runs it."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer, load
from skconvnet.layers import Conv2D, Dense, Function, Layer, MaxPool2D
from skconvnet.losses import Focal, Quantile
from skconvnet.optimizers import SGD
from skconvnet.plotting import FiltersDisplay, LearningCurveDisplay
from skconvnet.schedules import CosineDecay

Array = NDArray[Any]


def classify(X: Array, labels: list[str]) -> None:
    convolutions = [
        Conv2D(8, activation="relu", name="stem"),
        Conv2D(8),
    ]  # a list of one kind is one of layers
    clf = ConvNetClassifier(
        convolutions,
        optimizer=SGD(momentum=0.9),
        learning_rate=CosineDecay(0.01, decay_steps=100),
        class_weight={"cat": 1, "dog": 2.5},
        freeze=["stem", -1],
        random_state=np.random.RandomState(0),
    )
    weight = [1.0] * len(labels)
    assert_type(clf.fit(X, labels, weight, X_val=X, y_val=labels), ConvNetClassifier)
    assert_type(clf.partial_fit(X, labels, classes=["cat", "dog"]), ConvNetClassifier)
    assert_type(clf.set_params(max_iter=3), ConvNetClassifier)
    assert_type(clf.predict(X), Array)
    assert_type(clf.predict_proba(X), Array)
    assert_type(clf.predict_log_proba(X), Array)
    assert_type(clf.decision_function(X), Array)
    assert_type(clf.classes_, Array)
    assert_type(clf.network_.weights["stem.weight"], Array)
    assert_type(clf.history_, list[dict[str, Any]])
    assert_type(clf.validation_scores_, list[float] | None)
    for loss in ("cross_entropy", "squared_error"):
        ConvNetClassifier(clf.layers[:1], loss=loss)
    clf.save("classifier.safetensors")
    assert_type(load("classifier.safetensors"), Any)
    assert_type(ConvNetTransformer(clf, layer="stem").fit(X, labels).transform(X), Array)


class AbsoluteLoss:
    def value_and_gradient(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        error = outputs - targets
        return np.abs(error).mean(axis=1), np.sign(error) / error.shape[1]


def choose_losses() -> None:
    ConvNetRegressor([Dense(8), Function(np.sin, np.cos)], loss=AbsoluteLoss())
    ConvNetRegressor(loss=Quantile(0.9)).set_params(loss__level=0.1)
    ConvNetClassifier(loss=Focal(gamma=1.0)), ConvNetClassifier(loss=AbsoluteLoss())


def predict_numbers(X: Array, rows: list[list[float]], y: list[float]) -> None:
    layers: list[Layer | None] = [Conv2D(8), None, MaxPool2D((2, 3)), Dense(10)]
    assert_type(ConvNetRegressor(layers, init_from=ConvNetClassifier()).fit(X, y).predict(X), Array)
    ConvNetRegressor(input_shape=(8, 8)).fit(rows, y)


def draw(clf: ConvNetClassifier, axes: Any) -> None:
    assert_type(FiltersDisplay.from_estimator(clf, layer="stem", ax=axes[0]), FiltersDisplay)
    assert_type(LearningCurveDisplay.from_estimator(clf, ax=axes), LearningCurveDisplay)
    LearningCurveDisplay.from_estimator(clf, ax=[axes[0], axes[1]])


def misuse(X: Array) -> None:  # mypy would say so if one of these were no error
    ConvNetClassifier(max_itr=3)  # type: ignore[call-arg]
    ConvNetClassifier(Conv2D(8))  # type: ignore[arg-type]
    ConvNetClassifier([Conv2D])  # type: ignore[list-item]
    ConvNetClassifier(data_format="channel_last")  # type: ignore[arg-type]
    ConvNetClassifier(loss="huber")  # type: ignore[arg-type]
    ConvNetRegressor(loss=AbsoluteLoss)  # type: ignore[arg-type]
    ConvNetRegressor(loss=Conv2D(8))  # type: ignore[arg-type]
    Quantile("0.9")  # type: ignore[arg-type]
    Function(AbsoluteLoss(), 3)  # type: ignore[arg-type]
    ConvNetRegressor(loss="cross_entropy")  # type: ignore[arg-type]
    ConvNetRegressor().fit(X)  # type: ignore[call-arg]
    ConvNetRegressor().predict(None)  # type: ignore[arg-type]
    FiltersDisplay.from_estimator(X)  # type: ignore[arg-type]
