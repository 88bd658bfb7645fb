"""Forms of y: probabilities of classes, and targets of which some are missing."""

import numpy as np
import pandas as pd
import pytest
from scipy import special
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import cross_val_score

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet.layers import AvgPool2D, Conv2D, Dense, MaxPool2D, Mixup, Rescaling

rng = np.random.default_rng(0)
X = rng.random((150, 6, 5, 2))
y = (X[:, :3].mean(axis=(1, 2, 3)) > 0.5) + 1 * (X[:, 3:].mean(axis=(1, 2, 3)) > 0.5)
soft = special.softmax(rng.standard_normal((150, 3)) + 2 * np.eye(3)[y], axis=1)
values = np.stack([X[:, :3].mean(axis=(1, 2, 3)), X[:, 3:].mean(axis=(1, 2, 3))], axis=1) * 50 + 1000
LAYERS = [Conv2D(4, padding="same", activation="tanh", name="stem"), MaxPool2D(), Dense(6)]


class CrossEntropy:
    """The loss "cross_entropy"."""

    def value_and_gradient(self, outputs, targets):
        losses = -(targets * special.log_softmax(outputs, axis=1)).sum(axis=1)
        return losses, special.softmax(outputs, axis=1) * targets.sum(axis=1, keepdims=True) - targets


def make(cls=ConvNetClassifier, **params):
    return cls(**{"layers": LAYERS, "max_iter": 4, "random_state": 0, **params})


class TestProbabilities:
    def test_those_of_certain_labels_train_like_the_labels(self):
        hard, certain = make(), make()
        first = np.where(np.arange(150)[:, None] == 0, [[0.5, 0.5, 0]], np.eye(3)[y])  # not one-hot
        certain.fit(X, first, np.arange(150) > 0)
        hard.fit(X, y, np.arange(150) > 0)
        np.testing.assert_allclose(certain.network_.params, hard.network_.params, rtol=1e-6, atol=1e-9)
        for record, expected in zip(certain.history_, hard.history_):
            assert record["train_score"] == expected["train_score"]
        certain.partial_fit(X, np.eye(3)[y]), hard.partial_fit(X, y)  # once y was soft, it may be one-hot
        np.testing.assert_allclose(certain.network_.params, hard.network_.params, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("form", [np.asarray, np.float32, pd.DataFrame, lambda Y: Y.tolist()])
    @pytest.mark.parametrize("params", [{}, {"label_smoothing": 0.1}, {"layers": [Mixup(), *LAYERS]}])
    def test_they_train_like_a_loss_of_ones_own(self, form, params):
        compiled, own = make(**params).fit(X, form(soft)), make(loss=CrossEntropy(), **params).fit(X, soft)
        np.testing.assert_allclose(compiled.network_.params, own.network_.params, rtol=1e-4, atol=1e-5)
        assert compiled.history_[-1]["train_score"] == own.history_[-1]["train_score"]

    def test_the_loss_is_the_cross_entropy_of_the_predictions(self):
        clf = make(max_iter=1, learning_rate=1e-300).fit(X, soft, X_val=X[:30], y_val=soft[:30])
        log_p = clf.predict_log_proba(X)
        losses = -(soft * log_p).sum(axis=1)
        assert clf.loss_ == pytest.approx(losses.mean(), rel=1e-6)
        assert clf.validation_loss_curve_[0] == pytest.approx(losses[:30].mean(), rel=1e-6)
        right = clf.predict(X) == soft.argmax(axis=1)
        assert clf.score(X, soft) == right.mean() == pytest.approx(clf.history_[0]["train_score"])

    def test_predictions_are_columns(self):
        clf = make(max_iter=40, learning_rate=0.01, early_stopping=True).fit(X, soft)
        np.testing.assert_array_equal(clf.classes_, [0, 1, 2])
        assert clf.predict(X).shape == (150,) and clf.decision_function(X).shape == (150, 3)
        np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
        assert clf.score(X, clf.predict(X)) == 1
        assert log_loss(soft.argmax(axis=1), clf.predict_proba(X)) < np.log(3)
        two = make().fit(X, soft[:, :2] / soft[:, :2].sum(axis=1, keepdims=True))
        assert two.decision_function(X).shape == (150,) and two.predict_proba(X).shape == (150, 2)

    def test_focal_loss(self):
        clf = make(loss="focal", max_iter=1, learning_rate=1e-300).fit(X, soft)
        p = clf.predict_proba(X)
        assert clf.loss_ == pytest.approx(-(soft * (1 - p) ** 2 * np.log(p)).sum(axis=1).mean(), rel=1e-5)

    def test_cross_validation_and_partial_fit(self):
        assert np.isfinite(cross_val_score(make(max_iter=1), X, soft, cv=2)).all()
        clf = make().partial_fit(X, soft, classes=range(3)).partial_fit(X[:9], soft[:9])
        assert clf.predict(X).shape == (150,)
        with pytest.raises(ValueError, match=r"classes must be range\(3\)"):
            make().partial_fit(X, soft, classes=["a", "b", "c"])

    def test_files(self, tmp_path):
        clf = make().fit(X, soft)
        clf.save(tmp_path / "model.safetensors")
        again = skconvnet.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        clf.partial_fit(X, soft), again.partial_fit(X, soft)
        np.testing.assert_array_equal(again.network_.params, clf.network_.params)

    @pytest.mark.parametrize(
        "params, target, found",
        [
            ({}, soft * 0.9, "row 0 sums to 0.9, not to 1"),
            ({}, np.where(soft == soft[3], np.nan, soft), "missing"),
            ({"class_weight": {0: 2}}, soft, "class_weight is for samples of one class each"),
            ({"loss": "squared_error"}, soft, "Unknown label type"),
            ({"loss": "binary_cross_entropy"}, soft, "Unknown label type"),
        ],
    )
    def test_what_is_refused(self, params, target, found):
        with pytest.raises(ValueError, match=found):
            make(**params).fit(X, target)

    def test_the_form_may_not_change(self):
        clf = make(loss="focal").fit(X, np.eye(3, dtype=int)[y])
        with pytest.raises(ValueError, match="y must have several labels per sample.* got the probabilities"):
            clf.partial_fit(X, soft)
        clf.fit(X, soft)  # a new network may have another form
        with pytest.raises(ValueError, match="X_val and y_val: y must have the probabilities"):
            clf.fit(X, soft, X_val=X, y_val=np.arange(450).reshape(150, 3) % 2)


def blank(target, fraction, seed=1):
    """Return targets of which some are nan, and where they are not."""
    present = np.random.default_rng(seed).random(target.shape) >= fraction
    return np.where(present, target, np.nan), present


class TestMissingValues:
    @pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile", "poisson"])
    @pytest.mark.parametrize("batch_size", [32, 150])
    def test_the_loss_is_a_mean_over_those_that_are_there(self, loss, batch_size):
        target, present = blank(values, 0.3)
        params = {"max_iter": 1, "learning_rate": 1e-300, "batch_size": batch_size, "loss": loss}
        reg = make(ConvNetRegressor, **params).fit(X, target, X_val=X[:40], y_val=target[:40])
        predicted = reg.predict(X)
        s = np.sqrt(np.nanvar(target, axis=0).mean())
        d = np.abs(predicted - target)
        losses = {
            "squared_error": d**2,
            "absolute_error": d,
            "huber": np.where(d < s, d**2 / 2, s * (d - s / 2)),
            "quantile": d / 2,
            "poisson": predicted - target * np.log(predicted),
        }[loss]
        assert reg.loss_ == pytest.approx(losses[present].mean(), rel=1e-5)
        assert reg.validation_loss_curve_[0] == pytest.approx(losses[:40][present[:40]].mean(), rel=1e-5)

    def test_what_is_missing_has_no_influence(self):
        """Each half of the samples has one of the targets: the network learns both."""
        target = np.where((np.arange(150)[:, None] + [0, 1]) % 2, values, np.nan)
        layers = [Conv2D(4, padding="same", activation="tanh"), Dense(8, activation="tanh")]
        reg = make(ConvNetRegressor, layers=layers, max_iter=150, learning_rate=0.01).fit(X, target)
        seen = ~np.isnan(target)
        assert r2_score(target[seen], reg.predict(X)[seen]) > 0.9
        assert reg.score(X, target) > 0.9

    def test_a_column_alone_trains_like_its_samples(self):
        """Where every sample has all targets or none, those with none are left out."""
        target = np.where(np.arange(150)[:, None] % 3 == 0, np.nan, values)
        used = np.arange(150) % 3 > 0
        one, other = make(ConvNetRegressor).fit(X, target), make(ConvNetRegressor).fit(X, values, used)
        np.testing.assert_array_equal(one.network_.params, other.network_.params)
        assert one.loss_curve_ == other.loss_curve_

    def test_gradients_follow_central_differences(self):
        target, _ = blank(values, 0.4)
        fits = [
            make(ConvNetRegressor, layers=[Dense(2)], optimizer="sgd", learning_rate=rate, max_iter=1, **full)
            for rate in (1e-300, 1e-4)
            for full in [{"batch_size": 150, "dtype": "float64"}]
        ]
        start, after = (reg.fit(X, target).network_ for reg in fits)
        step = (after.params - start.params) / 1e-4
        params, losses = start.params.copy(), []
        for sign in (1, -1):
            start.params = params + sign * 1e-5 * step
            losses.append(np.nanmean((fits[0].predict(X) - target) ** 2) / fits[0]._target_scale ** 2)
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(-(step @ step), rel=1e-6)

    @pytest.mark.parametrize(
        "form", [np.float32, pd.DataFrame, lambda Y: pd.DataFrame(Y).convert_dtypes(), list]
    )
    def test_forms(self, form):
        target, _ = blank(values, 0.3)
        expected = make(ConvNetRegressor).fit(X, target).predict(X)
        np.testing.assert_allclose(
            make(ConvNetRegressor).fit(X, form(target)).predict(X), expected, rtol=1e-4
        )

    def test_threads_mixup_and_early_stopping(self):
        target, _ = blank(values, 0.3)
        params = {"layers": [Mixup(), *LAYERS], "early_stopping": True, "batch_size": 40}
        fits = [make(ConvNetRegressor, n_threads=n, **params).fit(X, target) for n in (1, 2, 3)]
        for other in fits[1:]:
            np.testing.assert_array_equal(other.network_.params, fits[0].network_.params)
        assert np.isfinite(fits[0].validation_loss_curve_).all()

    def test_labels(self):
        labels = np.stack([y > 0, y > 1, y == 1], axis=1).astype(float)
        target, present = blank(labels, 0.3)
        for loss in ("binary_cross_entropy", "focal"):
            clf = make(loss=loss, max_iter=1, learning_rate=1e-300).fit(X, target, X_val=X, y_val=target)
            p = clf.predict_proba(X)
            p = np.where(labels == 1, p, 1 - p)
            losses = -np.log(p) if loss == "binary_cross_entropy" else -((1 - p) ** 2) * np.log(p)
            assert clf.loss_ == pytest.approx(losses[present].mean(), rel=1e-5)
            right = (clf.predict(X) == labels) | ~present
            weight = present.mean(axis=1)
            expected = np.average(right.all(axis=1), weights=weight)
            assert clf.history_[0]["valid_score"] == pytest.approx(expected) == clf.score(X, target)
        layers = [AvgPool2D((3, 5)), Rescaling(10, offset=-5), Dense(12, activation="tanh")]
        clf = make(layers=layers, loss="binary_cross_entropy", max_iter=100, learning_rate=0.02).fit(
            X, target
        )
        assert clf.score(X, labels) > 0.7 and clf.predict(X).dtype.kind == "i"

    def test_a_loss_of_ones_own_gets_nan(self):
        class SquaredError:
            def value_and_gradient(self, outputs, targets):
                present = ~np.isnan(targets)
                error = np.where(present, outputs - targets, 0)
                n = np.maximum(present.sum(axis=1, keepdims=True), 1)
                return (error**2 / n).sum(axis=1), 2 * error / n

        target, present = blank(values, 0.3)
        reg = make(ConvNetRegressor, loss=SquaredError()).fit(X, target)
        assert np.isfinite(reg.predict(X)).all() and np.isfinite(reg.history_[-1]["train_score"])
        with pytest.raises(ValueError, match="not finite"):
            make(ConvNetRegressor, loss=CrossEntropy()).fit(X, target)

    @pytest.mark.parametrize(
        "cls, params, target, found",
        [
            (ConvNetRegressor, {}, np.where(y == 1, np.nan, y), "y contains NaN"),
            (ConvNetRegressor, {}, values * np.nan, "y has no targets"),
            (
                ConvNetClassifier,
                {},
                np.where(y == 1, np.nan, y)[:, None],
                "y has .* missing values; leave out",
            ),
            (ConvNetClassifier, {}, pd.DataFrame({"a": y, "b": np.where(y, "x", None)}), "y has .* missing"),
            (ConvNetRegressor, {"loss": "cosine"}, blank(values, 0.3)[0], "none of them missing"),
            (ConvNetClassifier, {}, blank(np.eye(3)[y], 0.3)[0], "missing"),
            (ConvNetClassifier, {"loss": "absolute_error"}, blank(np.eye(3)[y], 0.3)[0], "missing"),
            (
                ConvNetClassifier,
                {"loss": "binary_cross_entropy"},
                np.where(y == 1, np.nan, y),
                "y contains NaN",
            ),
        ],
    )
    def test_what_is_refused(self, cls, params, target, found):
        with pytest.raises(ValueError, match=found):
            make(cls, **params).fit(X, target)
