"""Fitting on a cluster: the model is that of one process, even if workers are lost."""

import asyncio
import os
import signal
import sys
import threading
import tracemalloc

import dask
import dask.array as da
import distributed
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skconvnet.dask
from skconvnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer, kernels
from skconvnet._network import Network
from skconvnet.layers import (
    Augment,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Function,
    MaxPool2D,
    Mixup,
    Standardize,
)
from skconvnet.optimizers import SGD

X, Y = load_digits(return_X_y=True)
X, Y = X[:230].reshape(-1, 8, 8) / 16, Y[:230]
LAYERS = [Conv2D(4, activation="tanh"), MaxPool2D()]


def make(model=ConvNetClassifier, layers=LAYERS, **parameters):
    parameters = {"max_iter": 3, "random_state": 0, "batch_size": 50, "n_threads": 1, **parameters}
    return model(layers, **parameters)


def make_loss():
    """Return a squared error; a worker that cannot import this module gets its class."""

    class SquaredError:
        def value_and_gradient(self, outputs, targets):
            error = outputs - targets
            return (error**2).mean(axis=1), 2 * error / error.shape[1]

    return SquaredError()


SINE = Function(np.sin, np.cos)


@pytest.fixture(scope="module")
def client():
    """A client of two processes."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def inside():
    """A client of one worker, which is a thread of this process."""
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as c:
        yield c


def check_same(fitted, other, rtol=1e-6):
    """Check that two estimators have learnt the same, with the same history."""
    np.testing.assert_allclose(fitted.network_.params, other.network_.params, rtol=rtol, atol=rtol / 10)
    assert len(fitted.history_) == len(other.history_) and fitted.t_ == other.t_
    assert fitted.n_iter_ == other.n_iter_ and fitted.best_iter_ == other.best_iter_
    for record, expected in zip(fitted.history_, other.history_):
        assert record.keys() == expected.keys()
        for name in record.keys() - {"duration"}:
            assert record[name] == pytest.approx(expected[name], rel=rtol), name


CASES = {
    "plain": make(),
    "clipped": make(optimizer=SGD(momentum=0.9), learning_rate=0.1, clip_norm=0.1, weight_decay=0.01),
    "ordered": make(shuffle=False, batch_size=64, class_weight={0: 3.0}),
    "binary": make(loss="binary_cross_entropy", label_smoothing=0.1),
    "stops": make(early_stopping=True, scoring="accuracy", n_iter_no_change=1, max_iter=6),
    "standardized": make(layers=[Standardize(), *LAYERS]),
    "averaged": make(average="ema", batch_size=9),
    "squared": make(ConvNetRegressor),
    "huber": make(ConvNetRegressor, loss="huber"),
    "focal": make(loss="focal"),
    "poisson": make(ConvNetRegressor, loss="poisson"),
    "own": make(ConvNetRegressor, layers=[*LAYERS, SINE], loss=make_loss()),
    "own, classes": make(loss=make_loss()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_that_of_one_process(client, case):
    estimator = CASES[case]
    weight = np.random.default_rng(0).random(len(X)) if case in ("plain", "squared") else None
    expected = clone(estimator).fit(X, Y, weight)
    fitted = clone(estimator)
    assert skconvnet.dask.fit(fitted, X, Y, weight, client=client) is fitted
    check_same(fitted, expected)
    np.testing.assert_allclose(fitted.predict(X), expected.predict(X), rtol=1e-6)
    if case == "standardized":
        learnt = expected.network_.weights["0.running_mean"]
        np.testing.assert_array_equal(fitted.network_.weights["0.running_mean"], learnt)
    expected.partial_fit(X, Y)  # continues with the states of the optimizer and of the random generator
    check_same(fitted.partial_fit(X, Y), expected)


def test_single_precision(client):
    x = X.astype(np.float32)
    check_same(skconvnet.dask.fit(make(), x, Y, client=client), make().fit(x, Y))


def test_continuing(client):
    """Also on a dask array with Standardize, which has learnt its moments before."""
    estimators = [make(layers=[Standardize(), *LAYERS], warm_start=True) for _ in range(2)]
    validation = {"X_val": X[:50], "y_val": Y[:50], "sample_weight_val": np.arange(50) % 3}
    for x in (X, X, da.from_array(X, chunks=(100, 8, 8))):
        skconvnet.dask.fit(estimators[0], x, Y, client=client, **validation)
        estimators[1].fit(X, Y, **validation)
    check_same(*estimators)


def test_weights_of_validation_samples(client):
    with pytest.raises(ValueError, match="sample_weight_val has no samples to weight"):
        skconvnet.dask.fit(make(), X, Y, client=client, sample_weight_val=np.ones(50))
    lazy = da.from_array(np.arange(50) % 3, chunks=20)
    samples = {"X_val": X[:50], "y_val": Y[:50]}
    fitted = skconvnet.dask.fit(make(), X, Y, client=client, **samples, sample_weight_val=lazy)
    check_same(fitted, make().fit(X, Y, **samples, sample_weight_val=np.arange(50) % 3))
    assert fitted.validation_loss_curve_ != make().fit(X, Y, **samples).validation_loss_curve_


def test_starting_from_another_network(client):
    """With frozen layers between trained ones, and with an init_from that cannot be sent to a worker."""
    layers = [Conv2D(4, name="stem"), MaxPool2D(), Dense(6, name="middle")]
    source = make(layers=layers, random_state=1).fit(X, Y)
    source.lock = threading.Lock()
    fitted, expected = (
        make(layers=layers, init_from=FrozenEstimator(source), freeze=["middle"]) for _ in range(2)
    )
    check_same(skconvnet.dask.fit(fitted, X, Y, client=client), expected.fit(X, Y))
    learnt, before = fitted.network_.weights, source.network_.weights
    np.testing.assert_array_equal(learnt["middle.weight"], before["middle.weight"])
    assert (learnt["stem.weight"] != before["stem.weight"]).any()


class Recorder:
    """A callback that cannot be sent to a worker, and that stops training after the second epoch."""

    def __init__(self):
        self.calls, self.fitted, self.lock = [], [], threading.Lock()

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.calls.append(f"{context.task_name} begins")
        self.given = X, y

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.calls.append(f"{context.task_name} ends")
        if context.task_name == "epoch":
            self.fitted.append(fitted_estimator)
            return len(self.fitted) == 2


def test_callbacks(client):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    recorders = Recorder(), Recorder()
    fitted, expected = (make(max_iter=5).set_callbacks(recorder) for recorder in recorders)
    check_same(skconvnet.dask.fit(fitted, X, Y, client=client), expected.fit(X, Y))
    assert fitted.n_iter_ == 2 and recorders[0].calls == recorders[1].calls
    assert recorders[0].given[0] is X and recorders[0].given[1] is Y
    check_same(recorders[0].fitted[0], recorders[1].fitted[0])
    with pytest.raises(ValueError, match="callbacks need the whole of X in this process. Set no callbacks"):
        skconvnet.dask.fit(fitted, da.from_array(X, chunks=(100, 8, 8)), Y, client=client)
    assert len(recorders[0].fitted) == 2


def test_a_bar_grows(client, monkeypatch, capsys):
    """The bar grows by a part for each of the 5 batches of an epoch."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(skconvnet._progress.time, "perf_counter", lambda: next(seconds))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    skconvnet.dask.fit(make(verbose=2, max_iter=2), X, Y, client=client)
    bars = [part for part in capsys.readouterr().out.split("\r") if "#" in part]
    assert [bar.split()[0] for bar in bars] == ["1"] * 5 + ["2"] * 5
    assert [bar[-4:] for bar in bars[:5]] == [" 20%", " 40%", " 60%", " 80%", "100%"]


@pytest.mark.parametrize("layers", [[*LAYERS, Dropout(0.5)], [Conv2D(4), BatchNorm(), MaxPool2D()]], ids=repr)
def test_one_worker_is_bitwise_identical_to_one_process(inside, layers):
    fitted, expected = (make(layers=layers) for _ in range(2))
    skconvnet.dask.fit(fitted, X, Y, client=inside)
    expected.fit(X, Y)
    np.testing.assert_array_equal(fitted.network_.params, expected.network_.params)


def test_dask_arrays_of_uneven_chunks(client):
    """Arrays of images, and of rows with chunks along the features."""
    expected = make(dtype="float64").fit(X, Y)
    images = da.from_array(X, chunks=((7, 150, 3, 70), 8, 8))
    fitted = skconvnet.dask.fit(make(), images, da.from_array(Y, chunks=100), client=client)
    check_same(fitted, expected)
    whole = (X * 16).astype(np.int32)
    rows = da.from_array(whole.reshape(-1, 64), chunks=(100, 30))
    fitted = skconvnet.dask.fit(make(input_shape=(8, 8), dtype="float64"), rows, Y, client=client)
    check_same(fitted, make(dtype="float64").fit(whole, Y))


def test_a_dask_array_is_never_read_by_this_process(client):
    x = da.random.default_rng(0).random((20_000, 16, 16), dtype=np.float32, chunks=(3000, 16, 16))
    tracemalloc.start()
    # also with a type that has to be converted for the network
    for kind in (np.float32, np.float16):
        estimator = make(layers=[MaxPool2D(4)], max_iter=1, batch_size=5000)
        skconvnet.dask.fit(estimator, x.astype(kind), np.arange(len(x)) % 2, client=client)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 8


def test_data_frames(client):
    frame = pd.DataFrame(X.reshape(-1, 64)).add_prefix("pixel")
    fitted, expected = (make(input_shape=(8, 8), loss="binary_cross_entropy") for _ in range(2))
    several = np.eye(10, dtype=int)[Y] | (Y[:, None] > 4)
    with client.as_current():
        skconvnet.dask.fit(fitted, frame, several)
    check_same(fitted, expected.fit(frame, several))
    np.testing.assert_array_equal(fitted.feature_names_in_, frame.columns)


def test_running_moments_are_averaged(client):
    """Weighted by each worker's number of samples in a batch, here 115 and 25; the others have weight 0."""
    client.wait_for_workers(2, timeout=30)
    x, weight = X.reshape(-1, 64) + np.arange(len(X))[:, None] / 100, np.arange(len(X)) < 140
    fitted, expected = (
        make(layers=[BatchNorm(momentum=0.8, scale=False, center=False)], batch_size=140, max_iter=1)
        for _ in range(2)
    )
    skconvnet.dask.fit(fitted, x, Y, weight, client=client)
    expected.fit(x, Y, weight)
    name = "0.running_mean"
    np.testing.assert_allclose(fitted.network_.weights[name], expected.network_.weights[name], rtol=1e-6)
    variances = [part.var(axis=0, ddof=1) for part in (x[:115], x[115:140])]
    variance = 0.8 + 0.2 * np.average(variances, axis=0, weights=[115, 25])
    np.testing.assert_allclose(fitted.network_.weights["0.running_var"], variance, rtol=1e-6)


def test_masks_differ_between_workers(client):
    """Both have the same samples, so with the same masks the result would be that of one worker."""
    x, y = np.ones((32, 40)), np.arange(32) % 2
    both, one = (make(layers=[Dropout(0.5)], optimizer="sgd", shuffle=False, max_iter=1) for _ in range(2))
    client.wait_for_workers(2, timeout=30)
    skconvnet.dask.fit(both, x, y, client=client)
    one.fit(x[:16], y[:16])
    assert not np.allclose(both.network_.params, one.network_.params, rtol=1e-9)


@pytest.mark.parametrize("lazy", [False, True])
def test_the_loss_of_a_worker(client, monkeypatch, lazy):
    """A worker is lost in the middle of the second epoch, which starts again with the same order."""
    differentiate, calls = skconvnet.dask._Team.differentiate, []

    def kill_and_differentiate(team, *batch):
        calls.append(batch)
        if len(calls) == 8:
            os.kill(client.run(os.getpid)[max(team._addresses)], signal.SIGKILL)
        return differentiate(team, *batch)

    monkeypatch.setattr(skconvnet.dask._Team, "differentiate", kill_and_differentiate)
    dismiss_lost, kept = skconvnet.dask._Team.dismiss_lost, []

    def dismiss_and_keep(team):
        kept.extend(team._futures)  # as the traceback of the error may do; they wait for the lost worker
        return dismiss_lost(team)

    monkeypatch.setattr(skconvnet.dask._Team, "dismiss_lost", dismiss_and_keep)
    layers = [*LAYERS, Dense(5)]
    client.wait_for_workers(2, timeout=30)
    x = da.from_array(X, chunks=(100, 8, 8)) if lazy else X
    with pytest.warns(UserWarning, match=r"lost the worker tcp://.*starts again") as warned:
        fitted = skconvnet.dask.fit(make(layers=layers), x, Y, client=client)
    assert len(calls) == 18 and [w.filename for w in warned if w.category is UserWarning] == [__file__]
    check_same(fitted, make(layers=layers).fit(X, Y))


def test_no_worker_left(inside, monkeypatch):
    monkeypatch.setattr(skconvnet.dask, "PATIENCE", 0.2)
    inside.cluster.scale(0)
    estimator = make()
    while inside.nthreads():
        pass
    with pytest.raises(RuntimeError, match="no worker left. Start workers"):
        skconvnet.dask.fit(estimator, X, Y, client=inside)
    assert not hasattr(estimator, "network_")


def test_bad_samples_raise_before_training(client):
    bad = X.copy()
    bad[200, 0, 0] = np.nan
    for x in (bad, da.from_array(bad, chunks=(100, 8, 8))):
        with pytest.raises(ValueError, match="NaN"):
            skconvnet.dask.fit(make(), x, Y, client=client)
    lazy = da.from_array(X, chunks=(100, 8, 8))
    for wrong, estimator, message in (
        (lazy[lazy[:, 0, 0] >= 0], make(), "compute_chunk_sizes"),
        (lazy, make(early_stopping=True), "Pass X_val"),
        (lazy, make(layers=[Standardize()]), "Standardize would have to read"),
        (lazy, make(layers=[Conv2D(4, init="whiten")]), 'init="whiten" would have to read'),
        (lazy[:-1], make(), "inconsistent numbers of samples"),
        (lazy, make(layers=[Standardize()], warm_start=True), "Standardize would have to read"),
        (X, make(layers=[Mixup()]), "Mixup '0' changes whole mini-batches"),
        (X, make(layers=[Augment(lambda X, rng: X)]), "Augment '0' changes whole mini-batches"),
    ):
        with pytest.raises(ValueError, match=message):
            skconvnet.dask.fit(estimator, wrong, Y, client=client)
    with pytest.raises(TypeError, match="must be an array-like or a dask array"):
        skconvnet.dask.fit(make(), dask.delayed(X), Y, client=client)
    with pytest.raises(ValueError, match="no longer finite in epoch 1"):
        steep = make(ConvNetRegressor, optimizer="sgd", learning_rate=1e200)
        skconvnet.dask.fit(steep, X, Y, client=client)


@pytest.mark.parametrize("lazy", [False, True])
def test_worse_than_a_constant(inside, lazy):
    x = da.from_array(X, chunks=(100, 8, 8)) if lazy else X
    with pytest.warns(ConvergenceWarning, match="always predicting the most frequent class"):
        skconvnet.dask.fit(make(learning_rate=1e-12), x, Y % 4 // 3, client=inside)


def test_frozen_layers_leave_mini_batches_alone(client):
    fitted, expected = (make(layers=[Mixup(), *LAYERS], freeze=[0]) for _ in range(2))
    skconvnet.dask.fit(fitted, X, Y, client=client)
    check_same(fitted, expected.fit(X, Y))


@pytest.mark.parametrize(
    "other",
    [
        make_pipeline(make()),
        GridSearchCV(make(), {}),
        ConvNetTransformer(make()),
        FrozenEstimator(make()),
        None,
    ],
    ids=lambda other: type(other).__name__,
)
@pytest.mark.parametrize("lazy", [False, True])
def test_other_estimators(client, other, lazy):
    x = da.from_array(X, chunks=(100, 8, 8)) if lazy else X
    with pytest.raises(
        TypeError,
        match=rf"must be a ConvNetClassifier.*got {other if other is None else type(other).__name__}",
    ):
        skconvnet.dask.fit(other, x, Y, client=client)


def test_other_clients(client):
    address = client.scheduler_info()["address"]
    message = r"must be a synchronous distributed\.Client, got .*tcp.*Pass distributed\.Client\("

    async def fit():
        async with distributed.Client(address, asynchronous=True) as other:
            for given in (other, None):  # None means the current client, which is this one
                with pytest.raises(TypeError, match=message):
                    skconvnet.dask.fit(make(), X, Y, client=given)

    asyncio.run(fit())
    for other in (address, client.cluster):
        with pytest.raises(TypeError, match=message):
            skconvnet.dask.fit(make(), X, Y, client=other)


def test_no_client(monkeypatch):
    def find():
        raise ValueError("No global client found and no address provided")

    monkeypatch.setattr(distributed, "get_client", find)  # would find the client of the other tests
    with pytest.raises(ValueError, match="there is no client. Pass client="):
        skconvnet.dask.fit(make(), X, Y)


def test_dask_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install skconvnet\[dask\]"):
        skconvnet.dask.fit(make(), X, Y)


@pytest.mark.parametrize("n_threads, expected", [(None, 3), (2, 2)])
def test_a_worker_uses_all_its_threads_unless_n_threads_is_set(monkeypatch, n_threads, expected):
    counts, make_workspace = [], Network.make_workspace

    def spy(self, program, n_threads, batch_size=0):
        counts.append(n_threads)
        return make_workspace(self, program, n_threads, batch_size)

    monkeypatch.setattr(Network, "make_workspace", spy)
    monkeypatch.setenv("SKCONVNET_NUM_THREADS", "1")
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=3, dashboard_address=":0") as c:
        skconvnet.dask.fit(make(n_threads=n_threads, max_iter=1), X, Y, client=c)
    # first this process, which takes the steps, then the worker
    assert counts == [kernels.count_threads(n) for n in (n_threads, expected)]


def test_grid_search_on_a_cluster(client):
    search = GridSearchCV(
        make(max_iter=2),
        {"layers__0__filters": [2, 4]},
        scoring=lambda clf, X, y: {"accuracy": clf.score(X, y), "process": os.getpid()},
        refit="accuracy",
        cv=2,
        error_score="raise",
    )
    expected = clone(search).fit(X, Y).cv_results_
    client.wait_for_workers(2, timeout=30)  # with one, joblib would fit in this process
    with client.as_current(), joblib.parallel_config("dask"):
        found = search.fit(X, Y).cv_results_
    np.testing.assert_array_equal(found["mean_test_accuracy"], expected["mean_test_accuracy"])
    assert {*found["split0_test_process"], *found["split1_test_process"]} <= {*client.run(os.getpid).values()}


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_memory_mapped_array_is_never_read_whole(tmp_path, kind):
    n = 40_000
    images = np.memmap(tmp_path / "images", kind, "w+", shape=(n, 16, 16))
    images[:] = np.arange(n)[:, None, None] % 7
    images.flush()
    images = np.memmap(tmp_path / "images", kind, "r", shape=(n, 16, 16))
    y = np.arange(n) % 2
    estimator = make(layers=[MaxPool2D(4)], max_iter=1)
    tracemalloc.start()
    estimator.fit(images, y).partial_fit(images[1000:], y[1000:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 4


def test_partial_fit_over_blocks(tmp_path):
    """Blocks of a memory-mapped array and of a dask array lead to the same model as blocks of an array."""
    x = X.astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    lazy, labels = da.from_array(mapped, chunks=(100, 8, 8)), da.from_array(Y, chunks=100)
    streams = (
        ((x[k : k + 100], Y[k : k + 100]) for k in range(0, len(x), 100)),
        ((mapped[k : k + 100], Y[k : k + 100]) for k in range(0, len(x), 100)),
        zip(lazy.partitions, labels.partitions),
    )
    params = []
    for stream in streams:
        estimator = make()
        for block, label in stream:
            estimator.partial_fit(block, label, classes=np.arange(10))
        params.append(estimator.network_.params)
    for other in params[1:]:
        np.testing.assert_array_equal(other, params[0])
