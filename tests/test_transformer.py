"""Features from hidden layers, in scikit-learn's pipelines and searches."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from skconvnet._base import BaseConvNet
from skconvnet._network import Network
from skconvnet.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, Output, ReLU, Residual

LAYERS = [
    Conv2D(4, padding="same", activation="relu", name="stem"),
    None,
    MaxPool2D(),
    Residual([Conv2D(4, padding="same"), BatchNorm()]),
    ReLU(),
    Dropout(0.2),
    Dense(12, activation="tanh", name="last"),
]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X.reshape(-1, 8, 8) / 16, y, test_size=0.5, random_state=0)


@pytest.fixture(scope="module")
def fitted(digits):
    X, _, y, _ = digits
    return ConvNetClassifier(LAYERS, learning_rate=0.01, max_iter=8, random_state=0).fit(X, y)


def test_features_are_the_outputs_of_the_first_layers(fitted, digits):
    """Compare with a network that has only the first layers, with the same weights."""
    images, weights = digits[1][:37], fitted.network_.weights
    for position, key in [(0, "stem"), (2, "2"), (3, "3"), (4, "4"), (5, "5"), (-1, "last")]:
        end = position % len(LAYERS) + 1
        short = Network(LAYERS[:end], (1, 8, 8), dtype=np.float64)
        short.set_weights({name: weights[name] for name in short.weights})
        expected = short.forward(images[:, None], 1)
        for layer in {position, key}:
            transformer = ConvNetTransformer(FrozenEstimator(fitted), layer).fit(images)
            assert transformer.layer_ == key
            np.testing.assert_array_equal(transformer.transform(images), expected)
    stem = fitted.network_.forward(images[:, None], 1, last="stem").reshape(37, 4, 8, 8)
    assert stem.min() == 0  # after its ReLU
    weight, bias = weights["stem.weight"], weights["stem.bias"]
    patches = np.lib.stride_tricks.sliding_window_view(
        np.pad(images, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2)
    )
    expected = np.einsum("nijuv,fuv->nfij", patches, weight[:, 0]) + bias[:, None, None]
    np.testing.assert_allclose(stem, np.maximum(expected, 0), atol=1e-12)
    outputs = ConvNetTransformer(FrozenEstimator(fitted), "output").fit(images).transform(images)
    np.testing.assert_array_equal(outputs, fitted.decision_function(images))


@pytest.mark.parametrize("layer", ["stem", "2", "3", "5", "last"])
def test_features_do_not_depend_on_batch_composition_or_threads(fitted, digits, layer, isa):
    X, network = digits[1][:41, None], fitted.network_
    expected = network.forward(X, 1, last=layer)
    for n_threads in (2, 3):
        np.testing.assert_array_equal(network.forward(X, n_threads, last=layer), expected)
    for k in (0, 17, 40):
        np.testing.assert_array_equal(network.forward(X[k : k + 1], 2, last=layer), expected[k : k + 1])


@pytest.mark.parametrize("layer", [Dropout(), Flatten()])
def test_layers_that_compute_nothing(digits, layer):
    images = digits[0][:20]
    clf = ConvNetClassifier([layer, Dense(3)], max_iter=1).fit(images, digits[2][:20])
    features = ConvNetTransformer(FrozenEstimator(clf), 0).fit(images).transform(images)
    np.testing.assert_array_equal(features, images.reshape(20, 64))


def test_features_serve_a_linear_model_better_than_pixels(digits):
    X, X_test, y, y_test = digits
    model = LogisticRegression(max_iter=2000, tol=1e-2)
    pixels = model.fit(X.reshape(-1, 64), y).score(X_test.reshape(-1, 64), y_test)
    layers = [Conv2D(16, padding="same", activation="relu"), MaxPool2D(), Dense(32, activation="relu")]
    clf = ConvNetClassifier(layers, learning_rate=0.005, max_iter=10, random_state=0)
    pipeline = make_pipeline(ConvNetTransformer(clf), model)
    assert pipeline.fit(X, y).score(X_test, y_test) > pixels + 0.01
    frozen = FrozenEstimator(pipeline[0].estimator_)
    prefit = make_pipeline(ConvNetTransformer(frozen), model).fit(X, y)
    np.testing.assert_array_equal(prefit.predict_proba(X_test), pipeline.predict_proba(X_test))


def test_search_over_layers(fitted, digits):
    X, _, y, _ = digits
    pipeline = make_pipeline(
        ConvNetTransformer(FrozenEstimator(fitted)), LogisticRegression(max_iter=2000, tol=1e-2)
    )
    search = GridSearchCV(pipeline, {"convnettransformer__layer": ["stem", -1]}, cv=2, error_score="raise")
    search.fit(X[:300], y[:300])
    assert search.best_estimator_[0].estimator_ is pipeline[0].estimator
    inner = ConvNetClassifier(LAYERS, max_iter=1, random_state=0)
    trained = make_pipeline(ConvNetTransformer(inner), LogisticRegression(max_iter=2000, tol=1e-2))
    search = GridSearchCV(
        trained,
        {"convnettransformer__estimator__layers__stem__filters": [2, 3], "convnettransformer__layer": [0]},
        cv=2,
        error_score="raise",
    )
    search.fit(X[:100], y[:100])
    assert search.best_estimator_[0].transform(X[:5]).shape[1] in (2 * 64, 3 * 64)


def test_clones_pickles_and_frames(fitted, digits):
    X = digits[1][:10].reshape(10, 64)
    transformer = ConvNetTransformer(FrozenEstimator(fitted), "last")
    with pytest.raises(NotFittedError):
        transformer.transform(X)
    expected = transformer.fit(X).transform(X)
    assert expected.dtype == np.float64
    for again in (pickle.loads(pickle.dumps(transformer)), clone(transformer).fit(X)):
        np.testing.assert_array_equal(again.transform(X), expected)
    frame = clone(transformer).set_output(transform="pandas").fit(X).transform(pd.DataFrame(X))
    assert list(frame.columns) == [f"convnettransformer{k}" for k in range(12)]


def test_weights_and_validation_samples_reach_training(digits):
    X, X_val, y, y_val = digits
    weight = np.ones(len(X))
    weight[50:] = 0
    make = ConvNetClassifier([Dense(4)], max_iter=2, random_state=0)
    inner = ConvNetTransformer(make).fit(X, y, weight, X_val=X_val, y_val=y_val).estimator_
    expected = clone(make).fit(X, y, weight, X_val=X_val, y_val=y_val)
    assert inner.validation_loss_curve_ == expected.validation_loss_curve_ and len(inner.history_) == 2


@pytest.mark.parametrize("layer", ["stm", 7, -8, 1, "0"])
@pytest.mark.parametrize("last", [[], [Output(bias=False)]])
def test_wrong_layers_raise_before_training(digits, layer, last, monkeypatch):
    monkeypatch.delattr(BaseConvNet, "_train")
    with pytest.raises(ValueError, match=r"layer: there is no layer .*stem.* from -7 to 6"):
        ConvNetTransformer(ConvNetClassifier(LAYERS + last), layer).fit(digits[0], digits[2])


def test_errors_suggest_the_layer_that_was_meant(digits):
    with pytest.raises(ValueError, match="Did you mean 'stem'"):
        ConvNetTransformer(ConvNetClassifier(LAYERS), "stm").fit(digits[0], digits[2])
    with pytest.raises(ValueError, match="'layer' parameter"):
        ConvNetTransformer(ConvNetClassifier(), 1.5).fit(digits[0], digits[2])


def test_wrong_estimators(digits):
    for wrong, message in [
        (LogisticRegression(), "must be a ConvNetClassifier or a ConvNetRegressor, .*got Logistic"),
        (FrozenEstimator(LogisticRegression()), "must be a ConvNetClassifier or a ConvNetRegressor"),
    ]:
        with pytest.raises(ValueError, match=message):
            ConvNetTransformer(wrong).fit(digits[0], digits[2])
    with pytest.raises(NotFittedError):
        ConvNetTransformer(FrozenEstimator(ConvNetClassifier())).fit(digits[0], digits[2])


def test_a_fitted_estimator_belongs_in_a_frozen_one(fitted, digits):
    """A user who expects that a fitted estimator is not trained again is told how to do that."""
    transformer, hint = ConvNetTransformer(fitted), r"ConvNetTransformer\(FrozenEstimator\(estimator\)\)"
    with pytest.raises(ValueError, match=f"requires y to be passed.*without training it again.*{hint}"):
        transformer.fit(digits[0])
    with pytest.raises(NotFittedError, match=f"ConvNetTransformer .*not fitted.*fitted estimator.*{hint}"):
        transformer.transform(digits[0])
    with pytest.warns(UserWarning, match=f"trains a clone of the fitted estimator.*{hint}"):
        transformer.fit(digits[0], digits[2])


@pytest.mark.parametrize("kind", [ConvNetClassifier, ConvNetRegressor])
def test_check_estimator(kind):
    transformer = ConvNetTransformer(kind([Dense(8, activation="relu")], max_iter=5, random_state=0))
    records = check_estimator(transformer, on_skip=None, on_fail=None)
    failed = [
        f"{r['check_name']}: {r['status']}: {r['exception']!r}" for r in records if r["status"] != "passed"
    ]
    assert not failed, "\n".join(failed)
    assert len(records) > 40, sklearn.__version__
