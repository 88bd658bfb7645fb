"""Validation sets, early stopping, and continuing with a fitted network."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import (
    balanced_accuracy_score,
    log_loss,
    make_scorer,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from sklearn.model_selection import train_test_split

from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet._validation import split_off
from skconvnet.layers import BatchNorm, Conv2D, Dense, Dropout, MaxPool2D, Standardize
from skconvnet.optimizers import SGD, Adam
from skconvnet.schedules import ReduceOnPlateau

DIGITS = load_digits(return_X_y=True)
X, y = DIGITS[0][:400].reshape(-1, 8, 8) / 16, DIGITS[1][:400]
X_val, y_val = DIGITS[0][400:600].reshape(-1, 8, 8) / 16, DIGITS[1][400:600]
LAYERS = [Conv2D(8, activation="relu"), BatchNorm(), MaxPool2D(), Dropout(0.2), Dense(16, activation="relu")]


NAMES = ["epoch", "train_loss", "train_score", "valid_loss", "valid_score", "learning_rate", "duration"]


def make(**params):
    return ConvNetClassifier(
        **{
            "layers": LAYERS,
            "max_iter": 4,
            "learning_rate": 0.01,
            "random_state": 0,
            "dtype": "float64",
            **params,
        }
    )


def test_a_given_validation_set_is_evaluated_after_each_epoch():
    weight = np.random.default_rng(0).random(200) * (np.arange(200) % 5 > 0)
    clf = make().fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    last = clf.history_[-1]
    assert last["valid_loss"] == pytest.approx(
        log_loss(y_val, clf.predict_proba(X_val), sample_weight=weight), rel=1e-9
    )
    assert last["valid_score"] == pytest.approx(clf.score(X_val, y_val, weight), rel=1e-9)
    assert clf.validation_loss_curve_ == [record["valid_loss"] for record in clf.history_]
    assert clf.validation_scores_ == [record["valid_score"] for record in clf.history_]
    assert clf.best_iter_ == clf.n_iter_ == 4
    # validation does not change the training
    np.testing.assert_array_equal(clf.network_.params, make().fit(X, y).network_.params)
    assert make().fit(X, y).validation_scores_ is None


@pytest.mark.parametrize(
    "loss, metric",
    [("squared_error", mean_squared_error), ("absolute_error", mean_absolute_error)],
)
def test_regressors_are_validated_by_their_loss_and_r2(loss, metric):
    data, target = load_diabetes(return_X_y=True)
    target = np.stack([target, -2 * target + 5], axis=1) / 100
    reg = ConvNetRegressor([Dense(10, activation="tanh")], loss=loss, max_iter=3, random_state=0)
    for weight in (None, np.random.default_rng(0).random(142)):
        validation = {"X_val": data[300:], "y_val": target[300:], "sample_weight_val": weight}
        last = reg.fit(data[:300], target[:300], **validation).history_[-1]
        for name, measure in (("valid_loss", metric), ("valid_score", r2_score)):
            expected = measure(target[300:], reg.predict(data[300:]), sample_weight=weight)
            assert last[name] == pytest.approx(expected, rel=1e-6)
    # R2 of samples that are split off uses the variance of their own targets
    reg.set_params(early_stopping=True, max_iter=1).fit(data, target)
    _, rows = train_test_split(np.arange(442), test_size=0.1, random_state=reg._split_seed)
    expected = r2_score(target[rows], reg.predict(data[rows]))
    assert reg.history_[0]["valid_score"] == pytest.approx(expected, rel=1e-6)


def test_several_labels_are_validated():
    labels = np.stack([y % 2, y > 4], axis=1).astype(int)
    clf = make(loss="binary_cross_entropy", early_stopping=True, label_smoothing=0.1)
    clf.fit(X, labels, X_val=X[:100], y_val=labels[:100])
    best = clf.best_iter_ - 1
    assert clf.history_[best]["valid_score"] == pytest.approx(clf.score(X[:100], labels[:100]))


def test_early_stopping_keeps_the_best_weights():
    clf = make(early_stopping=True, n_iter_no_change=3, max_iter=200, learning_rate=0.1)
    clf.fit(X, y, X_val=X_val, y_val=y_val)
    curve = clf.validation_loss_curve_
    assert 4 <= clf.n_iter_ == len(curve) < 200
    assert clf.best_iter_ == np.argmin(curve) + 1
    assert log_loss(y_val, clf.predict_proba(X_val)) == pytest.approx(min(curve), rel=1e-9)


def test_tol_and_patience():
    clf = make(early_stopping=True, n_iter_no_change=2, max_iter=50, tol=100.0).fit(X, y)
    assert clf.n_iter_ == 3  # the first epoch always is an improvement


@pytest.mark.parametrize("scoring", ["balanced_accuracy", make_scorer(lambda a, b: -np.abs(a - b).mean())])
@pytest.mark.parametrize("form", ["images", "rows", "channels_first", "frame"])
def test_early_stopping_works_with_any_scorer(scoring, form):
    data, options = X, {}
    if form == "channels_first":
        data, options = X[:, None], {"data_format": "channels_first"}
    elif form == "rows":
        data, options = X.reshape(-1, 64), {"input_shape": (8, 8)}
    elif form == "frame":
        data = pd.DataFrame(X.reshape(-1, 64), columns=[f"pixel {k}" for k in range(64)])
        options = {"input_shape": (8, 8)}
    clf = make(early_stopping=True, scoring=scoring, n_iter_no_change=2, max_iter=8, **options)
    clf.fit(data, y, X_val=data[:100], y_val=y[:100])
    scorer = make_scorer(lambda a, b: -np.abs(a - b).mean()) if callable(scoring) else None
    if scorer:
        assert max(clf.validation_scores_) == scorer(clf, data[:100], y[:100])
    assert clf.best_iter_ == np.argmax(clf.validation_scores_) + 1
    split = make(early_stopping=True, scoring=scoring, max_iter=2, **options).fit(data, y)
    assert len(split.validation_scores_) == 2


@pytest.mark.parametrize("whole", [False, True], ids=["fractions", "zeros and ones"])
def test_a_scorer_gets_the_weights_of_the_validation_set(whole):
    weight = (np.arange(200) % 5 > 0) * (1 if whole else np.random.default_rng(0).random(200))
    clf = make(scoring="balanced_accuracy").fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    expected = balanced_accuracy_score(y_val, clf.predict(X_val), sample_weight=weight)
    assert clf.validation_scores_[-1] == pytest.approx(expected, rel=1e-12)
    seen = []
    clf.set_params(scoring=lambda clf, X, y: seen.append(len(X)) or 0.5)
    if whole:  # samples of weight 0 are left out, and equal weights are not passed to the scorer
        clf.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
        assert seen == [160] * 4
    else:
        with pytest.raises(TypeError, match="unexpected keyword argument 'sample_weight'"):
            clf.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)


@pytest.mark.parametrize("score", [None, {"accuracy": 0.5}, "good"])
def test_a_scorer_that_returns_no_number_is_refused(score):
    with pytest.raises(ValueError, match="scoring must return a number, got .* from <function"):
        make(scoring=lambda clf, X, y: score).fit(X, y, X_val=X_val, y_val=y_val)


def test_the_best_epoch_is_the_first_of_the_highest_score():
    def fit(scores):
        options = {"scoring": lambda clf, X, y: scores.pop(0), "max_iter": len(scores), "tol": 0.1}
        return make(early_stopping=True, **options).fit(X, y)

    clf = fit([0.5, 0.9, 0.9, 0.85])
    assert clf.best_iter_ == 2 and clf.n_iter_ == 4
    np.testing.assert_array_equal(clf.network_.params, fit([0.5, 0.9]).network_.params)


def test_a_score_of_nan_is_worse_than_any_other():
    scores = iter([np.nan, 0.5, 0.9, np.nan, 0.7])
    clf = make(early_stopping=True, scoring=lambda clf, X, y: next(scores), max_iter=5).fit(X, y)
    assert clf.best_iter_ == 3


@pytest.mark.parametrize("n_epochs", [0, 3])
def test_interrupted_early_stopping_leaves_the_best_epoch(monkeypatch, n_epochs):
    clf = make(early_stopping=True, warm_start=True, max_iter=2).fit(X, y)
    scores = iter([0.5, 0.9, 0.1][:n_epochs])

    def score(clf, X, y):
        for value in scores:
            return value
        raise KeyboardInterrupt

    clf.set_params(scoring=score, max_iter=10)
    end = "the best of them" if n_epochs else "the last complete step"
    with pytest.warns(UserWarning, match=f"after {2 + n_epochs} whole epochs: the model is that of {end}"):
        clf.fit(X, y)
    assert (clf.n_iter_, clf.best_iter_) == (2 + n_epochs, 4 if n_epochs else 2)
    assert clf.predict(X).shape == y.shape


def spy_on_splits(monkeypatch):
    """Return a list to which the rows of every split are appended."""
    splits = []

    def spy(*args):
        splits.append(split_off(*args))
        return splits[-1]

    monkeypatch.setattr("skconvnet._base.split_off", spy)
    return splits


def test_continuing_validates_on_samples_that_were_not_trained_on(monkeypatch):
    splits = spy_on_splits(monkeypatch)
    clf = make(early_stopping=True, warm_start=True, max_iter=1, random_state=None).fit(X, y)
    clf = pickle.loads(pickle.dumps(clf)).fit(X, y)
    np.testing.assert_array_equal(splits[0], splits[1])
    clf.set_params(warm_start=False).fit(X, y)
    assert (splits[1] != splits[2]).any()


def test_the_split_is_stratified_drawn_from_random_state_and_not_trained_on(monkeypatch):
    splits = spy_on_splits(monkeypatch)
    options = {"early_stopping": True, "validation_fraction": 0.25, "n_iter_no_change": 10}
    first, second = (make(**options).fit(X, y) for _ in range(2))
    rows = splits[0]
    np.testing.assert_array_equal(rows, splits[1])
    assert len(np.unique(rows)) == 100
    assert np.abs(np.bincount(y[rows]) - np.bincount(y) / 4).max() <= 1
    changed = X.copy()
    changed[rows] = 0.5
    third = make(**options).fit(changed, y)
    assert third.loss_curve_ == first.loss_curve_ == second.loss_curve_
    assert third.validation_loss_curve_ != first.validation_loss_curve_
    # samples of weight 0 are in neither part
    weight = (np.arange(400) % 2).astype(float)
    make(**options).fit(X, y, weight)
    assert (splits[-1] % 2 == 1).all() and len(splits[-1]) == 50
    # the validation loss uses the weights of the samples that are split off
    weight = np.random.default_rng(0).random(400)
    clf, rows = make(**options).fit(X, y, weight), splits[-1]
    expected = log_loss(y[rows], clf.predict_proba(X[rows]), sample_weight=weight[rows])
    assert clf.history_[clf.best_iter_ - 1]["valid_loss"] == pytest.approx(expected, rel=1e-9)


def test_plateaus_are_those_of_the_validation_loss():
    schedule = ReduceOnPlateau(0.05, factor=0.5, patience=1)
    clf = make(learning_rate=schedule, max_iter=30).fit(X, y, X_val=X_val, y_val=y_val)
    memories = [schedule.start()]
    for loss in clf.validation_loss_curve_:
        memories.append(schedule.follow(memories[-1], loss))
    rates = [record["learning_rate"] for record in clf.history_]
    assert rates == [memory.rate for memory in memories[:-1]] and rates[-1] < rates[0]


@pytest.mark.parametrize("optimizer", ["adam", SGD(momentum=0.9)])
def test_continued_training_equals_training_in_one_run(optimizer):
    options = {"optimizer": optimizer, "dtype": "float32"}
    whole = make(**options).fit(X, y)
    warm = make(max_iter=2, warm_start=True, **options).fit(X, y)
    warm.fit(X, y)
    parts = make(**options)
    for _ in range(4):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y, classes=np.arange(10))))
    for clf in (warm, parts):
        np.testing.assert_array_equal(clf.network_.params, whole.network_.params)
        assert clf.loss_curve_ == whole.loss_curve_ and clf.t_ == whole.t_
    again = make(max_iter=2, **options).fit(X, y)
    assert again.fit(X, y).n_iter_ == 2


def test_curves_have_a_gap_where_nothing_was_validated():
    clf = make(layers=[Dense(3)], max_iter=2, warm_start=True).fit(X, y)
    assert clf.validation_loss_curve_ is None and clf.validation_scores_ is None
    clf.fit(X, y, X_val=X_val, y_val=y_val)
    clf.partial_fit(X, y)
    for curve, name in ((clf.validation_loss_curve_, "valid_loss"), (clf.validation_scores_, "valid_score")):
        expected = [record[name] for record in clf.history_[2:4]]
        np.testing.assert_array_equal(curve, [np.nan, np.nan, *expected, np.nan])


def test_a_failure_while_continuing_leaves_the_model_and_its_history():
    clf = make(warm_start=True, max_iter=2).fit(X, y)
    params, history = clf.network_.params.copy(), list(clf.history_)
    scores = [0.5]  # the scorer fails after the second epoch
    with pytest.raises(IndexError):
        clf.set_params(scoring=lambda clf, X, y: scores.pop()).fit(X, y, X_val=X_val, y_val=y_val)
    assert clf.history_ == history and clf.n_iter_ == 2
    np.testing.assert_array_equal(clf.network_.params, params)


def test_changes_that_do_not_fit_the_network_are_refused():
    clf = make(warm_start=True).fit(X, y)
    before = clf.network_.params.copy()
    for params, message in (
        ({"layers__0__filters": 9}, "layers is .* but the fitted network has"),
        ({"dtype": "float32"}, "dtype is 'float32', but the fitted network has 'float64'"),
        ({"loss": "squared_error"}, "loss is 'squared_error', but the fitted network has 'cross_entropy'"),
    ):
        old = clf.get_params()
        clf.set_params(**params)
        for method in (clf.fit, clf.partial_fit):
            with pytest.raises(ValueError, match=message):
                method(X, y)
        clf.set_params(**old)
    with pytest.raises(ValueError, match=r"y has labels \[11\], which are not among the classes"):
        clf.fit(X, np.where(y == 3, 11, y))
    np.testing.assert_array_equal(clf.network_.params, before)


def test_another_optimizer_starts_with_a_new_state_and_other_settings_keep_it():
    clf = make(warm_start=True, max_iter=1).fit(X, y)
    state = clf._trainer._state.copy()
    clf.set_params(optimizer=Adam(beta_1=0.8), label_smoothing=0.1).fit(X, y)
    assert (clf._trainer._state != 0).any() and clf._trainer.loss.label_smoothing == 0.1
    clf.set_params(optimizer=SGD(), learning_rate=1e-30).fit(X, y)
    assert clf.n_iter_ == 3 and state.shape == clf._trainer._state.shape
    assert not clf._trainer._state[1].any()


def test_standardize_learns_in_the_first_call_from_samples_of_weight():
    layers = [Standardize(), Dense(8)]
    data = X * 50 + 1000
    weight = (np.arange(400) < 300).astype(float)
    clf = make(layers=layers).fit(data, y, weight)
    assert clf.network_.weights["0.running_mean"][0] == pytest.approx(data[:300].mean(), rel=1e-9)
    again = make(layers=layers).partial_fit(data[:100], y[:100], classes=np.arange(10))
    again.partial_fit(data[100:], y[100:])
    assert again.network_.weights["0.running_mean"][0] == pytest.approx(data[:100].mean(), rel=1e-9)
    assert clf.score(data, y) > 0.5


@pytest.mark.parametrize(
    "given, message",
    [
        ({"X_val": X_val}, "X_val and y_val belong together"),
        ({"y_val": y_val}, "X_val and y_val belong together"),
        ({"sample_weight_val": np.ones(200)}, "sample_weight_val has no samples to weight"),
        ({"X_val": X_val, "y_val": y_val + 5}, r"y has labels \[10, 11, 12, 13, 14\], which are not"),
        ({"X_val": X_val * np.nan, "y_val": y_val}, "^X_val and y_val: Input X contains NaN"),
        ({"X_val": X_val, "y_val": y_val * np.nan}, "^X_val and y_val: Input y contains NaN"),
        ({"X_val": X_val, "y_val": np.eye(10)[y_val]}, r"^X_val and y_val: y .* \(200, 10\)"),
        (
            {"X_val": X_val.reshape(-1, 4, 16), "y_val": y_val},
            r"^X_val and y_val: .* images have shape \(4, 16\)",
        ),
        (
            {"X_val": X_val, "y_val": y_val, "sample_weight_val": np.ones(9)},
            "^X_val and y_val: sample_weight",
        ),
        ({"X_val": X_val, "y_val": y_val[:9]}, "inconsistent numbers of samples"),
        ({"X_val": X_val[:, 1:], "y_val": y_val}, r"^X_val and y_val: X's images have shape \(7, 8\)"),
        ({"X_val": X_val, "y_val": y_val, "sample_weight_val": np.zeros(200)}, "weight"),
    ],
)
def test_a_wrong_validation_set_is_refused(given, message):
    clf = make().fit(X, y)
    before = clf.network_.params.copy()
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y, **given)
    np.testing.assert_array_equal(clf.network_.params, before)


def test_too_few_samples_to_split():
    with pytest.raises(
        ValueError, match="early_stopping could not split off validation_fraction=0.1 of the 12"
    ):
        make(early_stopping=True).fit(X[:12], y[:12])


def test_the_table_has_columns_of_the_validation(capsys):
    make(verbose=1, max_iter=2).fit(X, y, X_val=X_val, y_val=y_val)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == NAMES
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("scoring", [None, "accuracy"])
def test_data_frames_have_the_columns_of_the_table(scoring):
    options = {"layers": [Dense(3)], "max_iter": 1, "scoring": scoring}
    clf = make(**options).fit(X, y, X_val=X_val, y_val=y_val)
    assert list(pd.DataFrame(clf.history_)) == NAMES
    clf.partial_fit(X, y)
    assert list(pd.DataFrame(clf.history_)) == NAMES
    alone = make(**options).fit(X, y)
    assert list(pd.DataFrame(alone.history_)) == [name for name in NAMES if not name.startswith("valid")]


def test_the_table_has_a_new_header_if_its_columns_change(capsys):
    clf = make(verbose=1, early_stopping=True, warm_start=True, max_iter=1)
    clf.fit(X, y).fit(X, y).partial_fit(X, y).partial_fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "1", "2", "epoch", "3", "4"]
    assert len({len(line) for line in lines[:3]}) == len({len(line) for line in lines[3:]}) == 1
