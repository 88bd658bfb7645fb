"""The regressor: losses, shapes of y, weights, partial_fit, and errors for wrong input."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from skconvnet import ConvNetRegressor
from skconvnet.layers import AvgPool2D, Conv2D, Dense, MaxPool2D, Output

LAYERS = [Conv2D(4, padding="same", activation="relu", name="stem"), MaxPool2D()]
LOSSES = ["squared_error", "absolute_error", "huber", "quantile"]


def make_images(n=120, seed=0):
    """Return images and the brightness of their upper and lower halves."""
    X = np.random.default_rng(seed).random((n, 6, 5, 2))
    return X, np.stack([X[:, :3].mean(axis=(1, 2, 3)), X[:, 3:].mean(axis=(1, 2, 3))], axis=1) * 10 - 5


def make_regressor(**params):
    return ConvNetRegressor(**{"layers": LAYERS, "max_iter": 3, "random_state": 0, **params})


@pytest.mark.parametrize("loss", LOSSES)
def test_learns(loss):
    X, y = make_images(300)
    layers = [Conv2D(4, padding="same", activation="tanh"), AvgPool2D((3, 5))]
    reg = make_regressor(layers=layers, loss=loss, max_iter=100, learning_rate=0.02)
    reg.fit(X[:200], y[:200])
    assert reg.score(X[200:], y[200:]) > 0.9


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_score_are_those_of_the_initial_network(loss):
    X, y = make_images()
    y[:, 1] = y[:, 1] * 100 + 7  # the score weights all outputs equally, whatever their variance
    weight = np.random.default_rng(0).random(120)
    weight[::3] = 0
    reg = make_regressor(loss=loss, batch_size=32, max_iter=1, learning_rate=1e-300).fit(X, y, weight)
    d = np.abs(reg.predict(X) - y)
    s = np.sqrt(np.mean(np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0, weights=weight)))
    huber = np.where(d < s, d**2 / 2, s * (d - s / 2))
    each = {"squared_error": d**2, "absolute_error": d, "huber": huber, "quantile": d / 2}[loss]
    assert reg.loss_ == pytest.approx(np.average(each.mean(axis=1), weights=weight), rel=1e-6)
    assert reg.history_[0]["train_score"] == pytest.approx(reg.score(X, y, weight), rel=1e-6)


def test_a_target_that_does_not_vary_scores_zero():
    X, y = make_images()
    y[:, 0] = 0.5
    reg = make_regressor(batch_size=120, max_iter=1, learning_rate=1e-300).fit(X, y)
    assert reg.history_[0]["train_score"] == pytest.approx(r2_score(y, reg.predict(X)), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes(dtype):
    X, y = make_images()
    for target in (y[:, 0], y[:, :1], y):
        reg = make_regressor(dtype=dtype).fit(X, target)
        prediction = reg.predict(X)
        assert prediction.shape == target.shape and prediction.dtype == dtype
        np.testing.assert_array_equal(reg.predict(X[:1]), prediction[:1])
    one, row = (make_regressor().fit(X, target).predict(X) for target in (y[:, 0], y[:, :1]))
    np.testing.assert_array_equal(one, row[:, 0])


def test_forms_of_y():
    X, _ = make_images()
    y = np.arange(120)
    expected = make_regressor().fit(X, y).network_.params
    for form in (y.tolist(), y.astype(np.float32), y.astype(object), np.repeat(y, 2)[::2], y[:, None][:, 0]):
        np.testing.assert_array_equal(make_regressor().fit(X, form).network_.params, expected)
    several = make_images()[1]
    expected = make_regressor().fit(X, several).network_.params
    np.testing.assert_array_equal(make_regressor().fit(X, csr_array(several)).network_.params, expected)


def test_weights_and_threads():
    X, y = make_images()
    reg = make_regressor(batch_size=500, shuffle=False)
    weight = np.random.default_rng(0).integers(0, 3, 120)
    rows = np.repeat(np.arange(120), weight)
    weighted = clone(reg).fit(X, y, weight).network_.params
    np.testing.assert_allclose(
        weighted, clone(reg).fit(X[rows], y[rows]).network_.params, rtol=1e-7, atol=1e-9
    )
    fits = [make_regressor(n_threads=n, batch_size=50).fit(X, y) for n in (1, 2, 5)]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.network_.params, fits[0].network_.params)
        assert other.loss_curve_ == fits[0].loss_curve_


def test_partial_fit():
    X, y = make_images()
    whole, parts = make_regressor(max_iter=3).fit(X, y), make_regressor()
    for _ in range(2):
        assert parts.partial_fit(X, y) is parts
    parts = pickle.loads(pickle.dumps(parts)).partial_fit(X, y)
    np.testing.assert_array_equal(parts.network_.params, whole.network_.params)
    assert parts.loss_curve_ == whole.loss_curve_ and parts.n_iter_ == 3 and parts.t_ == whole.t_
    fitted = dict(vars(parts))
    for wrong in (y[:, 0], np.repeat(y, 2, axis=1)):
        with pytest.raises(ValueError, match=r"y must have shape \('n', 2\), as it had before, got"):
            parts.partial_fit(X, wrong)
    assert vars(parts) == fitted


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale, offset", [(1e6, 1e8), (1e-6, 0), (1e36, 0), (3, -5)])
def test_any_scale_of_y(loss, scale, offset):
    X, y = make_images()
    one = make_regressor(loss=loss, max_iter=20).fit(X, y)
    other = make_regressor(loss=loss, max_iter=20).fit(X, y * scale + offset)
    assert other.score(X, y * scale + offset) == pytest.approx(one.score(X, y), abs=0.01)
    assert other.history_[-1]["train_score"] == pytest.approx(one.history_[-1]["train_score"], abs=0.01)
    unit = scale if loss in ("absolute_error", "quantile") else scale**2
    assert other.loss_ == pytest.approx(one.loss_ * unit, rel=1e-3)
    np.testing.assert_allclose((other.predict(X) - offset) / scale, one.predict(X), atol=1e-2)


def test_losses_have_the_units_of_y():
    X, y = make_images()
    y = y * 1000 + 1e5
    reg = make_regressor(max_iter=2).fit(X[:90], y[:90], X_val=X[90:], y_val=y[90:])
    error = np.mean((reg.predict(X[90:]) - y[90:]) ** 2)
    assert reg.history_[-1]["valid_loss"] == pytest.approx(error, rel=1e-4)
    assert reg.validation_loss_curve_[-1] == reg.history_[-1]["valid_loss"]


def test_targets_that_do_not_vary():
    X, y = make_images(40)
    reg = make_regressor(max_iter=30).fit(X, np.full(40, 7.0))
    np.testing.assert_allclose(reg.predict(X), 7, atol=0.1)


def test_the_first_call_determines_the_scale():
    X, y = make_images()
    parts = make_regressor().partial_fit(X[:60], y[:60])
    mean = parts.predict(X).mean(axis=0)
    assert np.abs(mean - y[:60].mean(axis=0)).max() < 1
    before = parts._target_mean, parts._target_scale
    parts.partial_fit(X[60:], y[60:] + 100)
    np.testing.assert_array_equal(parts._target_mean, before[0])
    assert parts._target_scale == before[1]


def test_another_regressor_gives_its_scale_with_its_weights():
    X, y = make_images()
    source = make_regressor().fit(X, y * 1000 + 1e5)
    options = {"init_from": FrozenEstimator(source), "learning_rate": 1e-300, "max_iter": 1}
    tuned = make_regressor(**options).fit(X[:50], y[:50] * 900)
    np.testing.assert_array_equal(tuned.predict(X), source.predict(X))
    error = np.mean((tuned.predict(X[:50]) - y[:50] * 900) ** 2)
    assert tuned.loss_ == pytest.approx(error, rel=1e-5)
    one = make_regressor(**options).fit(X, y[:, 0])  # another number of outputs: a scale of its own
    assert np.abs(one.predict(X) - y[:, 0].mean()).max() < 10


def test_search_and_output_layer():
    X, y = make_images(60)
    search = GridSearchCV(make_regressor(), {"layers__stem__filters": [2, 3], "loss": LOSSES}, cv=2).fit(X, y)
    assert search.best_estimator_.predict(X).shape == (60, 2)
    reg = make_regressor(layers=[*LAYERS, Dense(2), Output(dense=False)]).fit(X, y)
    assert "output.weight" not in reg.network_.weights
    with pytest.raises(ValueError, match="one value for each of the 2 outputs that y requires, got 3"):
        make_regressor(layers=[Dense(3), Output(dense=False)]).fit(X, y)


@pytest.mark.parametrize(
    "params, change, message",
    [
        ({"loss": "cross_entropy"}, lambda y: y, "The 'loss' parameter of ConvNetRegressor must be"),
        ({}, lambda y: y.astype(str), "y must be real numbers, got <U"),
        ({}, lambda y: y + 1j, "[Cc]omplex"),
        ({}, lambda y: np.where(y == y[3], np.nan, y)[:, 0], "y contains NaN"),
        ({}, lambda y: y[:-1], "inconsistent numbers of samples"),
        ({}, lambda y: y[None], "inconsistent numbers of samples|Is it X"),
        ({"dtype": "float32"}, lambda y: y * 1e39, "infinity in the float32.*Scale y, or use dtype"),
        ({"learning_rate": 1e300, "optimizer": "sgd"}, lambda y: y, "loss is no longer finite in epoch"),
    ],
    ids=range(8),
)
def test_bad_input(params, change, message):
    X, y = make_images()
    reg = make_regressor().fit(X, y)
    reg.set_params(**params)
    fitted = dict(vars(reg))
    with pytest.raises((ValueError, TypeError), match=message):
        reg.fit(X, change(y))
    assert vars(reg) == fitted


def test_not_fitted():
    with pytest.raises(NotFittedError):
        make_regressor().predict(make_images()[0])
    for method in ("predict_proba", "decision_function", "classes_"):
        assert not hasattr(make_regressor(), method)
