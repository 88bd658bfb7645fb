"""Schedules: rates computed by hand, rates after the end, and the memory that a trainer keeps."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skconvnet import ConvNetClassifier
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData, train
from skconvnet.layers import Dense
from skconvnet.optimizers import SGD, AdamW
from skconvnet.schedules import (
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    Warmup,
)

rng = np.random.default_rng(0)
X, Y = rng.random((40, 5)), rng.integers(0, 2, 40)


def make_classifier(learning_rate, **params):
    """Return a classifier that takes 4 steps per epoch."""
    params = {"batch_size": 10, "max_iter": 2, "random_state": 0, **params}
    return ConvNetClassifier([Dense(4, activation="tanh")], learning_rate=learning_rate, **params)


def list_rates(clf):
    return [record["learning_rate"] for record in clf.history_]


@pytest.mark.parametrize(
    "schedule, expected",
    [
        (StepDecay(8, 2, 0.5), [8, 8, 4, 4, 2, 2, 1]),
        (ExponentialDecay(8, 2, 0.25), [8, 4, 2, 1, 0.5, 0.25, 0.125]),
        (CosineDecay(8, 4), [8, 4 + 8**0.5, 4, 4 - 8**0.5, 0, 0, 0]),
        (CosineDecay(8, 2, 0.5), [8, 6, 4, 4, 4, 4, 4]),
        (LinearDecay(8, 4), [8, 6, 4, 2, 0, 0, 0]),
        (LinearDecay(8, 2, 0.5), [8, 6, 4, 4, 4, 4, 4]),
        (OneCycle(8, 6, 0.5, 4, 2), [2, 5, 8, 6.25, 2.75, 1, 1]),
        (OneCycle(8, 3, 0.0, 4, 2), [8 - 7 * 0.25, 8 - 7 * 0.75, 1, 1, 1, 1, 1]),
        (OneCycle(8, 1, 0.5, 4, 2), [1] * 7),
        (Warmup(8, 4, 0.5), [4, 5, 6, 7, 8, 8, 8]),
        (Warmup(StepDecay(8, 2, 0.5), 2, 0.25), [2, 5, 8, 8, 4, 4, 2]),
        (Warmup(Warmup(8, 2, 0.5), 2, 0.5), [2, 3, 4, 6, 8, 8, 8]),
    ],
    ids=repr,
)
def test_rates(schedule, expected):
    np.testing.assert_allclose(schedule.rates(np.arange(7)), expected, atol=1e-15)
    np.testing.assert_array_equal(schedule.rates(np.arange(3, 7)), schedule.rates(np.arange(7))[3:])


def test_a_warm_up_to_a_plateau():
    schedule = Warmup(ReduceOnPlateau(8, factor=0.5, patience=0), 4, 0.5)
    memory = schedule.start()
    for loss in (2, 1, 1):
        memory = schedule.follow(memory, loss)
    np.testing.assert_array_equal(schedule.rates(np.arange(6), memory), [2, 2.5, 3, 3.5, 4, 4])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: StepDecay(0, 5), r"StepDecay: initial_learning_rate must be a number in \(0, inf\), got 0"),
        (lambda: Warmup(0.1, 10**400), r"Warmup: warmup_steps must be a number in \(0, inf\), got 1000"),
        (lambda: Warmup(-(10**400), 5), r"learning_rate must be a number in \(0, inf\), got -1000"),
        (lambda: StepDecay(1, 0), r"StepDecay: decay_steps must be a number in \(0, inf\), got 0"),
        (lambda: ExponentialDecay(1, 5, 1.5), r"decay_rate must be a number in \(0, 1\], got 1.5"),
        (lambda: CosineDecay("0.1", 5), "initial_learning_rate must be a number"),
        (lambda: CosineDecay(0.1, 5, -0.1), r"alpha must be a number in \[0, 1\], got -0.1"),
        (lambda: CosineDecay(0.1, np.nan), "decay_steps must be a number"),
        (lambda: LinearDecay(0.1, 0), "decay_steps must be a number"),
        (lambda: LinearDecay(0.1, 5, 1.1), r"alpha must be a number in \[0, 1\], got 1.1"),
        (lambda: OneCycle(0.1, 5, 1.0), r"pct_start must be a number in \[0, 1\), got 1.0"),
        (lambda: OneCycle(0.1, 5, div_factor=0.5), r"div_factor must be a number in \[1, inf\), got 0.5"),
        (lambda: Warmup(None, 5), "Warmup: learning_rate must be a number"),
        (lambda: Warmup(0.1, -5), "Warmup: warmup_steps must be a number"),
        (lambda: ReduceOnPlateau(0.1, factor=1.0), r"factor must be a number in \(0, 1\), got 1.0"),
        (
            lambda: ReduceOnPlateau(0.1, min_learning_rate=0.2),
            "must be at most the initial_learning_rate of 0.1",
        ),
    ],
)
def test_wrong_values_fail_where_they_are_typed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_steps_are_counted_over_the_life_of_a_model():
    schedule = ExponentialDecay(0.1, 10, 0.5)
    whole = make_classifier(schedule, max_iter=4).fit(X, Y)
    clf = make_classifier(schedule).fit(X, Y)
    for _ in range(2):
        clf = pickle.loads(pickle.dumps(clf)).partial_fit(X, Y)
    # the rate of the last of 4 steps
    np.testing.assert_allclose(list_rates(clf), 0.1 * 0.5 ** np.array([0.3, 0.7, 1.1, 1.5]))
    np.testing.assert_array_equal(clf.predict_proba(X), whole.predict_proba(X))


def test_every_step_has_its_own_rate():
    schedule = StepDecay(0.1, 1, 0.5)
    clf = make_classifier(schedule, optimizer="sgd", max_iter=1, shuffle=False).fit(X, Y)
    slow = make_classifier(0.1, optimizer="sgd", max_iter=1, shuffle=False)
    for k in range(4):
        batch = slice(10 * k, 10 * k + 10)
        slow.set_params(learning_rate=0.1 * 0.5**k).partial_fit(X[batch], Y[batch], [0, 1])
    np.testing.assert_array_equal(clf.network_.params, slow.network_.params)


def test_a_schedule_that_ends_early_is_warned_of():
    """Users who count epochs are told that schedules count mini-batches."""
    message = "in 5 of 6 epochs.*mini-batches, not epochs.*4 in an epoch, and 24 in all 6 epochs"
    with pytest.warns(UserWarning, match=message) as caught:
        make_classifier(CosineDecay(0.1, 6), max_iter=6).fit(X, Y)
    assert [warning.filename for warning in caught] == [__file__]
    make_classifier(CosineDecay(0.1, 24), max_iter=6).fit(X, Y)
    make_classifier(CosineDecay(0.1, 14), max_iter=6).fit(X, Y)


def test_a_plateau_is_remembered_and_forgotten():
    # a loss must halve to count as lower
    schedule = ReduceOnPlateau(0.001, factor=0.5, patience=1, threshold=0.5)
    whole = make_classifier(schedule, max_iter=7).fit(X, Y)
    assert list_rates(whole) == [0.001] * 3 + [0.0005] * 2 + [0.00025] * 2
    clf = make_classifier(schedule).fit(X, Y)
    for _ in range(5):
        clf = pickle.loads(pickle.dumps(clf)).partial_fit(X, Y)
    assert list_rates(clf) == list_rates(whole)
    np.testing.assert_array_equal(clf.predict_proba(X), whole.predict_proba(X))
    clf.set_params(learning_rate__patience=2).partial_fit(X, Y)
    assert list_rates(clf)[-1] == 0.001
    assert list_rates(clf.fit(X, Y)) == [0.001] * 2


def test_a_plateau_watches_the_validation_loss():
    network = Network([Dense(3)], (5,), 2)
    network.initialize(np.random.RandomState(0))
    trainer = Trainer(network, SGD(), np.random.RandomState(0))
    schedule = ReduceOnPlateau(0.5, factor=0.5, patience=0)
    run_epoch = trainer.prepare(TrainingData(X, Y, np.ones(40)), StepSettings(10, schedule, True, 1))
    history = []
    losses = iter([{"train_loss": 4 - k, "valid_loss": loss} for k, loss in enumerate([3.0, 2.0, 2.0, 1.0])])
    train(trainer, lambda report: {**run_epoch(), **next(losses)}, 4, history, interruptible=False)
    assert [record["learning_rate"] for record in history] == [0.5, 0.5, 0.5, 0.25]
    copy = trainer.copy()
    copy.end_epoch({"train_loss": 5.0})
    for t, rate in ((copy, 0.125), (trainer, 0.25)):
        assert (
            t.prepare(TrainingData(X, Y, np.ones(40)), StepSettings(10, schedule, True, 1))()["learning_rate"]
            == rate
        )


def test_nested_parameters():
    clf = make_classifier(
        Warmup(CosineDecay(0.01, 100), 5), optimizer=AdamW(), weight_decay=0.01, clip_norm=1.0
    )
    assert clone(clf).get_params() == clf.get_params()
    clf.set_params(learning_rate__learning_rate__decay_steps=50, learning_rate__warmup_steps=2)
    assert clf.learning_rate == Warmup(CosineDecay(0.01, 50), 2)
    grid = {
        "learning_rate__warmup_steps": [2, 4],
        "learning_rate__learning_rate__initial_learning_rate": [0.01, 0.1],
        "optimizer__beta_1": [0.5, 0.9],
        "weight_decay": [0.0, 0.1],
    }
    search = GridSearchCV(clf, grid, cv=2, error_score="raise").fit(X, Y)
    best = search.best_estimator_
    for name, value in search.best_params_.items():
        assert best.get_params()[name] == value
    assert clf.learning_rate == Warmup(CosineDecay(0.01, 50), 2)
    with pytest.raises(ValueError, match=r"has no 'decay_step'\. Did you mean 'decay_steps'\?"):
        clf.set_params(learning_rate__learning_rate__decay_step=3)
    with pytest.raises(ValueError, match="learning_rate is 0.1, which has no such fields"):
        make_classifier(0.1).set_params(learning_rate__decay_steps=3)
