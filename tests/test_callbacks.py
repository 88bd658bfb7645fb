"""Callbacks, which scikit-learn has from version 1.9: what they receive, and how they end a fit."""

import copy
import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet.layers import BatchNorm, Conv2D, Dropout

rng = np.random.default_rng(0)
X, y = rng.random((60, 6, 6)), np.arange(60) % 3
X[y == 1, :3] += 0.5


def make(**options):
    layers = [Conv2D(3, name="stem"), BatchNorm(), Dropout(0.1)]
    return ConvNetClassifier(layers, random_state=0, **{"max_iter": 3, "learning_rate": 0.01, **options})


callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


class Recorder:
    """Records every call, and stops training or fails after a given number of epochs."""

    def __init__(self, stop_after=None, fail_after=None, error=RuntimeError):
        self.calls, self.fitted = [], []
        self.stop_after, self.fail_after, self.error = stop_after, fail_after, error

    def setup(self, estimator, context):
        self.n_epochs = context.max_subtasks
        self.calls.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.given = X, y, metadata
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.calls.append(("end", context.task_name))
        if context.task_name == "epoch":
            self.fitted.append(fitted_estimator)
            if len(self.fitted) == self.fail_after:
                raise self.error("from a callback")
            return len(self.fitted) == self.stop_after

    def list_calls(self, task):
        return [name for name, t in self.calls if t == task]


@pytest.mark.parametrize("Estimator", [ConvNetClassifier, ConvNetRegressor])
def test_every_epoch_is_a_task(Estimator):
    recorder, weight = Recorder(), np.ones(60)
    Estimator(max_iter=3, random_state=0).set_callbacks(recorder).fit(X, y, weight)
    assert recorder.calls == [
        ("setup", "fit"),
        ("begin", "fit"),
        *[("begin", "epoch"), ("end", "epoch")] * 3,
        ("end", "fit"),
        ("teardown", "fit"),
    ]
    assert recorder.n_epochs == 3
    assert recorder.given[0] is X and recorder.given[1] is y
    assert recorder.given[2].keys() == {"sample_weight"} and recorder.given[2]["sample_weight"] is weight


def test_callbacks_do_not_change_the_result():
    seen, plain = make().set_callbacks(Recorder()).fit(X, y), make().fit(X, y)
    np.testing.assert_array_equal(seen.network_.params, plain.network_.params)


def test_the_fitted_estimator_is_that_of_the_epoch():
    recorder = Recorder()
    clf = make(early_stopping=True, max_iter=4).set_callbacks(recorder).fit(X, y)
    for k, fitted in enumerate(recorder.fitted):
        short = make(early_stopping=True, max_iter=k + 1, n_iter_no_change=99).fit(X, y)
        assert fitted.n_iter_ == fitted.best_iter_ == len(fitted.history_) == k + 1
        assert fitted.t_ == short.t_ and fitted.loss_curve_ == clf.loss_curve_[: k + 1]
        assert fitted.validation_scores_ == clf.validation_scores_[: k + 1]
        if short.best_iter_ == k + 1:
            np.testing.assert_array_equal(fitted.predict_proba(X), short.predict_proba(X))
    # it can continue independently
    before = clf.predict_proba(X)
    recorder.fitted[1].partial_fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)


def test_a_callback_stops_a_fit():
    recorder = Recorder(stop_after=2)
    clf = make(max_iter=9).set_callbacks(recorder).fit(X, y)
    assert clf.n_iter_ == 2 and recorder.list_calls("fit")[-2:] == ["end", "teardown"]
    np.testing.assert_array_equal(clf.predict_proba(X), make(max_iter=2).fit(X, y).predict_proba(X))
    # with early stopping, callbacks are notified of the end of the last epoch, too
    recorder = Recorder()
    clf = make(max_iter=9, early_stopping=True, n_iter_no_change=1, tol=100.0).set_callbacks(recorder)
    assert clf.fit(X, y).n_iter_ == 2 and recorder.list_calls("epoch") == ["begin", "end"] * 2
    # with early stopping, the weights of the best epoch so far stay
    clf = make(max_iter=9, early_stopping=True, learning_rate=0.3).set_callbacks(Recorder(stop_after=4))
    clf.fit(X, y)
    assert clf.n_iter_ == 4 and clf.best_iter_ == 1 + np.argmin(clf.validation_loss_curve_)


@pytest.mark.parametrize("when", ["in a callback", "in training"])
def test_callbacks_are_torn_down_if_a_fit_fails(when):
    recorder = Recorder(fail_after=2 if when == "in a callback" else None)
    clf = make().fit(X, y)
    before, names = clf.predict_proba(X), set(vars(clf))
    clf.set_callbacks(recorder)
    if when == "in training":
        clf.set_params(learning_rate=1e200, dtype="float64")
    with pytest.raises((RuntimeError, ValueError), match="from a callback|no longer finite"):
        clf.fit(X, y)
    assert recorder.list_calls("fit") == ["setup", "begin", "teardown"]
    assert set(vars(clf)) == names | {"_skl_callbacks"}
    np.testing.assert_array_equal(clf.predict_proba(X), before)


def test_bad_input_reaches_no_callback():
    recorder = Recorder()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().set_callbacks(recorder).fit(X, y[:5])
    assert recorder.calls == []


def test_interrupted_by_ctrl_c():
    recorder = Recorder(fail_after=2, error=KeyboardInterrupt)
    clf = make(max_iter=9).set_callbacks(recorder)
    with pytest.warns(UserWarning, match="interrupted after 2 whole epochs") as caught:
        clf.fit(X, y)
    assert caught[0].filename == __file__
    assert clf.n_iter_ == 2 and recorder.list_calls("fit") == ["setup", "begin", "end", "teardown"]


def test_partial_fit_does_not_notify_callbacks():
    recorder = Recorder()
    clf = make().set_callbacks(recorder).partial_fit(X, y, classes=[0, 1, 2])
    assert clf.n_iter_ == 1 and recorder.calls == []
    clf.set_params(warm_start=True).fit(X, y)
    assert clf.n_iter_ == 4 and recorder.list_calls("epoch") == ["begin", "end"] * 3


def test_copies_keep_callbacks_and_files_do_not(tmp_path):
    recorder = Recorder()
    clf = make().set_callbacks(recorder).fit(X, y)
    with config_context(enable_metadata_routing=True):
        clf.set_fit_request(sample_weight=True)
    for other in (clone(clf), copy.copy(clf), copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        assert [type(c) for c in other._skl_callbacks] == [Recorder]
        other.fit(X, y)
    clf.save(tmp_path / "model")
    again = skconvnet.load(tmp_path / "model")
    assert not {"_skl_callbacks", "_metadata_request"} & set(vars(again))
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_a_callback_saves_every_epoch(tmp_path):
    pytest.importorskip("safetensors")

    class Saver(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            super().on_fit_task_end(estimator, context, fitted_estimator=fitted_estimator)
            if context.task_name == "epoch":
                fitted_estimator.save(tmp_path / f"{len(self.fitted)}")

    saver = Saver()
    clf = make().set_callbacks(saver).fit(X, y)
    for k, fitted in enumerate(saver.fitted, 1):
        again = skconvnet.load(tmp_path / f"{k}")
        np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_scoring_monitor():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = make(max_iter=4).set_callbacks(monitor).fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    scores = [make(max_iter=k).fit(X, y).score(X, y) for k in (1, 2, 3, 4)]
    assert [row["accuracy"] for row in epochs] == scores
    # weights reach the score
    weight = np.where(y == 0, 1.0, 0.25)
    clf.fit(X, y, weight)
    assert monitor.get_logs().data[-1]["accuracy"] == pytest.approx(clf.score(X, y, weight))


def test_progress_bar(capsys):
    make().set_callbacks(callback.ProgressBar()).fit(X, y)
    assert "ConvNetClassifier - fit" in capsys.readouterr().out
    # the bar is filled even if a fit ends early
    bar, stop = callback.ProgressBar(), Recorder(stop_after=1)
    make().set_callbacks(bar, stop).fit(X, y)
    assert "100%" in capsys.readouterr().out


def test_in_a_search(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    recorder, bar = Recorder(), callback.ProgressBar(max_propagation_depth=None)
    grid = {"layers__stem__filters": [2, 4], "batch_size": [10, -1]}
    search = GridSearchCV(make().set_callbacks(recorder), grid, cv=2).set_callbacks(bar)
    with pytest.warns(FitFailedWarning, match="4 fits failed"), pytest.warns(UserWarning, match="non-finite"):
        search.fit(X, y)
    # 2 candidates, 2 folds, and the final fit, of 3 epochs each
    assert recorder.list_calls("epoch") == ["begin", "end"] * 15
    assert recorder.calls.count(("teardown", "fit")) == recorder.calls.count(("setup", "fit"))
    assert "ConvNetClassifier - fit" in capsys.readouterr().out
    assert search.best_estimator_.predict(X).shape == (60,)


def test_stopping_in_a_search():
    """A callback stops every fit of a search, including the refit."""

    class OneEpoch(Recorder):
        def on_fit_task_end(self, estimator, context, **more):
            super().on_fit_task_end(estimator, context)
            return context.task_name == "epoch"

    recorder = OneEpoch()
    search = GridSearchCV(make().set_callbacks(recorder), {"layers__stem__filters": [2, 4]}, cv=2)
    search.fit(X, y)
    best = search.best_estimator_
    assert recorder.list_calls("epoch") == ["begin", "end"] * 5 and best.n_iter_ == 1
    alone = make(max_iter=1).set_params(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(best.network_.params, alone.network_.params)


def test_scores_are_returned_from_other_processes():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(FunctionTransformer(np.sqrt), make().set_callbacks(monitor))
    grid = {"convnetclassifier__layers__stem__filters": [2, 4]}
    GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 15 and all(0 <= row["accuracy"] <= 1 for row in rows)
