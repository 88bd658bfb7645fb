"""Mixup and functions that augment: they change the mini-batches of training, and nothing else."""

import copy
import pickle

import numpy as np
import pytest
import reference
from checks import build
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from skconvnet import ConvNetClassifier, ConvNetRegressor, load
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.layers import (
    Augment,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Mixup,
    RandomFlip,
    Rescaling,
    Standardize,
)
from skconvnet.losses import CROSS_ENTROPY, LOSSES, Objective
from skconvnet.optimizers import SGD

rng = np.random.default_rng(0)
X = rng.random((61, 6, 5, 2))
y = np.arange(61) % 3
X[..., 0] += y.reshape(-1, 1, 1)


def keep(images, rng):
    return images


def double(images, rng):
    images *= 2
    return images


def shift_by_chance(images, rng):
    return images + rng.standard_normal((len(images), 1, 1, 1))


def make_classifier(*layers, **params):
    params = {"max_iter": 2, "batch_size": 20, "random_state": 0, **params}
    return ConvNetClassifier([*layers, Conv2D(4, activation="relu"), BatchNorm()], **params)


def forget_duration(history):
    return [{name: value for name, value in record.items() if name != "duration"} for record in history]


def assert_same_training(first, second):
    np.testing.assert_array_equal(first.network_.params, second.network_.params)
    assert forget_duration(first.history_) == forget_duration(second.history_)


class TestMixup:
    @pytest.fixture
    def fixed(self, monkeypatch):
        """Mix every mini-batch with lambda 0.3 and the partner offset 5."""
        monkeypatch.setattr(
            Mixup, "draw", lambda self, sizes, rng: (np.full(len(sizes), 0.3), np.full(len(sizes), 5))
        )

    @staticmethod
    def take_step(network, images, target, weight, loss, n_threads=2):
        """Return the record of a step on one batch, and the gradient that the step shows."""
        before = network.params.copy()
        trainer = Trainer(network, SGD(), np.random.RandomState(0), loss)
        record = trainer.prepare(
            TrainingData(images, target, weight), StepSettings(len(images), 0.5, False, n_threads)
        )()
        gradient, network.params = (before - network.params) / 0.5, before
        return record, gradient[: network.n_params]

    @pytest.mark.parametrize(
        "name, classes",
        [(name, classes) for name, cls in LOSSES.items() for classes in {cls.classifies, False}],
    )
    def test_a_step_follows_central_differences_of_the_reference(self, fixed, name, classes):
        layers = [Standardize(), Rescaling(2, offset=1), Mixup(), Conv2D(3, activation="tanh")]
        network, rng = build((2, 6, 5), layers), np.random.RandomState(1)
        images, weight = rng.standard_normal((37, 2, 6, 5)), rng.rand(37) + 0.5
        target = rng.randint(0, 3, 37) if classes else rng.rand(37, 3) * 3
        if not classes and name in ("cross_entropy", "binary_cross_entropy", "focal"):
            target = np.eye(3)[rng.randint(0, 3, 37)]
        mixed = reference.mixup(images, 0.3, 5)
        smoothing = 0.1 if LOSSES[name].classifies else 0

        def measure(params):
            network.params = params
            outputs, total = network.forward(mixed), 0
            for part, offset in ((0.3, 0), (0.7, 5)):
                t, w = np.roll(target, -offset, axis=0), np.roll(weight, -offset)
                if name == "cross_entropy":
                    loss, _ = reference.cross_entropy(outputs, t, w, smoothing)
                else:
                    loss, _ = reference.mean_loss(getattr(reference, name), outputs, t, w, smoothing)
                total += part * loss
            return total

        params = network.params.copy()
        record, gradient = self.take_step(network, images, target, weight, Objective(name, smoothing))
        assert record["train_loss"] == pytest.approx(measure(params), rel=1e-12)
        for _ in range(3):
            along = np.zeros_like(params)
            along[: network.n_params] = gradient / np.linalg.norm(gradient) + rng.standard_normal(
                network.n_params
            ) / np.sqrt(4 * network.n_params)
            derivative = (measure(params + 1e-6 * along) - measure(params - 1e-6 * along)) / 2e-6
            assert derivative == pytest.approx(gradient @ along[: network.n_params], rel=1e-7)

    @pytest.mark.parametrize("form", [np.uint8, np.float32, np.float64])
    @pytest.mark.parametrize("n", [2, 7, 37])
    def test_images_of_any_type_are_mixed_with_their_partners(self, isa, dtype, fixed, form, n):
        network, rng = (
            build((2, 6, 5), [Mixup(), Conv2D(4, activation="tanh"), BatchNorm()], dtype=dtype),
            np.random.RandomState(1),
        )
        images, target = rng.randint(0, 4, (n, 2, 6, 5)).astype(form), rng.randint(0, 3, n)
        _, gradient = self.take_step(network, images, target, np.ones(n), CROSS_ENTROPY)
        mixed = reference.mixup(images.astype(float), 0.3, 5).astype(dtype)
        expected = sum(
            part * network.loss(mixed, np.roll(target, -offset))[2] for part, offset in ((0.3, 0), (0.7, 5))
        )
        np.testing.assert_allclose(
            gradient, expected, rtol=0, atol=20 * np.finfo(dtype).eps * abs(expected).max()
        )

    def test_mixtures_of_one_image_have_its_loss(self):
        # then only the order of targets and weights changes
        images, target, weight = np.repeat(X[:1], 20, axis=0), np.arange(20) % 3, np.arange(1.0, 21)
        mixed, plain = (
            ConvNetClassifier([layer, Dense(4, activation="tanh")], optimizer="sgd", random_state=0)
            .fit(images, target, weight)
            .network_.params
            for layer in (Mixup(2), None)
        )
        np.testing.assert_allclose(mixed, plain, rtol=1e-12)

    def test_draws(self):
        sizes = np.r_[np.full(4000, 7), np.full(4000, 2), 1]
        for alpha in (0.2, 1.0, 8.0):
            lambdas, offsets = Mixup(alpha).draw(sizes, np.random.RandomState(0))
            assert set(offsets[:4000]) == {1, 2, 3, 4, 5, 6}
            assert set(offsets[4000:8000]) == {1}
            assert (lambdas[-1], offsets[-1]) == (1, 0)
            assert abs(lambdas.mean() - 0.5) < 0.02
            # the variance of Beta(a, a)
            assert lambdas.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
        for alpha in (1e-6, 1e6):
            lambdas, _ = Mixup(alpha).draw(sizes, np.random.RandomState(0))
            assert ((lambdas >= 0) & (lambdas <= 1)).all()

    @pytest.mark.parametrize("precision", ["float32", "float64"])
    def test_results_depend_on_random_state_alone(self, precision):
        layers = [Standardize(), Mixup(), Dropout(0.2)]
        fits = [
            make_classifier(*layers, dtype=precision, n_threads=n_threads).fit(X, y)
            for n_threads in (1, 2, 3, 8)
        ]
        for clf in fits[1:]:
            assert_same_training(clf, fits[0])
        other = make_classifier(*layers, dtype=precision, random_state=1).fit(X, y)
        plain = make_classifier(Standardize(), None, Dropout(0.2), dtype=precision).fit(X, y)
        for clf in (other, plain):
            assert (clf.network_.params != fits[0].network_.params).any()

    def test_every_epoch_draws_new_mixtures(self, monkeypatch):
        seen, draw = [], Mixup.draw
        monkeypatch.setattr(Mixup, "draw", lambda *args: seen.append(draw(*args)) or seen[-1])
        clf = make_classifier(Mixup(), max_iter=3).fit(X, y)
        clf.partial_fit(X, y)
        lambdas = np.array([lambdas for lambdas, _ in seen])
        assert lambdas.shape == (4, 4) and len(np.unique(lambdas[:, :3])) == 12
        assert (lambdas[:, 3] == 1).all()  # the last mini-batch has one sample

    def test_score_counts_a_samples_own_target(self, monkeypatch):
        # the outputs are the pixels, the largest of which is in the class of the larger part
        images, target = np.eye(10)[np.arange(10)], np.arange(10)
        for lam, score in ((0.3, 0.0), (0.8, 1.0)):
            drawn = np.array([lam]), np.array([5])
            monkeypatch.setattr(Mixup, "draw", lambda *_, drawn=drawn: drawn)
            network = Network([Mixup()], (10,), dtype=np.float64)
            trainer = Trainer(network, SGD(), np.random.RandomState(0))
            assert (
                trainer.prepare(TrainingData(images, target, np.ones(10)), StepSettings(10, 0.1, False, 2))()[
                    "train_score"
                ]
                == score
            )

    def test_prediction_does_not_mix(self):
        network = build((2, 6, 5), [Mixup(), Conv2D(4)])
        plain = build((2, 6, 5), [Conv2D(4)])
        images = np.moveaxis(X, -1, 1)
        np.testing.assert_array_equal(network.forward(images), plain.forward(images))

    def test_samples_of_weight_zero_are_no_partners(self):
        weight = np.ones(61)
        weight[::4] = 0
        wild = X.copy()
        wild[::4] = 1e9
        first, second = (make_classifier(Mixup()).fit(images, y, weight) for images in (X, wild))
        assert_same_training(first, second)

    def test_search_and_other_estimators(self, tmp_path):
        search = GridSearchCV(make_classifier(Mixup(name="mix")), {"layers__mix__alpha": [0.1, 1.0]}, cv=2)
        best = search.fit(X, y).best_estimator_
        assert best.layers[0] == Mixup(search.best_params_["layers__mix__alpha"], name="mix")
        best.save(tmp_path / "model")
        for again in (load(tmp_path / "model"), pickle.loads(pickle.dumps(best))):
            assert_same_training(again.partial_fit(X, y), clone(best).fit(X, y).partial_fit(X, y))
        reg = ConvNetRegressor([Mixup(), Dense(5)], loss="huber", max_iter=2, random_state=0)
        assert np.isfinite(reg.fit(X, np.c_[y, -y]).predict(X)).all()
        several = make_classifier(Mixup(), loss="binary_cross_entropy").fit(X, np.eye(3, dtype=int)[y])
        assert several.predict(X).shape == (61, 3)


class TestAugment:
    @pytest.mark.parametrize("following", [[], [Mixup()], [Standardize(), Dropout(0.3)]], ids=str)
    @pytest.mark.parametrize("images", [X, (X * 99).astype(np.uint8)], ids=["float64", "uint8"])
    def test_an_identity_function_changes_no_result(self, following, images):
        weight = np.arange(61.0) % 4
        first, second = (
            make_classifier(*before, *following).fit(images, y, weight) for before in ([], [Augment(keep)])
        )
        assert_same_training(first, second)
        np.testing.assert_array_equal(first.predict_proba(images), second.predict_proba(images))

    @pytest.mark.parametrize("following", [[], [Mixup(0.7)]], ids=str)
    def test_the_network_trains_on_what_the_function_returns(self, following):
        brighten = Augment(lambda images, rng: images + 1)  # in the other order, the result would differ
        augmented = make_classifier(Augment(double), brighten, *following).fit(X, y)
        assert_same_training(augmented, make_classifier(None, *following).fit(2 * X + 1, y))
        # regressors have another score
        regs = [
            ConvNetRegressor([*first, *following, Dense(4)], max_iter=2, batch_size=20, random_state=0)
            for first in ([Augment(double)], [])
        ]
        assert_same_training(regs[0].fit(X, y / 3), regs[1].fit(2 * X, y / 3))

    @pytest.mark.parametrize(
        "view, params, shape",
        [
            (lambda X: X, {}, (6, 5, 2)),
            (lambda X: X.astype(np.float32), {}, (6, 5, 2)),
            (lambda X: np.moveaxis(X, -1, 1), {"data_format": "channels_first"}, (2, 6, 5)),
            (lambda X: X.reshape(61, -1), {"input_shape": (6, 5, 2)}, (6, 5, 2)),
            (lambda X: X[..., 0], {}, (6, 5, 1)),
            (lambda X: (X[..., :1] * 9).astype(np.uint8), {"dtype": "float64"}, (6, 5, 1)),
            (lambda X: X.reshape(61, -1), {"layers": [Dense(3)]}, (60,)),
        ],
    )  # fmt: skip
    def test_functions_get_the_images_as_they_were_given(self, view, params, shape):
        images, got = view(X), []
        images.flags.writeable = False

        def note(batch, rng):
            assert isinstance(rng, np.random.RandomState)
            assert batch.flags.writeable and batch.flags.c_contiguous and type(batch) is np.ndarray
            got.append(batch.copy())
            batch[...] = 0.5  # in place, which changes a copy
            return batch

        params = {"layers": [Conv2D(2)], **params}
        params["layers"] = [Augment(note), *params["layers"]]
        clf = ConvNetClassifier(**params, max_iter=2, batch_size=20, shuffle=False, random_state=0)
        clf.fit(images, y)
        clf.predict(images)
        assert [len(batch) for batch in got] == [20, 20, 20, 1] * 2
        assert {batch.dtype for batch in got} == {clf.network_.dtype}
        np.testing.assert_array_equal(
            np.concatenate(got[:4]), images.reshape(61, *shape).astype(clf.network_.dtype)
        )

    def test_random_numbers_follow_from_random_state(self):
        fits = [
            make_classifier(Augment(shift_by_chance), random_state=seed, n_threads=n_threads).fit(X, y)
            for seed, n_threads in ((0, 1), (0, 2), (1, 1))
        ]
        assert_same_training(fits[0], fits[1])
        assert (fits[0].network_.params != fits[2].network_.params).any()
        drawn = []
        function = Augment(lambda images, rng: drawn.append(rng.random_sample()) or images)
        make_classifier(function, max_iter=3).fit(X, y)
        assert len(set(drawn)) == 12

    def test_standardize_learns_from_the_images_as_they_were(self):
        clf = make_classifier(Augment(double), Standardize()).fit(X, y)
        np.testing.assert_allclose(clf.network_.weights["1.running_mean"], X.mean(axis=(0, 1, 2)))

    def test_validation_and_prediction_do_nothing(self):
        calls = []
        function = Augment(lambda images, rng: calls.append(len(images)) or images)
        clf = make_classifier(function, early_stopping=True, validation_fraction=0.2, batch_size=16).fit(X, y)
        assert calls == [16, 16, 16] * 2
        clf.predict(X), clf.score(X, y), clf.network_.summary()
        clf.network_.loss(np.moveaxis(X, -1, 1), y)
        assert len(calls) == 6

    @pytest.mark.parametrize(
        "returns, message",
        [
            (lambda images: images[:, 1:], r"returned shape \(20, 5, 5, 2\) and dtype float64"),
            (lambda images: images[1:], r"returned shape \(19, 6, 5, 2\)"),
            (lambda images: None, r"returned shape \(\) and dtype object"),
            (lambda images: images + 1j, "dtype complex128"),
            (lambda images: images * np.nan, "returned values that are not finite"),
            (lambda images: images.astype(np.longdouble) * 1e300 * 1e300, "not finite"),
        ],
    )
    def test_what_cannot_be_trained_on_raises_and_leaves_the_model(self, returns, message):
        wrong = []

        def breaks(images, rng):
            return returns(images) if wrong else images

        clf = make_classifier(Augment(breaks)).fit(X, y)
        before = clf.network_.params.copy()
        wrong.append(True)
        with (
            pytest.raises(
                ValueError,
                match=rf"Augment: function must return finite .* \(20, 6, 5, 2\).*breaks.*{message}",
            ),
            np.errstate(all="ignore"),
        ):
            clf.partial_fit(X, y)
        np.testing.assert_array_equal(clf.network_.params, before)

    def test_ctrl_c_in_a_function_leaves_the_last_step(self):
        calls = []

        def interrupt(images, rng):
            calls.append(len(images))
            if len(calls) == 7:
                raise KeyboardInterrupt
            return images

        with pytest.warns(UserWarning, match="interrupted after 1 whole epochs"):
            clf = make_classifier(Augment(interrupt)).fit(X, y)
        assert clf.t_ == 6

    def test_any_form_of_returned_array(self):
        forms = [
            lambda images, rng: np.asfortranarray(images),
            lambda images, rng: images.astype(">f8"),
            lambda images, rng: images[:, ::-1].copy()[:, ::-1],
            lambda images, rng: images.tolist(),
        ]
        plain = make_classifier(None).fit(X, y)
        for form in forms:
            assert_same_training(make_classifier(Augment(form)).fit(X, y), plain)

    def test_clone_pickle_print_and_save(self, tmp_path):
        clf = make_classifier(Augment(shift_by_chance, name="shift")).fit(X, y)
        assert clf.get_params()["layers__shift__function"] is shift_by_chance
        assert "Augment(function=<function shift_by_chance" in repr(clf.layers)
        for again in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf), clone(clf).fit(X, y)):
            assert again.layers == clf.layers
            assert_same_training(again.partial_fit(X, y), clone(clf).fit(X, y).partial_fit(X, y))
        with pytest.raises(TypeError, match=r"save: layers\[0\]\.function is <function shift_by_chance"):
            clf.save(tmp_path / "model")
        clf.set_params(layers__shift__function=double)
        assert clf.layers[0] == Augment(double, name="shift")
        assert len(cross_val_score(clf, X, y, cv=2)) == 2

    def test_an_object_that_is_called_stays_the_same(self):
        class Count:
            def __init__(self):
                self.calls = 0

            def __call__(self, images, rng):
                self.calls += 1
                return images

        count = Count()
        clf = make_classifier(Augment(count), max_iter=1).fit(X, y)
        for _ in range(3):
            clf.partial_fit(X, y)
        assert count.calls == 16


@pytest.mark.parametrize(
    "layers, message",
    [
        ([Conv2D(2), Mixup()], "Mixup must be the first of the layers; only Augment, Standardize, Rescaling may"),
        ([Mixup(), Mixup()], "Mixup must be the first .* got Mixup '0'"),
        ([Mixup(), Standardize()], "Standardize must be the first of the layers; only Augment, RandomFlip, .* may"),
        ([Standardize(), Augment(keep)], "Augment must be the first of the layers; only Augment may come before"),
        ([Rescaling(2), Augment(keep)], "got Rescaling '0'"),
        ([RandomFlip(), Standardize(), Mixup()], r"Mixup must .*, got RandomFlip '0'\. Put Mixup before it"),
    ],
)  # fmt: skip
def test_positions_where_they_do_not_belong(layers, message):
    with pytest.raises(ValueError, match=message):
        make_classifier(*layers).fit(X, y)
    make_classifier(Augment(keep), Augment(double), Standardize(), Rescaling(2), Mixup()).fit(X, y)


class OwnSquaredError:
    """The loss "squared_error", as one of the user's."""

    def value_and_gradient(self, outputs, targets):
        error = outputs - targets
        return (error**2).mean(axis=1), 2 * error / error.shape[1]


class TestAugmentedTargets:
    """Functions (X, y, rng) -> (X, y)."""

    values = np.stack([X.mean(axis=(1, 2, 3)), X[:, 2:].mean(axis=(1, 2, 3))], axis=1) * 100 + 7

    @staticmethod
    def make(cls=ConvNetRegressor, *functions, **params):
        layers = [*map(Augment, functions), Conv2D(2, activation="tanh"), Dense(5)]
        return cls(layers, **{"max_iter": 3, "batch_size": 20, "random_state": 0, **params})

    def test_the_network_learns_what_the_function_returns(self):
        mean = self.values.mean(axis=0)

        def mirror(images, y, rng):  # which changes neither mean nor variance
            return 2 * images, 2 * mean - y

        def keep_both(images, y, rng):
            return images, y

        for functions in ((mirror,), (mirror, keep_both), (keep, mirror), (mirror, mirror, mirror)):
            changed = self.make(ConvNetRegressor, *functions).fit(X, self.values)
            factor = 2 ** functions.count(mirror)
            expected = self.make(ConvNetRegressor, keep).fit(factor * X, 2 * mean - self.values)
            np.testing.assert_allclose(
                changed.network_.params, expected.network_.params, rtol=1e-8, atol=1e-10
            )
            for name in ("train_loss", "train_score"):
                assert changed.history_[-1][name] == pytest.approx(expected.history_[-1][name], rel=1e-8)

    @pytest.mark.parametrize("name", ["squared_error", "absolute_error", "poisson", "own"])
    def test_targets_have_the_units_of_y(self, name):
        loss = OwnSquaredError() if name == "own" else name
        seen = []

        def turn(images, y, rng):
            seen.append(y.copy())
            y[...] = y[:, ::-1].copy()  # in place: it is a copy
            return images, y

        other = self.values[:, ::-1]
        turned = self.make(ConvNetRegressor, turn, loss=loss, shuffle=False).fit(X, self.values)
        np.testing.assert_array_equal(np.concatenate(seen[:4]), self.values)
        np.testing.assert_array_equal(np.concatenate(seen[-4:]), self.values)  # in every epoch
        start = self.make(ConvNetRegressor, turn, loss=loss, max_iter=1, learning_rate=1e-300).fit(
            X, self.values
        )
        predicted = start.predict(X)
        expected = {
            "squared_error": (predicted - other) ** 2,
            "absolute_error": np.abs(predicted - other),
            "poisson": predicted - other * np.log(np.maximum(predicted, 1e-9)),
            "own": (predicted - other) ** 2,
        }[name]
        assert start.loss_ == pytest.approx(expected.mean(), rel=1e-6)
        assert turned.history_[-1]["train_loss"] != pytest.approx(start.loss_, rel=1e-3)

    def test_points_move_with_the_image(self):
        """Images have one bright pixel; the network learns its column from a half of the columns."""
        rng = np.random.default_rng(0)
        columns, rows = rng.integers(0, 4, 300), rng.integers(0, 6, 300)
        images = np.zeros((300, 6, 8))
        images[np.arange(300), rows, columns] = 1

        def flip(batch, y, rng):
            flipped = rng.random_sample(len(batch)) < 0.5
            batch[flipped] = batch[flipped, :, ::-1]
            y[flipped] = 7 - y[flipped]
            return batch, y

        layers = [Augment(flip), Dense(16, activation="relu")]
        reg = ConvNetRegressor(layers, max_iter=60, learning_rate=0.01, random_state=0).fit(images, columns)
        assert np.abs(reg.predict(images[:, :, ::-1]) - (7 - columns)).max() < 0.5

    @pytest.mark.parametrize("n_threads", [2, 3])
    def test_any_number_of_threads_gives_the_same_bits(self, n_threads):
        def jitter(images, y, rng):
            return images + rng.normal(0, 0.1, images.shape), y + rng.normal(0, 1, y.shape)

        fits = [self.make(ConvNetRegressor, jitter, n_threads=n).fit(X, self.values) for n in (1, n_threads)]
        assert_same_training(*fits)

    def test_labels_and_classes(self):
        names = np.array(["a", "b", "c"])[y]

        def rename(images, labels, rng):
            assert labels.dtype == names.dtype
            return images, np.where(labels == "a", "b", np.where(labels == "b", "a", labels))

        renamed = self.make(ConvNetClassifier, rename).fit(X, names)
        plain = self.make(ConvNetClassifier, keep).fit(X, rename(X, names, None)[1])
        assert_same_training(renamed, plain)
        several = np.eye(3, dtype=int)[y]
        options = {"loss": "binary_cross_entropy"}
        inverted = self.make(ConvNetClassifier, lambda X, y, rng: (X, 1 - y), **options).fit(X, several)
        assert_same_training(inverted, self.make(ConvNetClassifier, keep, **options).fit(X, 1 - several))

    def test_probabilities_that_are_mixed(self):
        """CutMix: a part of the image of another sample, and that part of its label."""
        soft = np.eye(3)[y] * 0.9 + 0.1 / 3

        def cut(images, labels, rng):
            order = rng.permutation(len(images))
            images[:, :3] = images[order, :3]
            return images, (labels + labels[order]) / 2

        clf = self.make(ConvNetClassifier, cut).fit(X, soft)
        assert np.isfinite(clf.loss_) and clf.predict(X).shape == (61,)

    def test_points_may_leave_the_image(self):
        """Values may become missing."""

        def drop(images, y, rng):
            y[:, 1] = np.nan
            return images, y

        start = self.make(ConvNetRegressor, drop, max_iter=1, learning_rate=1e-300).fit(X, self.values)
        expected = np.mean((start.predict(X)[:, 0] - self.values[:, 0]) ** 2)
        assert start.loss_ == pytest.approx(expected, rel=1e-6)
        several = self.make(
            ConvNetClassifier,
            lambda X, y, rng: (X, np.where(y, np.nan, 0)),
            loss="binary_cross_entropy",
            max_iter=40,
            learning_rate=0.02,
        )
        assert several.fit(X, np.eye(3, dtype=int)[y]).predict(X).sum() == 0

    def test_validation_data_are_not_changed(self):
        def spoil(images, y, rng):
            return images, y * 0

        reg = self.make(ConvNetRegressor, spoil, max_iter=1, learning_rate=1e-300)
        reg.fit(X, self.values, X_val=X, y_val=self.values)
        assert reg.validation_loss_curve_[0] == pytest.approx(
            np.mean((reg.predict(X) - self.values) ** 2), rel=1e-6
        )
        stopped = self.make(ConvNetRegressor, spoil, early_stopping=True).fit(X, self.values)
        assert stopped.validation_loss_curve_[-1] > 100
        np.testing.assert_array_equal(
            self.make(ConvNetRegressor, spoil).partial_fit(X, self.values).predict(X).shape, (61, 2)
        )

    @pytest.mark.parametrize(
        "function, found",
        [
            (lambda X, y, rng: X, "must return a pair"),
            (
                lambda X, y, rng: (X, y[:1]),
                r"must return y of the shape \(20, 2\) that it got.* returned y of shape",
            ),
            (lambda X, y, rng: (X[1:], y), "returned shape"),
            (lambda X, y, rng: (X, y * np.inf), "y that is not like that of fit: y has values beyond"),
            (lambda X, y, rng: (X, y.astype(str)), "y that is not like that of fit: y must be real numbers"),
        ],
    )
    def test_what_is_refused(self, function, found):
        reg = self.make().fit(X, self.values)
        params = reg.network_.params.copy()
        reg.set_params(layers=[Augment(function), *reg.layers])
        with pytest.raises(ValueError, match=found):
            reg.fit(X, self.values)
        np.testing.assert_array_equal(reg.network_.params, params)

    def test_unknown_labels_are_refused(self):
        with pytest.raises(ValueError, match=r"y that is not like that of fit: y has labels \[9\]"):
            self.make(ConvNetClassifier, lambda X, y, rng: (X, y * 0 + 9)).fit(X, y)
        with pytest.raises(ValueError, match="y contains NaN"):
            self.make(ConvNetRegressor, lambda X, y, rng: (X, y * np.nan)).fit(X, y / 3)

    def test_arguments(self):
        assert Augment(lambda X, y, rng: (X, y)).changes_targets
        for function in (keep, lambda X, rng, y=None: X, lambda *arguments: arguments[0]):
            assert not Augment(function).changes_targets
        with pytest.raises(TypeError, match="function must be a function"):
            Augment(lambda X, y, z, rng: X)
