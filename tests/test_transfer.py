"""Frozen layers, and networks that start with the weights of another one."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from checks import build
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.layers import (
    Augment,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    GlobalAvgPool2D,
    LayerNorm,
    LocallyConnected2D,
    MaxPool2D,
    Mixup,
    Parallel,
    PReLU,
    RandomShift,
    ReLU,
    Rescaling,
    Residual,
    Standardize,
)
from skconvnet.losses import CROSS_ENTROPY
from skconvnet.optimizers import OPTIMIZERS

LAYERS = [
    Standardize(),
    Conv2D(6, padding="same", activation="relu", name="stem"),
    BatchNorm(),
    MaxPool2D(),
    Residual([Conv2D(6, padding="same"), BatchNorm()], name="block"),
    ReLU(),
    Dense(16, activation="relu", name="last"),
]

# One layer of every kernel that has parameters, some with the layers that are fused with it.
MIDDLES = [
    [Conv2D(4, padding="same", activation="relu", name="middle"), MaxPool2D()],
    [Conv2D(3, (2, 3), stride=2, name="middle")],
    [LocallyConnected2D(3, 3, name="middle")],
    [Dense(5, activation="tanh", name="middle")],
    [LayerNorm(name="middle")],
    [Conv2DTranspose(3, 2, stride=2, activation="tanh", name="middle")],
    [Rescaling(-1), PReLU(name="middle")],
    [BatchNorm(name="middle"), ReLU()],
    [Residual([Conv2D(3), BatchNorm(), LayerNorm()], shortcut=[Conv2D(3)], name="middle")],
    [Parallel([[Conv2D(3)], [BatchNorm(), Conv2D(2)], [MaxPool2D(3, stride=1)]], name="middle"), ReLU()],
    [Parallel([[], [GlobalAvgPool2D(), Dense(3, activation="tanh")]], "multiply", name="middle")],
]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, 8, 8), y


@pytest.fixture(scope="module")
def source(digits):
    X, y = digits
    return ConvNetClassifier(LAYERS, learning_rate=0.01, max_iter=6, random_state=0).fit(X[y < 5], y[y < 5])


def freeze(network, *layers):
    """Return the same network, with the same weights, but with frozen layers."""
    frozen = Network(network.layers, network.input_shape, network.n_outputs, network.dtype, layers)
    frozen.set_weights(network.weights)
    return frozen


@pytest.mark.parametrize("middle", MIDDLES, ids=lambda middle: type(middle[0]).__name__)
@pytest.mark.parametrize("below", [False, True])
def test_gradients_past_frozen_layers(middle, below, isa):
    """Compare with central differences of the loss with running moments; frozen layers have no gradient."""
    rng = np.random.RandomState(0)
    layers = [Conv2D(3, padding="same", activation="tanh", name="stem"), *middle]
    network = freeze(build((2, 6, 6), layers), "middle", *([] if below else ["stem"]))
    X, y = rng.standard_normal((19, 2, 6, 6)), rng.randint(0, 3, 19)
    loss, dx, dparams = network.loss(X, y, n_threads=2)
    parts = network.split(dparams)
    assert {key.partition(".")[0] for key in parts} == ({"stem", "output"} if below else {"output"})

    def measure(params, X):
        other = freeze(network, *network.freeze)
        other.params = params
        logits = other.forward(X)  # as in prediction
        logits -= logits.max(axis=1, keepdims=True)
        return (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(19), y]).mean()

    assert loss == pytest.approx(measure(network.params, X), rel=1e-9)
    h = 1e-6
    for direction, gradient in (
        (
            np.r_[rng.standard_normal(network.n_params), np.zeros(len(network.params) - network.n_params)],
            dparams,
        ),
        (rng.standard_normal(X.shape), dx),
    ):
        if gradient is dx:
            sides = [measure(network.params, X + s * h * direction) for s in (1, -1)]
            computed = (dx * direction).sum()
        else:
            sides = [measure(network.params + s * h * direction, X) for s in (1, -1)]
            computed = dparams @ direction[: network.n_params]
        assert (sides[0] - sides[1]) / (2 * h) == pytest.approx(computed, rel=1e-7)


@pytest.mark.parametrize("middle", MIDDLES, ids=lambda middle: type(middle[0]).__name__)
@pytest.mark.parametrize("frozen", [["stem"], ["middle"], ["stem", "middle"], ["output"]], ids=str)
@pytest.mark.parametrize("name", ["adam", "lion"])
def test_steps_do_not_change_frozen_layers(middle, frozen, name):
    layers = [Conv2D(3, padding="same", activation="relu", name="stem"), *middle]
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((40, 2, 6, 6)), rng.randint(0, 3, 40)
    results = []
    for n_threads in (1, 3):
        network = freeze(build((2, 6, 6), layers), *frozen)
        before = {key: part.copy() for key, part in network.weights.items()}
        trainer = Trainer(network, OPTIMIZERS[name](), np.random.RandomState(0), CROSS_ENTROPY)
        trainer.prepare(TrainingData(X, y, np.ones(40)), StepSettings(16, 0.01, True, n_threads, 0.1, 0.5))()
        results.append(network.params)
        for key, part in network.weights.items():
            assert np.array_equal(part, before[key]) == (key.partition(".")[0] in frozen), key
    np.testing.assert_array_equal(*results)


def test_clipping_ignores_gradients_of_frozen_layers():
    """With the norm of the gradient clipped to c, a step of SGD has length rate * c in what is trained."""
    rng = np.random.RandomState(0)
    network = freeze(build((1, 6, 6), [Conv2D(8, name="stem"), Dense(30, name="middle")]), "middle")
    X, y = rng.standard_normal((20, 1, 6, 6)), rng.randint(0, 3, 20)
    trainer, before = Trainer(network, OPTIMIZERS["sgd"](), rng), network.params.copy()
    trainer.prepare(TrainingData(X, y, np.ones(20)), StepSettings(20, 0.5, False, 2, clip_norm=1e-3))()
    assert np.linalg.norm(network.params - before) == pytest.approx(0.5e-3, rel=1e-6)


def test_frozen_layers_do_the_same_in_training_as_in_prediction():
    layers = [Conv2D(3), BatchNorm(), Dropout(0.9), Conv2D(3), BatchNorm()]
    network = build((1, 8, 8), layers)
    calls = freeze(network, 1, 2).list_calls()
    assert [call for call in network.list_calls() if call not in calls] == ["1 moments", "2 dropout"]
    frozen = freeze(network, *range(5), "output")
    assert frozen.n_params == frozen.n_parameters == 0
    X, y = np.random.RandomState(0).standard_normal((20, 1, 8, 8)), np.arange(20) % 3
    logits = frozen.forward(X)
    logits -= logits.max(axis=1, keepdims=True)
    expected = (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(20), y]).mean()
    assert frozen.loss(X, y)[0] == pytest.approx(expected, rel=1e-9)


def test_frozen_layers_do_not_change_mini_batches(digits):
    X, y = digits
    first, second = (
        ConvNetClassifier(layers + [Conv2D(2)], max_iter=2, freeze=freeze, random_state=0).fit(X[:99], y[:99])
        for layers, freeze in (([Augment(lambda X, rng: 2 * X), Mixup()], [0, 1]), ([None, None], None))
    )
    np.testing.assert_array_equal(first.network_.params, second.network_.params)


def test_positions_and_names_freeze_the_same():
    for frozen in (["stem", -1], [1, "last"], (1, 6), ["stem", "last", 1]):
        network = Network(LAYERS, (1, 8, 8), 5, freeze=frozen)
        assert network.freeze == ("stem", "last")
        assert all(stage.n_parameters == 0 for stage in network.stages if stage.frozen)


@pytest.mark.parametrize("wrong", ["stm", "s1", 9, -8, True, None, 1.0])
def test_wrong_layers_to_freeze_raise_before_training(digits, wrong):
    meant = r"Did you mean 'stem'\? " if wrong == "stm" else ""
    message = rf"freeze: there is no layer .*\. {meant}Valid: [^0-9]*stem\. Or a position, .* -7 to 6"
    with pytest.raises(ValueError, match=message):
        ConvNetClassifier(LAYERS, freeze=[wrong]).fit(*digits)


@pytest.mark.parametrize("wrong, written", [("stem", "'stem'"), (2, "2"), (True, "0")])
def test_a_layer_to_freeze_belongs_in_a_list(digits, wrong, written):
    with pytest.raises(
        ValueError, match=rf"'freeze' .* Got {wrong!r} instead. Write .*: freeze=\[{written}\]\."
    ):
        ConvNetClassifier(LAYERS, freeze=wrong).fit(*digits)


def test_fine_tuning(source, digits):
    """A model of 0 to 4 learns 5 to 9 from few samples; its frozen layers stay bitwise identical."""
    X, y = digits[0][digits[1] > 4], digits[1][digits[1] > 4]
    frozen = ["stem", 2, "block"]
    tuned = ConvNetClassifier(
        LAYERS,
        init_from=FrozenEstimator(source),
        freeze=frozen,
        learning_rate=0.01,
        weight_decay=0.01,
        max_iter=15,
        random_state=1,
    )
    assert tuned.fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.9
    old, new = source.network_.weights, tuned.network_.weights
    for key, part in new.items():
        same = key.partition(".")[0] in ("0", "stem", "2", "block")
        assert np.array_equal(part, old[key]) == same, key
    pipeline = make_pipeline(FunctionTransformer(), clone(tuned).set_params(max_iter=12))
    assert cross_val_score(pipeline, X[:300], y[:300], cv=2, error_score="raise").mean() > 0.8
    search = GridSearchCV(
        clone(tuned).set_params(max_iter=1), {"freeze": [None, frozen]}, error_score="raise", cv=2
    )
    search.fit(X[:60], y[:60])


def test_which_weights_are_transferred(source, digits):
    X, y = digits
    old = source.network_.weights

    def start(estimator, X=X, y=y):
        estimator.set_params(learning_rate=1e-300, max_iter=1, random_state=3, dtype="float64")
        new = estimator.fit(X, y).network_.weights
        initial = clone(estimator).set_params(init_from=None).fit(X, y).network_.weights
        changing = {key for key in new if "running" in key}
        transferred = {key for key in new if key in old and np.array_equal(new[key], old[key])} - changing
        for key in set(new) - transferred - changing:
            np.testing.assert_allclose(new[key], initial[key], rtol=0, atol=1e-200)  # biases of 0 change
        return transferred, new

    learnt = {key for key in old if "running" not in key}
    inner = {key for key in learnt if not key.startswith("output")}
    assert start(ConvNetClassifier(LAYERS, init_from=source), X[y < 5], y[y < 5])[0] == learnt
    transferred, new = start(ConvNetClassifier(LAYERS, init_from=source))
    assert transferred == inner and new["output.weight"].shape == (10, 16)
    np.testing.assert_array_equal(new["0.running_mean"], old["0.running_mean"])  # not learnt again
    assert start(ConvNetClassifier(LAYERS, init_from=source), X[y > 4], y[y > 4])[0] == inner
    regressor = ConvNetRegressor(LAYERS[:-1], init_from=FrozenEstimator(source))
    assert start(regressor)[0] == inner - {"last.weight", "last.bias"}
    frozen = ConvNetClassifier(LAYERS, init_from=source, freeze=[2, "block"])
    _, new = start(frozen)
    for key in ("2.running_mean", "block.1.running_var"):
        np.testing.assert_array_equal(new[key], old[key])


def test_weights_that_cannot_be_transferred(source, digits):
    X, y = digits
    huge = copy.deepcopy(source)
    huge.network_.set_weights({**source.network_.weights, "stem.bias": np.full(6, 1e300)})
    for layers, init_from, message in [
        (LAYERS, clone(source), "must be a fitted ConvNet.*which is not fitted.*FrozenEstimator"),
        (
            [Conv2D(3, name="stem")],
            source,
            r"'stem.weight' has shape \(6, 1, 3, 3\) there and \(3, 1, 3, 3\)",
        ),
        (
            [Dense(4, name="other")],
            source,
            "there is nothing to transfer. Its network has .*stem.weight.*other.weight",
        ),
        (LAYERS, huge, "set_weights: 'stem.bias' has values that are not finite"),
        (
            LAYERS,
            "model",
            "init_from must be a fitted ConvNetClassifier or ConvNetRegressor, got 'model'; "
            "load .*skconvnet.load",
        ),
        (LAYERS, make_pipeline(source), "init_from must be .*, got Pipeline.*give that step of a pipeline"),
        (LAYERS, FrozenEstimator(make_pipeline(source)), "got Pipeline.*give that step of a pipeline"),
    ]:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            ConvNetClassifier(layers, init_from=init_from, dtype="float32").fit(X, y)
    own = copy.deepcopy(source)
    with pytest.raises(ValueError, match="init_from is the estimator itself.* warm_start"):
        own.set_params(init_from=FrozenEstimator(own)).fit(X, y)
    np.testing.assert_array_equal(own.network_.params, source.network_.params)


def test_continuing(source, digits):
    X, y = digits
    clf = ConvNetClassifier(
        LAYERS, init_from=FrozenEstimator(source), freeze=["stem"], warm_start=True, max_iter=1
    )
    clf.fit(X, y)
    clf.set_params(init_from=None, freeze=[1]).fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(clf.network_.weights["stem.weight"], source.network_.weights["stem.weight"])
    assert len(clf.history_) == 3
    with pytest.raises(ValueError, match=r"freeze is \[\], but the fitted network has \['stem'\]"):
        clf.set_params(freeze=None).fit(X, y)


def test_nested_parameters(source):
    clf = ConvNetClassifier(LAYERS, init_from=clone(source), freeze=["stem"])
    clf.set_params(init_from__layers__stem__filters=2)
    assert clf.init_from.layers[1].filters == 2 and clf.get_params()["init_from__layers__stem__filters"] == 2
    assert clone(clf.set_params(init_from=FrozenEstimator(source))).init_from.estimator is source


def test_files(source, digits, tmp_path):
    X, y = digits
    for init_from in (source, FrozenEstimator(source)):
        clf = ConvNetClassifier(
            LAYERS, init_from=init_from, freeze=["stem", 2], max_iter=1, random_state=0
        ).fit(X, y)
        clf.save(tmp_path / "model")
        again = skconvnet.load(tmp_path / "model")
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        assert again.network_.freeze == ("stem", "2") and type(again.init_from) is type(init_from)
        np.testing.assert_array_equal(again.init_from.predict(X), source.predict(X))
        np.testing.assert_array_equal(
            again.partial_fit(X, y).network_.params, clf.partial_fit(X, y).network_.params
        )


def test_layers_at_another_position_are_reported(digits):
    X, y = digits[0][:100], digits[1][:100]
    stem = Conv2D(4, padding="same", activation="relu")
    source = ConvNetClassifier([stem, Dense(6)], max_iter=1).fit(X, y)

    def start(*layers, **params):
        ConvNetClassifier(list(layers), init_from=source, max_iter=1, **params).fit(X, y)

    message = r"no weights for Conv2D 'other', which freeze names. It has weights for 1\."
    with pytest.raises(ValueError, match=message):
        start(replace(stem, name="other"), Dense(6), freeze=["other"])
    with pytest.raises(ValueError, match="there is nothing to transfer"):
        start(RandomShift(), replace(stem, name="other"))
    message = "no weights for Dense '2', which are newly initialized, and its Dense '1' are not used"
    with pytest.warns(UserWarning, match=message):
        start(stem, RandomShift(), Dense(6))
    start(stem, Dense(6), Dense(7))  # one more: no warning
