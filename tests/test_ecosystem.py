"""Other packages that take scikit-learn's classifiers, used on images as their own users do.

They need the extra `ecosystem`, and are not among the tests that run without it:

    pytest -m ecosystem
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from sklearn.utils import shuffle

from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet.layers import Conv2D, MaxPool2D

# other packages warn of each other
pytestmark = [pytest.mark.ecosystem, pytest.mark.filterwarnings("ignore")]

ROWS, y = shuffle(*load_digits(return_X_y=True), random_state=0)
ROWS = ROWS / 16
IMAGES = ROWS.reshape(-1, 8, 8)


def make(cls=ConvNetClassifier, **params):
    layers = [Conv2D(16, padding="same", activation="relu", name="stem"), MaxPool2D(2)]
    return cls(layers, **{"max_iter": 3, "learning_rate": 0.01, "random_state": 0, **params})


def make_squares(n, seed):
    """Noise; images of class 1 have a bright square in the lower right corner, those of class 0 a dark one."""
    rng = np.random.default_rng(seed)
    images, labels = rng.random((n, 8, 8)), rng.integers(0, 2, n)
    images[:, 5:7, 5:7] = 0.1 * images[:, 5:7, 5:7] + 0.9 * labels[:, None, None]
    return images, labels


class TestMapie:
    """Sets and intervals have the coverage that was asked for."""

    @pytest.mark.parametrize("form", ["images", "channels", "rows", "rows of a network for images"])
    def test_prefit_classifier(self, form):
        from mapie.classification import SplitConformalClassifier

        X = {"images": IMAGES, "channels": IMAGES[..., None]}.get(form, ROWS)
        clf = make(input_shape=(8, 8)).fit(IMAGES[:600] if form.endswith("images") else X[:600], y[:600])
        mapie = SplitConformalClassifier(clf, confidence_level=0.9, prefit=True)
        mapie.conformalize(X[600:1200], y[600:1200])
        _, sets = mapie.predict_set(X[1200:])
        self.check(sets[..., 0])

    @pytest.mark.parametrize("X", [IMAGES, ROWS], ids=["images", "rows"])
    def test_other_classifiers(self, X):
        from mapie.classification import CrossConformalClassifier, SplitConformalClassifier

        split = SplitConformalClassifier(make(input_shape=(8, 8)), confidence_level=0.9, prefit=False)
        split.fit(X[:600], y[:600]).conformalize(X[600:1200], y[600:1200])
        cross = CrossConformalClassifier(make(input_shape=(8, 8)), confidence_level=0.9, cv=3)
        cross.fit_conformalize(X[:1200], y[:1200])
        for mapie in (split, cross):
            self.check(mapie.predict_set(X[1200:])[1][..., 0])

    def check(self, sets):
        covered = sets[np.arange(len(sets)), y[1200:]].mean()
        assert 0.85 < covered < 0.95 and 0.9 < sets.sum(axis=1).mean() < 1.5

    def test_regressor(self):
        from mapie.regression import SplitConformalRegressor

        brightness = IMAGES.sum(axis=(1, 2))
        reg = make(ConvNetRegressor, max_iter=5).fit(IMAGES[:600], brightness[:600])
        mapie = SplitConformalRegressor(reg, confidence_level=0.9, prefit=True)
        mapie.conformalize(IMAGES[600:1200], brightness[600:1200])
        low, high = mapie.predict_interval(IMAGES[1200:])[1][:, :, 0].T
        inside = (low <= brightness[1200:]) & (brightness[1200:] <= high)
        assert 0.85 < inside.mean() < 0.97 and (high - low).mean() < 2 * brightness.std()


class TestCleanlab:
    """It finds labels that were changed."""

    changed = np.random.default_rng(0).choice(900, 45, replace=False)
    labels = y[:900].copy()
    labels[changed] = (labels[changed] + 1) % 10

    def check(self, found):
        right = np.isin(found, self.changed).sum()
        assert right > 0.7 * len(self.changed) and right > 0.7 * len(found)

    def test_probabilities_of_a_cross_validation(self):
        from cleanlab.filter import find_label_issues

        probabilities = cross_val_predict(make(), IMAGES[:900], self.labels, cv=3, method="predict_proba")
        ranked = find_label_issues(self.labels, probabilities, return_indices_ranked_by="self_confidence")
        self.check(ranked[: len(self.changed)])

    @pytest.mark.parametrize("X", [IMAGES, IMAGES[..., None], ROWS], ids=["images", "channels", "rows"])
    def test_clean_learning(self, X):
        from cleanlab.classification import CleanLearning

        clean = CleanLearning(make(input_shape=(8, 8)), cv_n_folds=3, seed=0)
        self.check(np.flatnonzero(clean.find_label_issues(X[:900], self.labels)["is_label_issue"]))
        assert clean.fit(X[:900], self.labels).score(X[900:], y[900:]) > 0.8


class TestImbalancedLearn:
    """A rare class is found after resampling, and not before. Samplers take rows."""

    threes, eights = np.flatnonzero(y == 3), np.flatnonzero(y == 8)
    train = np.concatenate([threes[:10], eights])

    @pytest.mark.parametrize("name", ["RandomOverSampler", "SMOTE", "RandomUnderSampler"])
    def test_pipeline(self, name):
        import imblearn.over_sampling
        import imblearn.pipeline
        import imblearn.under_sampling

        module = imblearn.under_sampling if "Under" in name else imblearn.over_sampling
        sampler = getattr(module, name)(random_state=0)
        clf = make(input_shape=(8, 8), learning_rate=0.003)
        recall = {}
        for steps in ([clf], [sampler, clf]):
            pipeline = imblearn.pipeline.make_pipeline(*steps).fit(ROWS[self.train], y[self.train])
            recall[len(steps)] = (pipeline.predict(ROWS[self.threes[10:]]) == 3).mean()
        assert recall[1] < 0.2 and recall[2] > 0.6

    def test_ensemble(self):
        from imblearn.ensemble import BalancedBaggingClassifier

        bag = BalancedBaggingClassifier(make(input_shape=(8, 8), max_iter=20), n_estimators=3, random_state=0)
        bag.fit(ROWS[self.train], y[self.train])
        assert (bag.predict(ROWS[self.threes[10:]]) == 3).mean() > 0.6


SQUARES, CLASSES = make_squares(400, seed=0)
SQUARE = SQUARES[np.flatnonzero(CLASSES)[0]]


@pytest.fixture(scope="module", params=["colour", "grey", "rows"])
def form(request):
    return request.param


@pytest.fixture(scope="module")
def clf(form):
    X = {"colour": np.stack([SQUARES] * 3, axis=-1), "rows": SQUARES.reshape(-1, 64)}.get(form, SQUARES)
    clf = make(input_shape=(8, 8) if form == "rows" else None).fit(X, CLASSES)
    assert clf.score(X, CLASSES) == 1
    return clf


class TestExplanations:
    """They show the corner that decides."""

    parts = np.arange(16).reshape(4, 4).repeat(2, axis=0).repeat(2, axis=1)
    corner = {10, 11, 14, 15}  # the parts that the square is in

    def test_lime(self, clf, form):
        if form == "rows":
            from lime.lime_tabular import LimeTabularExplainer

            explainer = LimeTabularExplainer(SQUARES.reshape(-1, 64), random_state=0)
            found = explainer.explain_instance(SQUARE.ravel(), clf.predict_proba, num_features=4)
            strongest = {self.parts.flat[pixel] for pixel, _ in found.local_exp[1]}
            assert strongest <= self.corner
            return
        from lime.lime_image import LimeImageExplainer

        image = np.stack([SQUARE] * 3, axis=-1) if form == "colour" else SQUARE
        # LIME makes colours of grey images
        predict = clf.predict_proba if form == "colour" else lambda X: clf.predict_proba(X[..., 0])
        found = LimeImageExplainer(random_state=0).explain_instance(
            image, predict, labels=(1,), top_labels=None, hide_color=0, num_samples=200,
            segmentation_fn=lambda image: self.parts,
        )  # fmt: skip
        weights = dict(found.local_exp[1])
        assert set(sorted(weights, key=weights.get)[-4:]) == self.corner

    def test_shap(self, clf, form):
        import shap

        if form == "rows":
            image = SQUARE.reshape(1, 64)
            explainer = shap.KernelExplainer(clf.predict_proba, SQUARES[:20].reshape(-1, 64), seed=0)
            values = explainer.shap_values(image, nsamples=500, silent=True)[0, :, 1]
            base = explainer.expected_value[1]
        else:
            image = np.stack([SQUARE] * (3 if form == "colour" else 1), axis=-1)[None]
            masker = shap.maskers.Image(np.full(image.shape[1:], SQUARES.mean()), image.shape[1:])
            found = shap.Explainer(clf.predict_proba, masker, seed=0)(image, max_evals=500)
            values, base = found.values[0, ..., 1].sum(axis=-1), found.base_values[0, 1]
        # Shapley values add up to what they explain
        assert base + values.sum() == pytest.approx(clf.predict_proba(image)[0, 1], abs=1e-6)
        assert set(values.ravel().argsort()[-4:]) == {45, 46, 53, 54}  # rows and columns 5 and 6


class TestModAL:
    """Labels that an active learner asks for improve the classifier."""

    pool, labels, X_test, y_test = IMAGES[:1200], y[:1200], IMAGES[1200:], y[1200:]

    def test_query_strategies(self):
        """They are functions that take any classifier."""
        from modAL.uncertainty import entropy_sampling, margin_sampling, uncertainty_sampling

        for choose in (uncertainty_sampling, margin_sampling, entropy_sampling):
            known = list(range(50))
            clf = make(max_iter=20).fit(self.pool[known], self.labels[known])
            before = clf.score(self.X_test, self.y_test)
            for _ in range(3):
                chosen, _ = choose(clf, self.pool, n_instances=30)
                probabilities = np.sort(clf.predict_proba(self.pool), axis=1)
                margins = probabilities[:, -1] - probabilities[:, -2]
                assert margins[chosen].max() < np.median(margins)
                known += chosen.tolist()
                clf.fit(self.pool[known], self.labels[known])
            assert clf.score(self.X_test, self.y_test) > before + 0.05

    @pytest.mark.xfail(
        raises=TypeError, reason="modAL 0.4.2 passes `force_all_finite`, which scikit-learn 1.8 does not have"
    )
    def test_active_learner(self):
        from modAL.models import ActiveLearner

        learner = ActiveLearner(make(max_iter=20), X_training=self.pool[:50], y_training=self.labels[:50])
        before = learner.score(self.X_test, self.y_test)
        for _ in range(3):
            chosen, _ = learner.query(self.pool, n_instances=30)
            learner.teach(self.pool[chosen], self.labels[chosen])
        assert len(learner.X_training) == 140
        assert learner.score(self.X_test, self.y_test) > before + 0.05


class TestSearches:
    """They find a learning rate that learns, and the best network predicts."""

    X, labels = IMAGES[:300], y[:300]

    def check(self, search, best):
        assert 1e-3 < best["learning_rate"] < 0.5 and 4 <= best["layers__stem__filters"] <= 16
        assert search.best_score_ > 0.6
        assert (
            search.best_estimator_.network_.weights["stem.weight"].shape[0] == best["layers__stem__filters"]
        )
        assert search.score(IMAGES[300:], y[300:]) > 0.6

    def test_skopt(self):
        from skopt import BayesSearchCV
        from skopt.space import Categorical, Integer, Real

        space = {
            "learning_rate": Real(1e-5, 1e-1, prior="log-uniform"),
            "layers__stem__filters": Integer(4, 16),
            "optimizer": Categorical(["adam", "rmsprop"]),
        }
        search = BayesSearchCV(make(), space, n_iter=8, cv=2, random_state=0).fit(self.X, self.labels)
        self.check(search, search.best_params_)

    def test_optuna(self):
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
        from optuna_integration import OptunaSearchCV

        space = {
            "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
            "layers__stem__filters": IntDistribution(4, 16),
            "optimizer": CategoricalDistribution(["adam", "rmsprop"]),
        }
        search = OptunaSearchCV(make(), space, n_trials=8, cv=2, random_state=0).fit(self.X, self.labels)
        self.check(search, search.best_params_)

    def test_optuna_prunes(self):
        """By `partial_fit`, which trains an epoch."""
        import optuna
        from optuna_integration import OptunaSearchCV

        study = optuna.create_study(
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
        )
        space = {"learning_rate": optuna.distributions.FloatDistribution(1e-7, 1e-1, log=True)}
        for rate in (1e-2, 1e-6, 1e-7):
            study.enqueue_trial({"learning_rate": rate})
        search = OptunaSearchCV(
            make(), space, n_trials=3, cv=2, enable_pruning=True, max_iter=3, study=study
        ).fit(self.X, self.labels)
        states = {trial.params["learning_rate"]: trial.state.name for trial in search.trials_}
        assert states == {1e-2: "COMPLETE", 1e-6: "PRUNED", 1e-7: "PRUNED"}
        assert search.best_params_ == {"learning_rate": 1e-2}


class TestMlflow:
    """What it keeps of a run, and the models that it loads again."""

    @pytest.fixture
    def mlflow(self, tmp_path, monkeypatch):
        import mlflow
        import mlflow.sklearn

        monkeypatch.chdir(tmp_path)
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
        mlflow.set_experiment("digits")
        return mlflow

    @pytest.mark.parametrize("form", ["skops", "cloudpickle"])
    def test_models(self, mlflow, form):
        import skops.io

        clf = make().fit(IMAGES[:600], y[:600])
        options = {"serialization_format": form}
        if form == "skops":
            options["skops_trusted_types"] = skops.io.get_untrusted_types(data=skops.io.dumps(clf))
        model = mlflow.sklearn.log_model(clf, name="model", input_example=IMAGES[:2], **options)
        again = mlflow.sklearn.load_model(model.model_uri)
        np.testing.assert_array_equal(again.predict_proba(IMAGES), clf.predict_proba(IMAGES))
        generic = mlflow.pyfunc.load_model(model.model_uri)
        np.testing.assert_array_equal(generic.predict(IMAGES), clf.predict(IMAGES))

    def test_metrics_and_parameters(self, mlflow):
        clf = make(early_stopping=True).fit(IMAGES[:600], y[:600])
        with mlflow.start_run() as run:
            mlflow.log_params(clf.get_params())
            for record in clf.history_:
                mlflow.log_metrics({k: v for k, v in record.items() if k != "epoch"}, step=record["epoch"])
        kept = mlflow.get_run(run.info.run_id).data.params
        assert kept["layers__stem__filters"] == "16" and kept["learning_rate"] == "0.01"
        losses = mlflow.MlflowClient().get_metric_history(run.info.run_id, "valid_loss")
        assert [metric.value for metric in losses] == clf.validation_loss_curve_

    def test_automatic_logging(self, mlflow):
        """Of what scikit-learn fits: pipelines and searches."""
        from sklearn.model_selection import GridSearchCV

        mlflow.sklearn.autolog(log_models=False)
        try:
            with mlflow.start_run() as run:
                search = GridSearchCV(make(), {"layers__stem__filters": [4, 8]}, cv=2)
                search.fit(IMAGES[:300], y[:300])
        finally:
            mlflow.sklearn.autolog(disable=True)
        data = mlflow.get_run(run.info.run_id).data
        assert data.metrics["best_cv_score"] == pytest.approx(search.best_score_)
        filters = search.best_params_["layers__stem__filters"]
        assert data.params["best_layers__stem__filters"] == str(filters)
