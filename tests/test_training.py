"""Epochs and batches: the samples that are trained on, the steps, and the memory needed."""

import copy
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skconvnet import ConvNetClassifier, ConvNetRegressor, kernels
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData, draw_mixing, train
from skconvnet.layers import BatchNorm, Conv2D, Dense, Dropout, MaxPool2D, Mixup
from skconvnet.losses import CROSS_ENTROPY
from skconvnet.optimizers import OPTIMIZERS, SGD, Adam
from skconvnet.schedules import CosineDecay


def make_trainer(n=100, optimizer=None, dtype=np.float64):
    rng = np.random.RandomState(0)
    network = Network([Conv2D(5, activation="tanh"), MaxPool2D()], (2, 8, 8), 3, dtype)
    network.initialize(rng)
    X = rng.standard_normal((n, 2, 8, 8)).astype(dtype)
    return Trainer(network, optimizer or Adam(), rng), X, rng.randint(0, 3, n)


@pytest.mark.parametrize("batch_size, steps", [(1, 100), (32, 4), (100, 1), (500, 1)])
def test_every_sample_once_with_a_short_last_batch(batch_size, steps):
    trainer, X, y = make_trainer(optimizer=SGD())
    run_epoch = trainer.prepare(TrainingData(X, y, np.ones(100)), StepSettings(batch_size, 1e-300, True, 2))
    record = run_epoch()
    assert trainer.steps[0] == steps
    # at a learning rate of practically zero, the running loss is the loss
    assert record["train_loss"] == pytest.approx(trainer.network.loss(X, y)[0], rel=1e-12)


@pytest.mark.parametrize("n, shown", [(9, 1), (100, 9), (1000, 48)])
def test_an_epoch_in_parts_equals_one_call(dtype, n, shown):
    layers = [Mixup(0.4), Conv2D(3), BatchNorm(), Dropout(0.4)]
    whole = Network(layers, (1, 4, 4), 3, dtype)
    whole.initialize(np.random.RandomState(0))
    trainer = Trainer(copy.deepcopy(whole), Adam(), np.random.RandomState(1))
    rng = np.random.RandomState(2)
    X, y, weight = rng.standard_normal((n, 1, 4, 4)).astype(dtype), rng.randint(0, 3, n), rng.random_sample(n)
    schedule, reported = CosineDecay(0.1, n), []
    record = trainer.prepare(TrainingData(X, y, weight), StepSettings(3, schedule, True, 2))(reported.append)
    assert len(reported) == shown and reported == sorted(reported) and reported[-1] == 1
    program, engine = whole.compile(training=True), kernels.get_engine(dtype)
    rng, steps, batches = np.random.RandomState(1), np.zeros(1, np.intp), np.arange(-(-n // 3))
    order, key = rng.permutation(n), int(rng.randint(2**63, dtype=np.uint64))
    sizes = np.minimum(3, n - 3 * batches)
    mixing = np.random.RandomState([0, key >> 32, key & 0xFFFFFFFF])
    loss, score, total = program.train(
        whole.wrap_data(X, y, weight, CROSS_ENTROPY),
        engine.Epoch(
            order, 3, schedule.rates(batches, schedule.start()), *draw_mixing(whole, sizes, mixing), key
        ),
        0,
        len(batches),
        engine.OptimizerState(
            Adam().fields(engine.optimizer_kinds),
            whole.group_parameters(),
            whole.params,
            np.zeros((2, whole.n_params), dtype),
            steps,
        ),
        whole.make_workspace(program, 2, 3),
    )
    np.testing.assert_array_equal(trainer.network.params, whole.params)
    assert trainer.steps == steps
    assert record["train_loss"] == pytest.approx(loss / total, rel=1e-14)
    assert record["train_score"] == pytest.approx(score / total, rel=1e-14)


def test_running_loss_weighs_samples():
    trainer, X, y = make_trainer(optimizer=SGD())
    weight = np.random.default_rng(0).random(100)
    weight[::3] = 0
    record = trainer.prepare(TrainingData(X, y, weight), StepSettings(16, 1e-300, True, 2))()
    expected = trainer.network.loss(X, y, weight)[0]
    assert record["train_loss"] == pytest.approx(expected, rel=1e-12)


def test_a_step_is_the_gradient_of_its_batch():
    trainer, X, y = make_trainer(optimizer=SGD())
    before = trainer.network.params.copy()
    _, _, gradient = trainer.network.loss(X, y)
    trainer.prepare(TrainingData(X, y, np.ones(100)), StepSettings(100, 0.5, False, 2))()
    np.testing.assert_allclose(trainer.network.params, before - 0.5 * gradient, rtol=1e-14)


def test_weights_left_out_by_a_connection_table_stay_zero():
    rng = np.random.RandomState(0)
    table = rng.rand(7, 3) < 0.5
    network = Network([Conv2D(7, connections=table, name="conv")], (3, 6, 6), 3)
    network.initialize(rng)
    X = rng.standard_normal((50, 3, 6, 6)).astype(np.float32)
    for optimizer in (Adam(), SGD(momentum=0.9)):
        trainer = Trainer(network, optimizer, rng)
        trainer.prepare(
            TrainingData(X, rng.randint(0, 3, 50), np.ones(50)), StepSettings(16, 0.01, True, 2)
        )()
    assert not network.weights["conv.weight"][~table].any()
    assert network.weights["conv.weight"][table].all()


def test_nothing_is_allocated_in_a_training_step():
    trainer, X, y = make_trainer(n=2000, dtype=np.float32)
    network = trainer.network
    program, engine = network.compile(training=True), kernels.get_engine(np.float32)
    workspace = network.make_workspace(program, 2, 20)
    arguments = (
        network.wrap_data(X, y, np.ones(2000), CROSS_ENTROPY),
        engine.Epoch(np.arange(2000), 20, np.full(100, 1e-3), np.full(100, 0.5), np.full(100, 3), 0),
        0,
        100,
        engine.OptimizerState(
            Adam().fields(engine.optimizer_kinds, 1e-3),
            network.group_parameters(0.1),
            network.params,
            np.zeros((2, network.n_params), np.float32),
            np.zeros(1, np.intp),
        ),
        workspace,
    )
    program.train(*arguments)
    tracemalloc.start()
    program.train(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4096  # for views that the call makes once, not for each of its 100 steps


@pytest.mark.parametrize("wrong", [-1, 3])
def test_targets_beyond_the_outputs(wrong):
    trainer, X, y = make_trainer()
    y[5] = wrong
    with pytest.raises(ValueError, match="target must be from 0 to 2, got"):
        trainer.prepare(TrainingData(X, y, np.ones(100)), StepSettings(32, 0.01, True, 1))


def test_a_copy_continues_independently():
    trainer, X, y = make_trainer()
    trainer.prepare(TrainingData(X, y, np.ones(100)), StepSettings(32, 0.01, True, 1))()
    before = trainer.network.params.copy()
    copies = [trainer.copy(), trainer.copy()]
    for other in copies:
        other.prepare(TrainingData(X, y, np.ones(100)), StepSettings(32, 0.01, True, 1))()
    np.testing.assert_array_equal(trainer.network.params, before)
    np.testing.assert_array_equal(copies[0].network.params, copies[1].network.params)
    assert (copies[0].network.params != before).any()


def test_a_gradient_is_clipped_to_the_largest_norm():
    trainer, X, y = make_trainer(optimizer=SGD())
    before = trainer.network.params.copy()
    _, _, gradient = trainer.network.loss(X, y)
    norm = np.linalg.norm(gradient)
    trainer.prepare(TrainingData(X, y, np.ones(100)), StepSettings(100, 0.5, False, 2, clip_norm=norm / 3))()
    np.testing.assert_allclose(trainer.network.params, before - gradient / 6, rtol=1e-13)


def test_clipping_at_a_norm_that_is_never_reached_is_bitwise_identical():
    params = []
    for clip_norm in (None, 1e9):
        trainer, X, y = make_trainer()
        trainer.prepare(
            TrainingData(X, y, np.ones(100)), StepSettings(32, 0.01, True, 2, clip_norm=clip_norm)
        )()
        params.append(trainer.network.params)
    np.testing.assert_array_equal(*params)


@pytest.mark.parametrize(
    "optimizer",
    [SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True), *(make() for make in OPTIMIZERS.values())],
    ids=repr,
)
def test_training_is_bitwise_identical_on_any_number_of_threads(optimizer, dtype):
    params = []
    for n_threads in (1, 2, 3, 4):
        trainer, X, y = make_trainer(optimizer=optimizer, dtype=dtype)
        run_epoch = trainer.prepare(
            TrainingData(X, y, np.ones(100)), StepSettings(64, 0.01, True, n_threads, 0.1, 0.05)
        )
        for _ in range(3):
            run_epoch()
        params.append(trainer.network.params)
    for other in params[1:]:
        np.testing.assert_array_equal(other, params[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_weights_decay(name):
    weights = []
    for weight_decay in (0.0, 5.0):
        rng = np.random.RandomState(0)
        network = Network([Conv2D(3), BatchNorm(), Dense(4, activation="tanh")], (1, 4, 4), 2, np.float64)
        network.params = rng.random_sample(len(network.params)) + 0.5
        trainer, X = Trainer(network, OPTIMIZERS[name](), rng), rng.standard_normal((20, 1, 4, 4))
        trainer.prepare(
            TrainingData(X, np.arange(20) % 2, np.ones(20)), StepSettings(20, 0.01, True, 1, weight_decay)
        )()
        weights.append(network.weights)
    for key, weight in weights[0].items():
        assert (weight == weights[1][key]).all() == (weight.ndim == 1), key


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_that_overflows_is_an_error(name, clip_norm, dtype):
    network = Network([Dense(1, bias=False)], (1,), 2, dtype)
    large = np.sqrt(np.finfo(dtype).max) * 10
    # outputs 0 and a loss of log 2, but a gradient of -large^2 to the first weight
    network.params = np.array([0, large, -large, 0, 0])
    trainer = Trainer(network, OPTIMIZERS[name](), np.random.RandomState(0))
    X = np.full((8, 1), large, dtype)
    run_epoch = trainer.prepare(
        TrainingData(X, np.zeros(8, int), np.ones(8)), StepSettings(8, 0.01, False, 1, clip_norm=clip_norm)
    )
    with pytest.raises(ValueError, match="no longer finite in epoch 1"):
        train(trainer, run_epoch, 1, [], interruptible=False)


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_gradients_of_parts_of_a_batch_lead_to_its_step(clip_norm, dtype):
    """Losses, scores and gradients of two parts add up to those of the batch, and lead to the same step."""
    trainer, X, y = make_trainer(optimizer=SGD(), dtype=dtype)
    network, weight = trainer.network, np.random.default_rng(0).random(100)
    program, data = network.compile(training=True), network.wrap_data(X, y, weight, CROSS_ENTROPY)
    gradients, losses, scores = np.empty((2, network.n_params), dtype), [], []
    for rows, gradient in zip(np.split(np.arange(100), [30]), gradients):
        workspace = network.make_workspace(program, 1, len(rows))
        loss, score = program.loss(data, rows, network.params, None, gradient, workspace, total=weight.sum())
        losses.append(loss)
        scores.append(score)
    tolerance = 100 * float(np.finfo(dtype).eps)
    assert sum(losses) == pytest.approx(network.loss(X, y, weight)[0], rel=tolerance)
    assert sum(scores) == pytest.approx(weight @ (network.forward(X).argmax(axis=1) == y))
    other = trainer.copy()
    trainer.prepare_steps(StepSettings(100, 0.5, False, 2, 0.1, clip_norm))(gradients, 0.5)
    other.prepare(TrainingData(X, y, weight), StepSettings(100, 0.5, False, 2, 0.1, clip_norm))()
    np.testing.assert_allclose(network.params, other.network.params, rtol=tolerance, atol=tolerance)
    assert trainer.steps[0] == other.steps[0] == 1


def test_an_epoch_can_be_undone():
    trainer, X, y = make_trainer()
    run_epoch = trainer.prepare(TrainingData(X, y, np.ones(100)), StepSettings(32, 0.01, True, 1))
    run_epoch()
    state, params = trainer.snapshot(), []
    for _ in range(2):
        run_epoch()
        params.append(trainer.network.params.copy())
        trainer.restore(state)
    np.testing.assert_array_equal(*params)


class TestWorseThanAConstant:
    """The warning at the end of a fit, which pyproject.toml turns off for the other tests."""

    X = np.random.default_rng(0).random((80, 6, 6))
    Y = (np.arange(80) % 4 > 0).astype(int)  # 20 zeros, 60 ones
    FAILS = {"layers": [], "optimizer": "sgd", "learning_rate": 1e-12, "max_iter": 2, "random_state": 0}

    @pytest.fixture
    def warned(self):
        """All warnings as errors, also this one."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            yield pytest.warns(ConvergenceWarning, match="The model is worse than a constant: ")

    def test_classifier(self, warned):
        """The accuracy counts samples by their weights."""
        clf = ConvNetClassifier(**self.FAILS)
        with pytest.warns(ConvergenceWarning) as records:
            clf.fit(self.X, self.Y)
        right = np.mean(clf.predict(self.X) == self.Y)
        assert right < 0.75
        assert str(records[0].message) == (
            f"The model is worse than a constant: it is right for {right:.2%} of the training samples, and "
            f"always predicting the most frequent class would be right for 75.00%. Scale X to about [-1, 1], "
            f"choose another learning_rate (it is 1e-12), or train for more epochs (max_iter is 2)."
        )
        assert records[0].filename == __file__
        with warned:
            clf.set_params(loss="binary_cross_entropy").fit(self.X, self.Y)
        weight = np.where(clf.predict(self.X) == self.Y, 1.0, 0.0)
        weight[[0, 3]] = 1
        clf.fit(self.X, self.Y, weight)

    def test_a_good_fit_does_not_warn(self, warned):
        ConvNetClassifier([], max_iter=30, random_state=0).fit(self.X + self.Y[:, None, None], self.Y)
        ConvNetRegressor([], max_iter=200, learning_rate=0.01).fit(self.X, self.X.sum((1, 2)))
        ConvNetRegressor([], max_iter=1).fit(self.X, np.ones(80))  # the mean is perfect here

    @pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
    @pytest.mark.parametrize("scale", [1, 1e6])
    def test_regressor(self, warned, loss, scale):
        y = np.random.default_rng(1).standard_normal((80, 2)) * scale + 5
        reg = ConvNetRegressor(**self.FAILS, loss=loss)
        with pytest.warns(ConvergenceWarning) as records:
            reg.fit(self.X, y)
        s = np.sqrt(y.var(axis=0).mean())
        d = np.abs(y - y.mean(axis=0))
        constant = {
            "squared_error": d**2,
            "absolute_error": d,
            "huber": np.where(d < s, d**2 / 2, s * (d - s / 2)),
        }[loss].mean()
        message = str(records[0].message)
        assert f"predicting the mean would have a loss of {constant:.4g}." in message
        assert f"its loss on the training samples is {reg.loss_:.4g}" in message

    def test_several_labels(self, warned):
        y = np.random.default_rng(1).random((80, 3)) < (0.1, 0.5, 0.9)
        with warned:
            ConvNetClassifier(**self.FAILS, loss="binary_cross_entropy").fit(self.X, y)
        ConvNetClassifier([], loss="binary_cross_entropy", max_iter=200).fit(self.X, y)

    def test_layers_that_disturb_training_do_not_mislead(self, warned):
        """The record of an epoch is below the constant, but the network itself is not."""
        x = self.X[:, :1] / 100 + self.Y[:, None, None]
        clf = ConvNetClassifier([Dropout(0.95)], max_iter=5, random_state=0).fit(x - 0.5, self.Y)
        assert clf.history_[-1]["train_score"] < 0.75 < clf.score(x - 0.5, self.Y)

    def test_partial_fit_does_not_warn(self, warned):
        ConvNetClassifier(**self.FAILS).partial_fit(self.X, self.Y, classes=[0, 1])
