"""What an estimator averages: weights over the steps, and outputs over the variants of an image."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from skconvnet._training import AVERAGE_POWER
from skconvnet.layers import BatchNorm, Conv2D, Dense, MaxPool2D, RandomFlip, RandomRotation, RandomShift

rng = np.random.default_rng(0)
X, Y = rng.random((90, 6, 7)), np.arange(90) % 3
X[:, 2, 3] += Y
LAYERS = [Conv2D(4, name="stem"), BatchNorm(), MaxPool2D(), Dense(6, activation="tanh")]


def make(model=ConvNetClassifier, **parameters):
    return model(**{"layers": LAYERS, "max_iter": 4, "batch_size": 30, "random_state": 0, **parameters})


class TestWeights:
    def test_the_average_is_that_of_its_formula(self):
        """Training itself does not change; 3 steps an epoch are one part, after which the average moves."""
        plain, averaged = make(), make(average="ema")
        expected, t = 0.0, 0
        for _ in range(4):
            plain.partial_fit(X, Y, classes=[0, 1, 2])
            averaged.partial_fit(X, Y, classes=[0, 1, 2])
            keep = (t / (t + 3)) ** AVERAGE_POWER
            t += 3
            expected = keep * expected + (1 - keep) * plain.network_.params
            np.testing.assert_array_equal(averaged._trainer._own, plain.network_.params)
            np.testing.assert_allclose(averaged.network_.params, expected, rtol=1e-12)
        whole = make(average="ema").fit(X, Y)
        np.testing.assert_array_equal(whole.network_.params, averaged.network_.params)

    def test_it_moves_within_an_epoch(self):
        """Of 90 steps it moves every fourth: after t steps it weighs step s by about s**9."""
        seen, clf = [], make(average="ema", batch_size=1, max_iter=1)
        power = AVERAGE_POWER
        for n in range(4, 90, 4):  # the first n samples only, in the same order
            short = make(batch_size=1, max_iter=1, shuffle=False).fit(X[:n], Y[:n])
            seen.append((n, short.network_.params))
        clf.set_params(shuffle=False).fit(X, Y)
        seen.append((90, clf._trainer._own))
        steps = np.array([0] + [n for n, _ in seen])
        weights = (steps[1:] / 90.0) ** power - (steps[:-1] / 90.0) ** power
        expected = sum(weight * params for weight, (_, params) in zip(weights, seen))
        np.testing.assert_allclose(clf.network_.params, expected, rtol=1e-9)

    def test_predictions_files_and_copies_have_the_average(self, tmp_path):
        clf = make(average="ema").fit(X, Y)
        clf.save(tmp_path / "model.safetensors")
        again = skconvnet.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        assert (clf.predict_proba(X) != make().fit(X, Y).predict_proba(X)).any()
        for model in (again, clf):
            model.partial_fit(X, Y)
        np.testing.assert_array_equal(again.network_.params, clf.network_.params)
        np.testing.assert_array_equal(
            clf.network_.params, make(average="ema", max_iter=5).fit(X, Y).network_.params
        )

    def test_early_stopping_watches_and_keeps_the_average(self):
        """Noise as validation samples: fitting the training samples soon makes it worse."""
        settings = {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 30, "learning_rate": 0.02}
        clf = make(average="ema", warm_start=True, **settings)
        noise = np.random.default_rng(1).random((40, 6, 7))
        clf.fit(X, Y, X_val=noise, y_val=Y[:40])
        best = min(record["valid_loss"] for record in clf.history_)
        assert clf.best_iter_ < clf.n_iter_
        loss = -np.log(clf.predict_proba(noise)[np.arange(40), Y[:40]]).mean()
        assert loss == pytest.approx(best, rel=1e-9)
        assert clf._trainer._own is None  # a further fit continues with the best weights
        clf.set_params(max_iter=1).fit(X, Y, X_val=noise, y_val=Y[:40])
        assert clf.n_iter_ == len(clf.history_)

    def test_switching_it_off_continues_with_the_average(self):
        clf = make(average="ema").fit(X, Y)
        average = clf.network_.params.copy()
        clf.set_params(average=None, learning_rate=1e-300).partial_fit(X, Y)
        n = clf.network_.n_params
        np.testing.assert_array_equal(clf.network_.params[:n], average[:n])
        assert clf._trainer._own is None

    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_it_is_less_noisy(self, n_threads):
        """Between epochs at a high learning rate, the average's loss changes less than that of the weights."""
        changes = []
        for average in (None, "ema"):
            clf = make(average=average, learning_rate=0.05, max_iter=40, n_threads=n_threads)
            clf.fit(X, Y, X_val=X, y_val=Y)
            changes.append(np.abs(np.diff(clf.validation_loss_curve_[20:])).mean())
        assert changes[1] < changes[0] / 2

    def test_wrong_values(self):
        with pytest.raises(ValueError, match='Write average="ema" for an exponential moving average'):
            make(average=True).fit(X, Y)
        with pytest.raises(ValueError, match="The 'average' parameter"):
            make(average="mean").fit(X, Y)


class TestVariants:
    FLIPS = [slice(None, None, step) for step in (1, -1)]

    def list_all(self, x):
        """All variants of RandomFlip(vertical=True) and then RandomShift((1, 0))."""
        for down in self.FLIPS:
            for across in self.FLIPS:
                turned = x[:, down, across]
                padded = np.pad(turned, ((0, 0), (1, 1), (0, 0)), mode="edge")
                yield from (padded[:, k : k + 6] for k in range(3))

    def test_outputs_are_the_mean_over_all_variants(self):
        clf = make().fit(X, Y)
        outputs = np.mean([clf.decision_function(x) for x in self.list_all(X)], axis=0)
        clf.set_params(test_time_augmentation=[RandomFlip(vertical=True), RandomShift((1, 0))])
        np.testing.assert_allclose(clf.decision_function(X), outputs, rtol=1e-12)
        exponentials = np.exp(outputs)
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(clf.predict_proba(X), probabilities, rtol=1e-12)
        np.testing.assert_allclose(clf.predict_log_proba(X), np.log(probabilities), rtol=1e-9)
        np.testing.assert_array_equal(clf.predict(X), outputs.argmax(axis=1))
        assert (clf.set_params(test_time_augmentation=None).decision_function(X) != outputs).any()

    def test_predictions_depend_on_their_sample_alone(self):
        """Also beyond the number of images that are varied at a time."""
        clf = make(test_time_augmentation=[RandomFlip(), RandomShift(1)]).fit(X, Y)
        many = np.concatenate([X] * 24)
        probabilities = clf.predict_proba(many)
        np.testing.assert_array_equal(probabilities, np.concatenate([clf.predict_proba(X)] * 24))
        np.testing.assert_array_equal(probabilities[7:8], clf.predict_proba(X[7:8]))
        np.testing.assert_array_equal(probabilities, clf.set_params(n_threads=3).predict_proba(many))

    @pytest.mark.parametrize(
        "estimator, y",
        [
            (make(ConvNetRegressor), X.sum(axis=(1, 2))),
            (make(loss="binary_cross_entropy"), Y % 2),
            (make(loss="binary_cross_entropy"), np.eye(3, dtype=int)[Y]),
            (make(data_format="channels_first"), Y),
            (make(input_shape=(6, 7)), Y),
        ],
    )
    def test_all_estimators(self, estimator, y):
        x = X[:, np.newaxis] if estimator.data_format == "channels_first" else X
        rows = len(x) if estimator.input_shape else 0
        fitted = clone(estimator).fit(x.reshape(rows, -1) if rows else x, y)
        mirrored = x[..., ::-1]
        ask = getattr(fitted, "decision_function", fitted.predict)
        expected = (
            ask(x.reshape(rows, -1) if rows else x) + ask(mirrored.reshape(rows, -1) if rows else mirrored)
        ) / 2
        fitted.set_params(test_time_augmentation=[RandomFlip()])
        np.testing.assert_allclose(ask(x.reshape(rows, -1) if rows else x), expected, rtol=1e-12)

    def test_symmetric_predictions_can_be_searched(self):
        search = GridSearchCV(make(), {"test_time_augmentation": [None, [RandomFlip()]]}, cv=2).fit(X, Y)
        best = search.best_estimator_.set_params(test_time_augmentation=[RandomFlip()])
        np.testing.assert_array_equal(best.predict_proba(X), best.predict_proba(X[:, :, ::-1]))

    def test_training_and_features_are_not_varied(self):
        plain, varied = make().fit(X, Y), make(test_time_augmentation=[RandomFlip()]).fit(X, Y)
        np.testing.assert_array_equal(plain.network_.params, varied.network_.params)
        frozen = [FrozenEstimator(clf) for clf in (plain, varied)]
        features = [ConvNetTransformer(clf, layer="stem").fit(X).transform(X) for clf in frozen]
        np.testing.assert_array_equal(*features)

    def test_wrong_values(self):
        with pytest.raises(ValueError, match=r"Wrap it in a list: \[RandomFlip\(\)\]"):
            make(test_time_augmentation=RandomFlip()).fit(X, Y)
        with pytest.raises(
            ValueError, match=r"RandomFlip and RandomShift layers, got RandomRotation\(\) in it"
        ):
            make(test_time_augmentation=[RandomRotation()]).fit(X, Y)
        with pytest.raises(ValueError, match="test_time_augmentation needs images"):
            make(layers=[], test_time_augmentation=[RandomFlip()]).fit(X.reshape(90, -1), Y)
        clf = make().fit(X, Y).set_params(test_time_augmentation=[Conv2D(3)])
        with pytest.raises(ValueError, match=r"layers, got Conv2D\(filters=3\) in it"):
            clf.predict(X)
