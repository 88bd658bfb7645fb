"""The estimators in scikit-learn's tools: pipelines, searches, ensembles, routing, skops, threads.

The data are images if a tool accepts them, and otherwise rows with `input_shape`.
"""

import os
import threading

import distributed
import joblib
import numpy as np
import pytest
import skops.io
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 -- makes the next import work
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer, kernels
from skconvnet.layers import AvgPool2D, BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D
from skconvnet.optimizers import SGD, Adam
from skconvnet.schedules import CosineDecay, StepDecay

ROWS, Y = load_digits(n_class=3, return_X_y=True)
ROWS, Y = (ROWS / 16)[:150], Y[:150]
X = ROWS.reshape(-1, 8, 8)


def make(**options):
    layers = [Conv2D(4, activation="relu", name="stem"), MaxPool2D(), Dense(8, activation="tanh")]
    options = {"max_iter": 8, "batch_size": 16, "learning_rate": 0.02, "n_threads": 1, **options}
    return ConvNetClassifier(layers, **{"random_state": 0, **options})


def make_for_rows(**options):
    return make(input_shape=(8, 8), **options)


def get_params(clf):
    return clf.network_.params


class TestPipelines:
    def test_scaler_of_rows(self):
        pipeline = make_pipeline(StandardScaler(), make_for_rows()).fit(ROWS, Y)
        scaled = StandardScaler().fit_transform(ROWS)
        np.testing.assert_array_equal(
            get_params(pipeline[-1]), get_params(make().fit(scaled.reshape(X.shape), Y))
        )
        assert pipeline.score(ROWS, Y) > 0.9

    def test_function_of_images(self):
        pipeline = make_pipeline(FunctionTransformer(np.sqrt), make()).fit(X, Y)
        np.testing.assert_array_equal(get_params(pipeline[-1]), get_params(make().fit(np.sqrt(X), Y)))
        assert pipeline.score(X, Y) > 0.9 and pipeline.predict_proba(X).shape == (150, 3)

    def test_cross_validation(self):
        scores = cross_val_score(make(), X, Y, cv=3)
        assert scores.shape == (3,) and scores.min() > 0.8
        np.testing.assert_array_equal(scores, cross_val_score(make_for_rows(), ROWS, Y, cv=3))
        assert (cross_val_predict(make(), X, Y, cv=3) == Y).mean() == pytest.approx(scores.mean())

    def test_learning_curve(self):
        sizes, train_scores, test_scores = learning_curve(make(), X, Y, cv=2, train_sizes=[10, 70])
        assert sizes.tolist() == [10, 70] and test_scores[1].min() > test_scores[0].min()


class TestSearches:
    def test_whole_architectures(self):
        stacks = [[Conv2D(2), Flatten()], [Dense(5)], None]
        search = GridSearchCV(make(max_iter=1), {"layers": stacks}, cv=2, error_score="raise").fit(X, Y)
        assert search.best_params_["layers"] == stacks[search.best_index_]
        assert search.best_estimator_.layers == stacks[search.best_index_]

    def test_fields_of_named_and_numbered_layers(self):
        grid = {"layers__stem__filters": [2, 3], "layers__1": [AvgPool2D(), None], "layers__2__units": [5, 6]}
        search = GridSearchCV(make(max_iter=1), grid, cv=2, error_score="raise").fit(X, Y)
        assert len(search.cv_results_["params"]) == 8
        best, chosen = search.best_estimator_, search.best_params_
        assert best.layers[1] == chosen["layers__1"]
        weights = best.network_.weights
        assert weights["stem.weight"].shape[0] == chosen["layers__stem__filters"]
        assert weights["2.weight"].shape[0] == chosen["layers__2__units"]
        assert search.estimator.layers[0].filters == 4  # the estimator of the search is unchanged

    def test_optimizers_and_schedules_at_random(self):
        choices = {
            "optimizer": ["rmsprop", SGD(momentum=0.9), Adam()],
            "learning_rate": [CosineDecay(0.01, 20), StepDecay(0.01, 10), 0.01],
            "batch_size": [16, 32],
        }
        search = RandomizedSearchCV(
            make(max_iter=2), choices, n_iter=4, cv=2, random_state=0, error_score="raise"
        ).fit(X, Y)
        assert search.best_params_.items() <= search.best_estimator_.get_params().items()
        nested = {"optimizer__momentum": [0.0, 0.9], "learning_rate__decay_steps": [5, 50]}
        clf = make(max_iter=1, optimizer=SGD(), learning_rate=CosineDecay(0.1, 10))
        search = GridSearchCV(clf, nested, cv=2, error_score="raise").fit(X, Y)
        assert search.best_estimator_.optimizer.momentum == search.best_params_["optimizer__momentum"]

    def test_epochs_as_the_resource_of_halving(self):
        grid = {"layers__stem__filters": [2, 4], "optimizer": ["adam", "sgd"]}
        search = HalvingGridSearchCV(
            make(),
            grid,
            resource="max_iter",
            min_resources=1,
            max_resources=4,
            factor=2,
            cv=2,
            random_state=0,
        ).fit(X, Y)
        assert search.n_resources_ == [1, 2, 4]
        assert search.best_estimator_.n_iter_ == 4 and search.best_params_["optimizer"] == "adam"

    def test_several_metrics(self):
        scoring = ["accuracy", "neg_log_loss", "f1_macro"]
        search = GridSearchCV(
            make(), {"max_iter": [1, 4]}, scoring=scoring, refit="neg_log_loss", cv=2, error_score="raise"
        ).fit(X, Y)
        assert search.best_params_ == {"max_iter": 4}
        assert all(np.isfinite(search.cv_results_[f"mean_test_{name}"]).all() for name in scoring)
        assert search.score(X, Y) > -0.5

    def test_no_refit(self):
        search = GridSearchCV(make(), {"max_iter": [1, 2]}, refit=False, cv=2).fit(X, Y)
        assert not hasattr(search, "best_estimator_") and len(search.cv_results_["rank_test_score"]) == 2

    def test_early_stopping(self):
        clf = make(early_stopping=True, max_iter=30, n_iter_no_change=2)
        search = GridSearchCV(clf, {"learning_rate": [0.05, 0.1]}, cv=2, error_score="raise").fit(X, Y)
        best = search.best_estimator_
        assert best.n_iter_ < 30 and best.best_iter_ == 1 + np.argmin(best.validation_loss_curve_)

    def test_regressor(self):
        grid = {"layers__stem__filters": [2, 4], "loss": ["squared_error", "huber"]}
        reg = ConvNetRegressor([Conv2D(3, name="stem")], max_iter=2, random_state=0)
        search = GridSearchCV(reg, grid, cv=2, error_score="raise").fit(X, ROWS.mean(axis=1))
        assert np.isfinite(search.best_score_)

    def test_an_architecture_that_does_not_fit_scores_nan(self):
        stacks = [[Conv2D(2)], [Conv2D(2, 9)]]
        search = GridSearchCV(make(max_iter=1), {"layers": stacks}, cv=2)
        with (
            pytest.warns(FitFailedWarning, match="2 fits failed"),
            pytest.warns(UserWarning, match="non-finite"),
        ):
            search.fit(X, Y)
        assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
        assert search.best_estimator_.layers == stacks[0]

    @pytest.mark.parametrize(
        "name, hint",
        [
            ("layers__stem__filtres", "Did you mean 'filters'"),
            ("layers__stam__filters", "Did you mean 'stem'"),
            ("optimizer__momentun", "optimizer has no 'momentun'. Valid: .*beta"),
        ],
    )
    def test_a_misspelt_field_stops_the_search(self, name, hint):
        with pytest.raises(ValueError, match=hint):
            GridSearchCV(make(), {name: [1, 2]}, cv=2).fit(X, Y)
        with pytest.raises(ValueError, match=hint):
            HalvingGridSearchCV(make(), {name: [1, 2]}, cv=2, resource="max_iter", max_resources=4).fit(X, Y)


class TestBackends:
    GRID = {"layers__stem__filters": [2, 3], "learning_rate": [0.01, StepDecay(0.02, 8)]}

    def search(self, locate, n_jobs=None):
        """Return the scores, and the set of values that locate returned where they were computed."""
        search = GridSearchCV(
            make(max_iter=2, n_threads=None),
            self.GRID,
            scoring=lambda clf, X, y: {"accuracy": clf.score(X, y), "worker": locate()},
            refit=False,
            cv=2,
            n_jobs=n_jobs,
            error_score="raise",
        ).fit(X, Y)
        results = search.cv_results_
        workers = {*results["split0_test_worker"], *results["split1_test_worker"]}
        return results["mean_test_accuracy"], workers

    @pytest.mark.parametrize("backend, locate", [("loky", os.getpid), ("threading", threading.get_ident)])
    def test_the_same_scores(self, backend, locate):
        expected, here = self.search(locate)
        with joblib.parallel_config(backend=backend):
            scores, workers = self.search(locate, n_jobs=2)
        np.testing.assert_array_equal(scores, expected)
        assert here == {locate()} and not workers & here

    @pytest.mark.filterwarnings("ignore")  # warnings of Dask itself
    def test_dask(self):
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster),
            joblib.parallel_config(backend="dask"),
        ):
            scores, workers = self.search(lambda: id(distributed.get_worker()), n_jobs=2)
            assert workers == {id(worker) for worker in cluster.workers.values()}
        np.testing.assert_array_equal(scores, self.search(lambda: 0)[0])

    def test_processes_share_the_processors(self):
        search = GridSearchCV(
            ConvNetClassifier(max_iter=1),
            {"batch_size": [8, 16]},
            scoring=lambda clf, X, y: kernels.count_threads(clf.n_threads),
            cv=2,
            n_jobs=2,
        ).fit(X, Y)
        assert (search.cv_results_["mean_test_score"] <= max(1, joblib.cpu_count() // 2)).all()


class TestEnsembles:
    def test_calibration(self):
        clf = CalibratedClassifierCV(make(), cv=2).fit(X, Y)
        assert clf.score(X, Y) > 0.8
        np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1)

    @pytest.mark.parametrize("voting", ["soft", "hard"])
    def test_voting(self, voting):
        clf = VotingClassifier([("a", make()), ("b", make(random_state=1))], voting=voting).fit(X, Y)
        assert clf.score(X, Y) > 0.9
        np.testing.assert_array_equal(get_params(clf.estimators_[0]), get_params(make().fit(X, Y)))

    def test_stacking(self):
        members = [("a", make()), ("b", make(random_state=1))]
        clf = StackingClassifier(members, LogisticRegression(), cv=2).fit(X, Y)
        assert clf.score(X, Y) > 0.9

    def test_bagging(self):
        clf = BaggingClassifier(make_for_rows(), n_estimators=2, random_state=0).fit(ROWS, Y)
        assert clf.score(ROWS, Y) > 0.8
        assert len({e.random_state for e in clf.estimators_}) == 2

    def test_permutation_importance(self):
        clf = make_for_rows().fit(ROWS, Y)
        result = permutation_importance(clf, ROWS, Y, n_repeats=1, random_state=0)
        blank = ROWS.std(axis=0) == 0
        assert not result.importances_mean[blank].any() and result.importances_mean.max() > 0

    def test_tuned_threshold(self):
        y = Y == 1
        clf = TunedThresholdClassifierCV(make(), scoring="f1", cv=2, thresholds=9).fit(X, y)
        assert 0 < clf.best_threshold_ < 1 and clf.score(X, y) > 0.9


class TestMetadataRouting:
    @pytest.fixture(autouse=True)
    def routing(self):
        with config_context(enable_metadata_routing=True):
            yield

    WEIGHT = np.where(Y == 0, 2.0, 1.0)

    def test_weights_through_a_pipeline(self):
        clf = make_for_rows().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), clf)
        pipeline.fit(ROWS, Y, sample_weight=self.WEIGHT)
        alone = make_for_rows().fit(StandardScaler().fit_transform(ROWS), Y, self.WEIGHT)
        np.testing.assert_array_equal(get_params(pipeline[-1]), get_params(alone))

    def test_weights_through_cross_validation(self):
        clf = make().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        options = {"cv": 2, "return_estimator": True, "return_indices": True}
        found = cross_validate(clf, X, Y, params={"sample_weight": self.WEIGHT}, **options)
        for estimator, rows, others, score in zip(
            found["estimator"], *found["indices"].values(), found["test_score"]
        ):
            alone = make().fit(X[rows], Y[rows], self.WEIGHT[rows])
            np.testing.assert_array_equal(get_params(estimator), get_params(alone))
            assert score == alone.score(X[others], Y[others], self.WEIGHT[others])

    def test_weights_through_a_search(self):
        clf = make().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(clf, {"layers__stem__filters": [2, 4]}, cv=2, error_score="raise")
        search.fit(X, Y, sample_weight=self.WEIGHT)
        alone = make().set_params(**search.best_params_).fit(X, Y, self.WEIGHT)
        np.testing.assert_array_equal(get_params(search.best_estimator_), get_params(alone))

    def test_validation_samples_through_a_pipeline(self):
        clf = make_for_rows().set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), clf, transform_input=["X_val"])
        pipeline.fit(ROWS[:100], Y[:100], X_val=ROWS[100:], y_val=Y[100:])
        scaler = StandardScaler().fit(ROWS[:100])
        given = {"X_val": scaler.transform(ROWS[100:]), "y_val": Y[100:]}
        alone = make_for_rows().fit(scaler.transform(ROWS[:100]), Y[:100], **given)
        assert pipeline[-1].validation_loss_curve_ == alone.validation_loss_curve_

    def test_validation_samples_through_cross_validation(self):
        clf = make(early_stopping=True).set_fit_request(X_val=True, y_val=True)
        given = {"X_val": X[:30], "y_val": Y[:30]}
        found = cross_validate(clf, X[30:], Y[30:], params=given, cv=2, return_estimator=True)
        for estimator in found["estimator"]:
            loss = estimator.validation_loss_curve_[estimator.best_iter_ - 1]
            p = estimator.predict_proba(X[:30])[np.arange(30), Y[:30]]
            assert -np.log(p).mean() == pytest.approx(loss)

    def test_validation_samples_through_a_search(self):
        weight = np.where(Y[:30] == 1, 3.0, 1.0)
        clf = make(early_stopping=True).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        search = GridSearchCV(clf, {"layers__stem__filters": [2, 4]}, cv=2, error_score="raise")
        given = {"X_val": X[:30], "y_val": Y[:30], "sample_weight_val": weight}
        best = search.fit(X[30:], Y[30:], **given).best_estimator_
        alone = make(early_stopping=True).set_params(**search.best_params_).fit(X[30:], Y[30:], **given)
        assert best.validation_loss_curve_ == alone.validation_loss_curve_
        np.testing.assert_array_equal(get_params(best), get_params(alone))
        # the validation loss uses the weights
        loss = -np.log(best.predict_proba(X[:30])[np.arange(30), Y[:30]])
        watched = best.validation_loss_curve_[best.best_iter_ - 1]
        assert np.average(loss, weights=weight) == pytest.approx(watched) != pytest.approx(loss.mean())

    def test_weights_through_a_pipeline_to_a_transformer(self):
        transformer = ConvNetTransformer(make()).set_fit_request(sample_weight=True)
        model = LogisticRegression().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(transformer, model).fit(X, Y, sample_weight=self.WEIGHT)
        alone, plain = make().fit(X, Y, self.WEIGHT), make().fit(X, Y)
        np.testing.assert_array_equal(get_params(pipeline[0].estimator_), get_params(alone))
        assert not np.array_equal(get_params(alone), get_params(plain))

    def test_clones_keep_requests(self):
        clf = clone(make().set_fit_request(sample_weight=True))
        assert clf.get_metadata_routing().fit.requests["sample_weight"] is True


def test_skops():
    layers = [Conv2D(3, activation="relu", name="stem"), BatchNorm(), Dropout(0.2)]
    clf = ConvNetClassifier(layers, max_iter=2, learning_rate=CosineDecay(0.01, 20), random_state=0).fit(X, Y)
    data = skops.io.dumps(clf)
    unknown = skops.io.get_untrusted_types(data=data)
    # only classes of this package, and those that scikit-learn's own estimators need
    assert {name for name in unknown if not name.startswith("skconvnet.")} <= {"numpy.dtype"}
    again = skops.io.loads(data, trusted=unknown)
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert again.get_params() == clf.get_params() and again.history_ == clf.history_
    np.testing.assert_array_equal(get_params(again.partial_fit(X, Y)), get_params(clf.partial_fit(X, Y)))
