"""Losses as objects: those of one's own, and the fields of those that are compiled."""

import pickle

import numpy as np
import pytest
from scipy import special
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet.layers import (
    Augment,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    MaxPool2D,
    Mixup,
    RandomFlip,
    Rescaling,
    Residual,
    Standardize,
)
from skconvnet.losses import LOSSES, Focal, Huber, Quantile, resolve_loss
from skconvnet.optimizers import SGD

rng = np.random.default_rng(0)
X = rng.random((150, 6, 5, 2))
y = (X[:, :3].mean(axis=(1, 2, 3)) > 0.5) + 1 * (X[:, 3:].mean(axis=(1, 2, 3)) > 0.5)
values = np.stack([X[:, :3].mean(axis=(1, 2, 3)), X[:, 3:].mean(axis=(1, 2, 3))], axis=1) * 50 + 1000
LAYERS = [Conv2D(4, padding="same", activation="tanh", name="stem"), MaxPool2D(), Dense(6)]
HALVES = [AvgPool2D((3, 5)), Rescaling(10, offset=-5), Dense(12, activation="tanh")]
NOISY = [
    Standardize(),
    Conv2D(4, padding="same"),
    BatchNorm(),
    Residual([BatchNorm(), Conv2D(4, 1)]),
    Dropout(0.3),
]


class CrossEntropy:
    """The loss "cross_entropy"."""

    def value_and_gradient(self, outputs, targets):
        assert outputs.dtype == targets.dtype == np.float64
        return -(targets * special.log_softmax(outputs, axis=1)).sum(axis=1), special.softmax(
            outputs, axis=1
        ) - targets


class BinaryCrossEntropy:
    """The loss "binary_cross_entropy"."""

    def value_and_gradient(self, outputs, targets):
        losses = np.logaddexp(0, outputs) - targets * outputs
        return losses.mean(axis=1), (special.expit(outputs) - targets) / outputs.shape[1]


class SquaredError:
    """The loss "squared_error", times a factor."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def value_and_gradient(self, outputs, targets):
        error = outputs - targets
        return self.factor * (error**2).mean(axis=1), self.factor * 2 * error / error.shape[1]


class AbsoluteError:
    """The loss "absolute_error"."""

    def value_and_gradient(self, outputs, targets):
        error = outputs - targets
        return np.abs(error).mean(axis=1), np.sign(error) / error.shape[1]


def forget_duration(history):
    return [{name: value for name, value in record.items() if name != "duration"} for record in history]


def make(cls=ConvNetClassifier, **params):
    return cls(**{"layers": LAYERS, "max_iter": 4, "random_state": 0, **params})


def flip(images, rng):
    return images[:, :, ::-1] if rng.random_sample() < 0.5 else images


CASES = {
    "classes": ({"loss": "cross_entropy"}, CrossEntropy(), y),
    "smoothed": ({"loss": "cross_entropy", "label_smoothing": 0.1}, CrossEntropy(), y),
    "weighted": ({"loss": "cross_entropy", "class_weight": {0: 2, 2: 0.5}}, CrossEntropy(), y),
    "noisy": ({"loss": "cross_entropy", "layers": NOISY}, CrossEntropy(), y),
    "mixed": (
        {"loss": "cross_entropy", "layers": [Mixup(), *LAYERS], "label_smoothing": 0.1},
        CrossEntropy(),
        y,
    ),
    "augmented": ({"loss": "cross_entropy", "layers": [Augment(flip), *LAYERS]}, CrossEntropy(), y),
    "alternating": (
        {"loss": "cross_entropy", "layers": [RandomFlip(alternating=True), *LAYERS]},
        CrossEntropy(),
        y,
    ),
    "clipped": ({"loss": "cross_entropy", "clip_norm": 0.1, "optimizer": "sgd"}, CrossEntropy(), y),
    "averaged": ({"loss": "cross_entropy", "average": "ema"}, CrossEntropy(), y),
    "stopped": ({"loss": "cross_entropy", "early_stopping": True}, CrossEntropy(), y),
    "labels": (
        {"loss": "binary_cross_entropy", "label_smoothing": 0.1},
        BinaryCrossEntropy(),
        np.eye(3, dtype=int)[y],
    ),
    "squared": ({"loss": "squared_error"}, SquaredError(), values),
    "one": ({"loss": "squared_error"}, SquaredError(), values[:, 0]),
    "sgd": (
        {"loss": "squared_error", "optimizer": SGD(momentum=0.5), "learning_rate": 0.02},
        SquaredError(),
        values,
    ),
    "mixed values": ({"loss": "squared_error", "layers": [Mixup(), *LAYERS]}, SquaredError(), values),
    "absolute": ({"loss": "absolute_error"}, AbsoluteError(), values),
}


def make_pair(case):
    """Return an estimator with a compiled loss, and the same with a loss of one's own."""
    params, own, target = CASES[case]
    cls = ConvNetClassifier if target.dtype.kind in "iu" else ConvNetRegressor
    return make(cls, **params), make(cls, **{**params, "loss": own}), target


@pytest.mark.parametrize("case", CASES)
def test_a_loss_of_ones_own_trains_like_the_compiled_one(case):
    compiled, own, target = make_pair(case)
    weight = np.random.default_rng(1).random(150)
    samples = (
        {} if case == "stopped" else {"X_val": X[:40], "y_val": target[:40], "sample_weight_val": weight[:40]}
    )
    compiled.fit(X, target, weight, **samples)
    own.fit(X, target, weight, **samples)
    # absolute errors have another unit: Adam's steps do not depend on it, except for its epsilon
    rtol = 1e-3 if case == "absolute" else 1e-7
    np.testing.assert_allclose(own.network_.params, compiled.network_.params, rtol=rtol, atol=rtol / 10)
    np.testing.assert_allclose(own.predict(X), compiled.predict(X), rtol=rtol)
    for record, expected in zip(own.history_, compiled.history_, strict=True):
        for name in record.keys() - {"duration"}:
            assert record[name] == pytest.approx(expected[name], rel=rtol), name
    compiled.partial_fit(X, target), own.partial_fit(X, target)
    np.testing.assert_allclose(own.network_.params, compiled.network_.params, rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ["classes", "noisy", "mixed", "labels", "squared"])
def test_any_number_of_threads_gives_the_same_bits(case, dtype):
    _, own, target = make_pair(case)
    fits = [
        clone(own).set_params(n_threads=n, dtype=dtype, batch_size=50).fit(X, target, X_val=X, y_val=target)
        for n in (1, 2, 3)
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.network_.params, fits[0].network_.params)
        assert forget_duration(other.history_) == forget_duration(fits[0].history_)


def test_every_sample_is_compared_with_its_target_in_the_units_of_y():
    seen = []

    class Recorder(SquaredError):
        def value_and_gradient(self, outputs, targets):
            seen.append((outputs.copy(), targets.copy()))
            outputs[...] = targets[...] = targets  # arrays are copies
            return np.zeros(len(outputs)), np.zeros(outputs.shape)

    counts = rng.integers(0, 9, (150, 2)) + 1e7
    reg = make(
        ConvNetRegressor, loss=Recorder(), max_iter=1, learning_rate=1e-300, batch_size=32, shuffle=False
    )
    reg.fit(X.astype(np.float32), counts)
    assert reg.network_.dtype == np.float32
    outputs, targets = (
        np.concatenate(arrays[-5:]) for arrays in zip(*(pair for pair in seen if len(pair[0]) <= 32))
    )
    np.testing.assert_array_equal(targets, counts)
    np.testing.assert_allclose(outputs, reg.predict(X), rtol=1e-6)


@pytest.mark.parametrize("scale, offset", [(1e5, 1e7), (1e-6, 0), (1, 0)])
@pytest.mark.parametrize("factor", [1e-8, 1, 1e8])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_any_unit_of_y_and_of_the_loss(scale, offset, factor, optimizer):
    params = {"optimizer": optimizer, "learning_rate": 0.02, "max_iter": 15}
    one = make(ConvNetRegressor, **params).fit(X, values)
    other = make(ConvNetRegressor, loss=SquaredError(factor), **params).fit(X, values * scale + offset)
    np.testing.assert_allclose((other.predict(X) - offset) / scale, one.predict(X), rtol=1e-4)
    assert other.loss_ == pytest.approx(one.loss_ * factor * scale**2, rel=1e-4)
    assert other.history_[-1]["train_score"] == pytest.approx(one.history_[-1]["train_score"], rel=1e-4)


class TestProbabilities:
    def test_of_classes_are_the_softmax_of_the_outputs(self):
        clf = make(loss=CrossEntropy()).fit(X, y)
        scores = clf.decision_function(X)
        np.testing.assert_allclose(clf.predict_proba(X), special.softmax(scores, axis=1), rtol=1e-6)
        np.testing.assert_array_equal(clf.predict(X), scores.argmax(axis=1))
        two = make(loss=CrossEntropy()).fit(X, y > 0)
        assert two.predict_proba(X).shape == (150, 2) and two.decision_function(X).shape == (150,)

    def test_of_labels_are_the_sigmoid_of_the_outputs(self):
        clf = make(loss=BinaryCrossEntropy()).fit(X, np.eye(3, dtype=int)[y])
        scores = clf.decision_function(X)
        np.testing.assert_allclose(clf.predict_proba(X), special.expit(scores), rtol=1e-6)
        np.testing.assert_array_equal(clf.predict(X), scores > 0)


class TestCheck:
    """The gradient is compared with differences before training."""

    @pytest.mark.parametrize("cls, target", [(ConvNetClassifier, y), (ConvNetRegressor, values)])
    @pytest.mark.parametrize("factor", [-1, 0.5, 1.01, 3])
    def test_a_wrong_gradient_is_refused_with_both_figures(self, cls, target, factor):
        class Wrong:
            def value_and_gradient(self, outputs, targets):
                losses, gradient = SquaredError().value_and_gradient(outputs, targets)
                return losses, factor * gradient

        fitted = make(cls).fit(X, target)
        before = pickle.dumps(fitted)
        fitted.set_params(loss=Wrong())
        with pytest.raises(ValueError, match="another gradient than that of the loss") as caught:
            fitted.fit(X, target)
        found = str(caught.value).split("of the loss: ")[1].split()
        given, expected = float(found[0]), float(str(caught.value).split("its loss are ")[1].split(". ")[0])
        assert given == pytest.approx(factor * expected, rel=1e-3)
        fitted.set_params(loss=pickle.loads(before).loss)
        np.testing.assert_array_equal(fitted.network_.params, pickle.loads(before).network_.params)

    def test_one_wrong_output_is_found(self):
        class Wrong:
            def value_and_gradient(self, outputs, targets):
                losses, gradient = CrossEntropy().value_and_gradient(outputs, targets)
                gradient[:, 2] = 0
                return losses, gradient

        with pytest.raises(ValueError, match="for output 2 of a sample"):
            make(loss=Wrong()).fit(X, y)

    @pytest.mark.parametrize(
        "returned, found",
        [
            (lambda z, t: (z**2).mean(axis=1), "got ndarray"),
            (lambda z, t: ((z**2).mean(), 2 * z), r"got shapes \(\) and \(150, 2\), of float64"),
            (lambda z, t: ((z**2), 2 * z), r"got shapes \(150, 2\) and \(150, 2\)"),
            (lambda z, t: ((z**2).mean(axis=1), 2 * z.T), r"got shapes \(150,\) and \(2, 150\)"),
            (lambda z, t: ((z**2).mean(axis=1), z.astype(str)), "of float64 and <U"),
            (lambda z, t: (np.full(len(z), np.nan), z), "not finite"),
        ],
    )
    def test_what_is_returned(self, returned, found):
        class Wrong:
            value_and_gradient = staticmethod(returned)

        with pytest.raises(ValueError, match=found):
            make(ConvNetRegressor, loss=Wrong()).fit(X, values)

    def test_losses_of_huge_and_of_tiny_numbers_pass(self):
        class Offset(SquaredError):
            def value_and_gradient(self, outputs, targets):
                losses, gradient = super().value_and_gradient(outputs, targets)
                return losses + 1e6, gradient

        make(ConvNetRegressor, loss=Offset(), max_iter=1).fit(X, values)
        make(ConvNetRegressor, loss=SquaredError(1e-12), max_iter=1).fit(X, values * 1e-5)


def test_an_exception_leaves_the_model():
    class Failing(CrossEntropy):
        calls = 0

        def value_and_gradient(self, outputs, targets):
            self.calls += 1
            if self.calls == self.limit:
                raise ZeroDivisionError("mine")
            return super().value_and_gradient(outputs, targets)

    clf, loss = make().fit(X, y), Failing()
    params = clf.network_.params.copy()
    for loss.limit in (1, 9, 13):
        loss.calls = 0
        with pytest.raises(ZeroDivisionError, match="mine"):
            clf.set_params(loss=loss).fit(X, y, X_val=X, y_val=y)
        np.testing.assert_array_equal(clf.network_.params, params)


def test_a_loss_that_becomes_infinite():
    class Exploding(SquaredError):
        calls = 0

        def value_and_gradient(self, outputs, targets):
            self.calls += 1
            losses, gradient = super().value_and_gradient(outputs, targets)
            return (losses * np.inf if self.calls > 20 else losses), gradient

    with pytest.raises(ValueError, match="no longer finite"):
        make(ConvNetRegressor, loss=Exploding(), max_iter=20).fit(X, values)


def test_keyboard_interrupt_ends_a_fit_at_the_last_whole_step():
    class Impatient(CrossEntropy):
        calls = 0

        def value_and_gradient(self, outputs, targets):
            self.calls += 1
            if self.calls == 30:
                raise KeyboardInterrupt
            return super().value_and_gradient(outputs, targets)

    clf = make(loss=Impatient(), batch_size=10, max_iter=9)
    with pytest.warns(UserWarning, match="interrupted after 1 whole epochs"):
        clf.fit(X, y)
    assert np.isfinite(clf.network_.params).all() and clf.t_ > 15


class TestLifeOfAModel:
    def test_warm_start_and_partial_fit_continue(self):
        loss = SquaredError()
        whole = make(ConvNetRegressor, loss=loss, max_iter=4).fit(X, values)
        warm = make(ConvNetRegressor, loss=loss, max_iter=2, warm_start=True).fit(X, values).fit(X, values)
        parts = make(ConvNetRegressor, loss=loss)
        for _ in range(4):
            parts.partial_fit(X, values)
        for other in (warm, parts):
            np.testing.assert_array_equal(other.network_.params, whole.network_.params)
        with pytest.raises(ValueError, match="loss is 'SquaredError', but the fitted network has|loss is"):
            parts.set_params(loss="huber").partial_fit(X, values)

    def test_settings_of_the_loss_may_change_in_between(self):
        clf = make(loss=Focal(gamma=0.0)).partial_fit(X, y, classes=range(3))
        clf.set_params(loss__gamma=3.0).partial_fit(X, y)
        assert clf._trainer.loss.loss == Focal(gamma=3.0)

    def test_pickles_keep_the_object(self):
        reg = make(ConvNetRegressor, loss=SquaredError(2.0)).fit(X, values)
        again = pickle.loads(pickle.dumps(reg))
        assert again.loss.factor == 2.0
        np.testing.assert_array_equal(again.predict(X), reg.predict(X))
        reg.partial_fit(X, values), again.partial_fit(X, values)
        np.testing.assert_array_equal(again.network_.params, reg.network_.params)

    def test_files_refuse_the_object(self, tmp_path):
        reg = make(ConvNetRegressor, loss=SquaredError()).fit(X, values)
        with pytest.raises(
            TypeError, match="save: loss is .*SquaredError.* which a file without code cannot hold"
        ):
            reg.save(tmp_path / "model.safetensors")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("loss", [Quantile(0.9), Huber(), "poisson", "cosine"], ids=str)
    def test_files_keep_the_objects_of_the_package(self, tmp_path, loss):
        reg = make(ConvNetRegressor, loss=loss).fit(X, values)
        reg.save(tmp_path / "model.safetensors")
        again = skconvnet.load(tmp_path / "model.safetensors")
        assert again.loss == reg.loss
        reg.partial_fit(X, values), again.partial_fit(X, values)
        np.testing.assert_array_equal(again.predict(X), reg.predict(X))

    def test_searches(self):
        losses = ["squared_error", SquaredError(), Quantile(0.2)]
        search = GridSearchCV(make(ConvNetRegressor, max_iter=2), {"loss": losses}, cv=2).fit(X, values)
        assert search.best_params_["loss"] in losses
        levels = GridSearchCV(make(ConvNetRegressor, loss=Quantile(0.5)), {"loss__level": [0.2, 0.5]}, cv=2)
        assert levels.fit(X, values).best_params_["loss__level"] == 0.5

    def test_a_deep_copy_continues(self):
        reg = make(ConvNetRegressor, loss=SquaredError(), warm_start=True).fit(X, values)
        again = pickle.loads(pickle.dumps(reg))
        np.testing.assert_array_equal(again.fit(X, values).predict(X), reg.fit(X, values).predict(X))


class TestQuantile:
    @pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
    def test_predicts_a_quantile(self, level):
        rows = rng.random((2000, 3))
        target = rows[:, 0] + rng.standard_normal(2000)
        reg = ConvNetRegressor(
            [Dense(8, activation="tanh")], loss=Quantile(level), max_iter=30, random_state=0
        )
        below = np.mean(target < reg.fit(rows, target).predict(rows))
        assert below == pytest.approx(level, abs=0.03)

    def test_the_loss_is_pinball_loss_in_the_units_of_y(self):
        reg = make(ConvNetRegressor, loss=Quantile(0.8), max_iter=1, learning_rate=1e-300).fit(X, values)
        d = values - reg.predict(X)
        assert reg.loss_ == pytest.approx(np.maximum(0.8 * d, -0.2 * d).mean(), rel=1e-6)

    @pytest.mark.parametrize("level", [0, 1, 1.5, "a"])
    def test_levels(self, level):
        with pytest.raises(ValueError, match=r"Quantile: level must be a number in \(0, 1\)"):
            Quantile(level)


class TestPoisson:
    @pytest.mark.parametrize("rate", [1e-3, 1, 1e6])
    def test_learns_rates_of_any_size(self, rate):
        rows = StandardScaler().fit_transform(rng.random((1500, 3)))
        mean = np.exp(0.7 * rows[:, 0])
        target = rng.poisson(mean * 50) / 50 * rate
        reg = ConvNetRegressor([], loss="poisson", max_iter=60, learning_rate=0.02, random_state=0).fit(
            rows, target
        )
        predicted = reg.predict(rows)
        assert (predicted > 0).all()
        np.testing.assert_allclose(np.log(predicted / rate), np.log(mean), atol=0.1)
        expected = np.mean(predicted - target * np.log(predicted))
        assert reg.history_[-1]["train_loss"] == pytest.approx(expected, rel=1e-2)
        assert reg.history_[-1]["train_score"] == pytest.approx(reg.score(rows, target), abs=0.01)

    def test_the_loss_is_that_of_the_predictions(self):
        target = values - 990
        reg = make(ConvNetRegressor, loss="poisson", max_iter=1, learning_rate=1e-300)
        reg.fit(X, target, X_val=X[:50], y_val=target[:50])
        mu = reg.predict(X)
        expected = mu - target * np.log(mu)
        assert reg.loss_ == pytest.approx(expected.mean(), rel=1e-6)
        assert reg.validation_loss_curve_[0] == pytest.approx(expected[:50].mean(), rel=1e-6)
        assert reg.history_[0]["train_score"] == pytest.approx(reg.score(X, target), rel=1e-6)

    def test_negative_counts_are_refused(self):
        with pytest.raises(ValueError, match="y has negative values, the smallest -1"):
            make(ConvNetRegressor, loss="poisson").fit(X, y - 1)

    def test_counts_that_are_all_zero(self):
        reg = make(ConvNetRegressor, loss="poisson", max_iter=30).fit(X, np.zeros(150))
        assert (reg.predict(X) < 1).all()

    def test_predictions_stay_finite(self):
        reg = make(ConvNetRegressor, loss="poisson", dtype="float32").fit(X, y)
        assert np.isfinite(reg.predict(np.float32(X * 1e6))).all()


class TestCosine:
    def test_learns_directions(self):
        vectors = values - values.mean(axis=0)
        reg = make(ConvNetRegressor, layers=HALVES, loss="cosine", max_iter=100, learning_rate=0.02).fit(
            X, vectors
        )
        predicted = reg.predict(X)
        np.testing.assert_allclose(np.linalg.norm(predicted, axis=1), 1, rtol=1e-6)
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        mean = 1 - (predicted * directions).sum(axis=1).mean()
        assert mean < 0.2 and reg.loss_ == pytest.approx(mean, abs=0.05)

    def test_loss_and_score(self):
        reg = make(ConvNetRegressor, loss="cosine", max_iter=1, learning_rate=1e-300).fit(X, values)
        directions = values / np.linalg.norm(values, axis=1, keepdims=True)
        assert reg.loss_ == pytest.approx(1 - (reg.predict(X) * directions).sum(axis=1).mean(), rel=1e-6)
        assert reg.history_[0]["train_score"] == pytest.approx(reg.score(X, values), rel=1e-6)

    @pytest.mark.parametrize(
        "target, found",
        [
            (values[:, 0], "at least 2 values"),
            (values[:, :1], "at least 2"),
            (values * (y > 0)[:, None], "only zeros"),
        ],
    )
    def test_targets_without_a_direction_are_refused(self, target, found):
        with pytest.raises(ValueError, match=found):
            make(ConvNetRegressor, loss="cosine").fit(X, target)


class TestFocal:
    def test_without_gamma_it_is_cross_entropy(self):
        for loss, target in (("cross_entropy", y), ("binary_cross_entropy", np.eye(3, dtype=int)[y])):
            one, other = (make(loss=name).fit(X, target) for name in (loss, Focal(gamma=0)))
            np.testing.assert_allclose(other.network_.params, one.network_.params, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-6)

    def test_learns(self):
        for target in (y, y > 0, np.eye(3, dtype=int)[y]):
            clf = make(layers=HALVES, loss="focal", max_iter=100, learning_rate=0.02).fit(X, target)
            assert clf.score(X, target) > 0.8

    @pytest.mark.parametrize("gamma", [-1, np.inf, "a"])
    def test_gammas(self, gamma):
        with pytest.raises(ValueError, match=r"Focal: gamma must be a number in \[0, inf\)"):
            Focal(gamma)


def test_names_stand_for_objects():
    for name, cls in LOSSES.items():
        assert resolve_loss(name) == cls() and cls.kind == name
    with pytest.raises(ValueError, match="unknown loss 'pinball'. Did you mean 'quantile'"):
        resolve_loss("pinball")


@pytest.mark.parametrize(
    "cls, loss",
    [
        (ConvNetClassifier, Quantile()),
        (ConvNetRegressor, Focal()),
        (ConvNetRegressor, Focal),
        (ConvNetClassifier, 3),
    ],
)
def test_losses_of_another_task_are_refused(cls, loss):
    with pytest.raises(ValueError, match=f"The 'loss' parameter of {cls.__name__} must be a str among"):
        make(cls, loss=loss).fit(X, y)
