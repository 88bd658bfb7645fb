"""Fitting on several computers: each worker of a Dask cluster computes the gradients of its own samples.

An estimator's own `fit` reads a whole dask array into memory. `fit` of this module leaves the array on the
workers. `partial_fit` over the `partitions` of an array reads a chunk at a time.
"""

import copy
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from skconvnet import kernels
from skconvnet._base import BaseConvNet
from skconvnet._sklearn_compat import ATTACHED, has_callbacks
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet._types import Array, ProgressCallback, Record
from skconvnet._warnings import warn
from skconvnet.layers import Augment, Mixup, Standardize
from skconvnet.losses import Objective, measure_inverse_variances

__all__ = ["fit"]

Model = TypeVar("Model", bound=BaseConvNet)

PATIENCE = 5.0  # seconds of waiting for a worker before checking whether it is lost


def fit(
    estimator: Model,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    client: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    sample_weight_val: Any = None,
) -> Model:
    """Fit one network on all workers of a Dask cluster.

    Each worker holds a part of the samples, neighbours in X, which it receives once. Every mini-batch is the
    one that `estimator.fit` would use in one process. Each worker computes the gradient of the samples that
    it holds; this process adds up the gradients in the order of the workers and takes the optimizer's
    step (synchronous data parallelism [1]_). The model is therefore that of `estimator.fit` except for
    rounding errors, which depend only on the number of workers, with two exceptions:

    - `BatchNorm` normalises with the moments of those samples of a batch that the worker holds. After every
      step, running moments are averaged over the workers, weighted by the number of these samples.
    - `Dropout`, and other layers that draw random numbers, draw different ones.

    With one worker the model is bitwise identical to that of `estimator.fit`. Every step transfers all
    parameters to the workers and back, so large batches and few parameters suit a cluster best.

    If a worker is lost, all samples are distributed over the workers that are present then, the epoch starts
    again, and a warning says so. Validation, early stopping and the schedule run in this process.

    Parameters
    ----------
    estimator : ConvNetClassifier or ConvNetRegressor
        It is fitted in place, and all of its parameters apply; with `warm_start` it continues.
    X : array-like or dask array
        As for `estimator.fit`. A dask array may have any chunks; each worker computes those of its samples
        and keeps them. A memory-mapped array is read one worker's part at a time.
    y : array-like or dask array
        As for `estimator.fit`; this process holds it.
    sample_weight : array-like or dask array of shape (n,), default=None
        Weights in the loss; a weight of 0 leaves the sample out.
    client : distributed.Client, default=None
        A synchronous client of the cluster; None means the current client. A worker uses the estimator's
        `n_threads`, or all of its own threads if that is None.
    X_val, y_val : array-like or dask array, default=None
        Samples to validate on after each epoch; this process holds them.
    sample_weight_val : array-like or dask array of shape (n_val,), default=None
        Their weights in the validation loss and score.

    Returns
    -------
    estimator : estimator
        The same object, fitted.

    Raises
    ------
    ImportError
        If dask and distributed are not installed.
    ValueError
        As `estimator.fit` does. If there is no client. If X is a dask array of unknown length, or one that
        this process would have to read: with `early_stopping` and no `X_val`, for callbacks, or for the
        `Standardize` or the ``init="whiten"`` of a new network. If there is an `Augment` or a `Mixup` layer
        that is not frozen.
    TypeError
        If estimator is not one of skconvnet, client is no synchronous client, or X is a Dask collection other
        than an array.
    RuntimeError
        If no worker is left. An earlier model stays as it was, as it does with every error.

    Warns
    -----
    UserWarning
        If a worker was lost.

    References
    ----------
    .. [1] Dean et al., "Large scale distributed deep networks", NeurIPS 2012; Chen, Pan, Monga, Bengio and
       Jozefowicz, "Revisiting distributed synchronous SGD", 2016.

    Examples
    --------
    >>> import numpy as np, skconvnet.dask
    >>> from distributed import Client
    >>> from skconvnet import ConvNetClassifier
    >>> X, y = np.random.rand(200, 8, 8), np.arange(200) % 2
    >>> with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
    ...     clf = skconvnet.dask.fit(ConvNetClassifier(max_iter=2), X, y, client=client)
    >>> clf.predict(X[:3]).shape
    (3,)
    """
    dask, distributed = import_dask()
    if not isinstance(estimator, BaseConvNet):
        raise TypeError(
            f"skconvnet.dask.fit: estimator must be a ConvNetClassifier or ConvNetRegressor, got "
            f"{estimator!r}. From a pipeline or a search, pass the estimator within."
        )
    client = _find_client(distributed) if client is None else client
    if not isinstance(client, distributed.Client) or client.asynchronous:
        raise TypeError(
            f"skconvnet.dask.fit: client must be a synchronous distributed.Client, got {client!r}. Pass "
            f"distributed.Client(cluster or address)."
        )
    y, *others = dask.compute(y, sample_weight, X_val, y_val, sample_weight_val, traverse=False)
    local = X
    if isinstance(X, dask.array.Array):
        _check_dask_array(estimator, X, X_val)
        # stands for X in the checks: X's shape, a dtype that leads to the same precision, and no memory
        double = X.dtype.kind == "f" and X.dtype.itemsize >= 8
        local = np.broadcast_to(np.zeros((), np.float64 if double else np.float32), X.shape)
    elif dask.is_dask_collection(X):
        raise TypeError(
            f"skconvnet.dask.fit: X must be an array-like or a dask array, got {type(X)}. For a data frame, "
            f"pass X.to_dask_array(lengths=True)."
        )
    prepare = functools.partial(prepare_on_cluster, client, estimator, X)
    return estimator._fit(prepare, local, y, *others)


def import_dask() -> tuple[Any, Any]:
    """Return the packages dask, with its arrays, and distributed, or say how to install them."""
    try:
        import dask.array
        import distributed
    except ImportError as error:
        raise ImportError(
            "skconvnet.dask needs the packages dask and distributed: pip install skconvnet[dask]"
        ) from error
    return dask, distributed


def _find_client(distributed: Any) -> Any:
    """Return the current client, or raise a ValueError that says how to create one."""
    try:
        return distributed.get_client()
    except ValueError as error:
        raise ValueError(
            "skconvnet.dask.fit: there is no client. Pass client=distributed.Client(...), or create one "
            "before."
        ) from error


def _check_dask_array(estimator: Any, X: Any, X_val: Any) -> None:
    """Refuse a dask array whose values this process would have to read."""
    if np.isnan(X.shape[0]):
        raise ValueError(
            f"skconvnet.dask.fit: X must have a known number of samples, got shape {X.shape}. Call "
            f"X.compute_chunk_sizes() first."
        )
    if estimator.early_stopping and X_val is None:
        raise ValueError(
            "skconvnet.dask.fit: early_stopping cannot split validation samples off a dask array. Pass X_val "
            "and y_val."
        )
    if has_callbacks(estimator):
        raise ValueError(
            "skconvnet.dask.fit: callbacks need the whole of X in this process. Set no callbacks to fit on a "
            "dask array."
        )
    new_layers = () if estimator._resumes() else estimator.layers or ()
    if any(getattr(layer, "init", None) == "whiten" for layer in new_layers):
        raise ValueError(
            'skconvnet.dask.fit: init="whiten" would have to read the dask array in this process. Use '
            "another init."
        )
    if any(isinstance(layer, Standardize) for layer in new_layers):
        raise ValueError(
            "skconvnet.dask.fit: Standardize would have to read the whole dask array in this process. Scale "
            "X with its own mean() and std(), or use Rescaling."
        )


def prepare_on_cluster(
    client: Any, estimator: Any, X: Any, trainer: Trainer, data: TrainingData, settings: StepSettings
) -> Callable[..., Record]:
    """Prepare epochs as `Trainer.prepare` does, but with the samples of X on the workers.

    Returns
    -------
    run_epoch : callable (report=callable (float)) -> dict
        Trains on all samples once, again if workers are lost, and returns a record of the history.
    """
    network, batch_size, weight = trainer.network, settings.batch_size, data.weight
    for stage in network.stages:
        if isinstance(stage.layer, (Augment, Mixup)) and not stage.frozen:
            raise ValueError(
                f"skconvnet.dask.fit: {stage.label} changes whole mini-batches, but a worker has only a part "
                f"of each. Leave the layer out."
            )
    take_step = trainer.prepare_steps(settings)
    team = _Team(client, estimator, X, data.target, weight, batch_size)

    def train_on(order: Array, rates: Array, key: int, report: ProgressCallback) -> Array:
        sums = np.zeros(3)
        for k, rate in enumerate(rates):
            rows = order[k * batch_size : (k + 1) * batch_size]
            total = weight[rows].sum()
            loss, score, vectors, fractions = team.differentiate(
                rows, total, int(key), trainer.turn, int(trainer.steps[0]), network.params
            )
            sums += loss * total, score, total
            if not np.isfinite(loss):
                break
            take_step(np.ascontiguousarray(vectors[:, : network.n_params]), rate)
            statistics = network.params[network.n_params :]
            # a mean of the statistics, written so that equal ones stay bitwise identical
            statistics += fractions @ (vectors[:, network.n_params :] - statistics)
            report((k + 1) / len(rates))
        return sums

    run = trainer.prepare_epochs(train_on, weight, settings)

    def run_epoch(report: ProgressCallback = lambda fraction: None) -> Record:
        state = trainer.snapshot()
        while True:
            try:
                team.distribute()
                return run(report)
            except _list_loss_errors() as error:
                lost = team.dismiss_lost()
                if not lost:
                    raise
                trainer.restore(state)
                warn(
                    f"skconvnet.dask.fit: lost the worker {', '.join(lost)} ({error}). The epoch starts "
                    f"again, with all samples on the workers that are present now."
                )

    return run_epoch


def _list_loss_errors() -> tuple[type[BaseException], ...]:
    """Return the errors that the loss of a worker may cause; a TimeoutError is an OSError."""
    from distributed import CancelledError, KilledWorker

    return OSError, RuntimeError, CancelledError, KilledWorker


class _Team:
    """The workers that hold the samples; each holds a contiguous range of them."""

    def __init__(
        self, client: Any, estimator: Any, X: Any, target: Array, weight: Array, batch_size: int
    ) -> None:
        self._client, self._estimator, self._X = client, estimator, X
        self._target, self._weight, self._batch_size = target, weight, batch_size
        self._loss = estimator._trainer.loss
        classes = target.dtype.kind == "i"
        self._inverse_variances = None if classes else measure_inverse_variances(target, weight)
        self._addresses, self._bounds, self._futures, self._holders = [], [0], [], []

    def distribute(self) -> None:
        """Distribute the samples over all workers that are present, unless that is done already."""
        if self._holders:
            return
        dask, _ = import_dask()
        client, n = self._client, len(self._target)
        # the workers' estimator leaves out what they do not need and what may not be picklable
        reader = copy.copy(self._estimator)
        vars(reader).update(scoring=None, init_from=None, history_=[], _trainer=None)
        for name in ATTACHED:
            vars(reader).pop(name, None)
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise RuntimeError(
                "skconvnet.dask.fit: the cluster has no worker left. Start workers and fit again."
            ) from None
        self._addresses = sorted(client.nthreads())[:n]
        self._bounds = [n * k // len(self._addresses) for k in range(len(self._addresses) + 1)]
        self._futures = []
        for address, start, end in zip(self._addresses, self._bounds, self._bounds[1:]):
            X, target, weight = (part[start:end] for part in (self._X, self._target, self._weight))
            parts = [X, target, weight, self._inverse_variances, self._loss, reader]
            if dask.is_dask_collection(X):
                # ranges may share a chunk: its task must not wait for another worker, which may be lost
                parts[0] = client.compute(X, workers=[address], allow_other_workers=True)
                parts[1:] = client.scatter(parts[1:], workers=[address], hash=False)
            else:
                parts = client.scatter(parts, workers=[address], hash=False)
            self._futures.append(
                client.submit(_Holder, *parts, self._batch_size, workers=[address], actor=True, pure=False)
            )
        self._holders = [self._fetch(future) for future in self._futures]

    def _fetch(self, future: Any) -> Any:
        """Wait for a worker's result, or raise a TimeoutError if a worker is lost."""
        while True:
            try:
                return future.result(timeout=PATIENCE)
            except TimeoutError:
                if self._list_lost():
                    raise

    def _list_lost(self) -> list[str]:
        """Return the addresses of the workers that are gone or no longer hold their samples."""
        present = self._client.nthreads()
        failed = {
            address for address, future in zip(self._addresses, self._futures) if future.status == "error"
        }
        return [a for a in self._addresses if a not in present or (self._holders and a in failed)]

    def dismiss_lost(self) -> list[str]:
        """Return the addresses of lost workers, waiting up to PATIENCE for one; if any, drop all of them."""
        end = time.monotonic() + PATIENCE
        while not (lost := self._list_lost()) and time.monotonic() < end:
            time.sleep(0.05)
        if lost:
            self._addresses, self._futures, self._holders = [], [], []
        return lost

    def differentiate(self, rows: Array, *batch: Any) -> tuple[float, float, Array, Array]:
        """Return a batch's mean loss and weighted score, and the gradients of its k workers.

        batch: the further arguments of `_Holder.differentiate`.

        Returns loss, score, vectors of shape (k, n_params + n_statistics), and the fraction of the samples
        that each worker holds, of shape (k,).
        """
        pending, sizes = [], []
        holders = np.searchsorted(self._bounds, rows, side="right") - 1
        for k, holder in enumerate(self._holders):
            own = rows[holders == k] - self._bounds[k]
            if len(own):
                pending.append(holder.differentiate(own, k, *batch))
                sizes.append(len(own))
        losses, scores, vectors = zip(*(self._fetch(future) for future in pending))
        return sum(losses), sum(scores), np.stack(vectors), np.array(sizes) / len(rows)


class _Holder:
    """A worker's samples, held by a Dask actor that computes their gradients."""

    def __init__(
        self,
        X: Any,
        target: Array,
        weight: Array,
        inverse_variances: Array | None,
        loss: Objective,
        estimator: Any,
        batch_size: int,
    ) -> None:
        self._images, _ = estimator._check_images(X)
        self._network = estimator.network_
        _, distributed = import_dask()
        n_threads = kernels.count_threads(estimator.n_threads or distributed.get_worker().state.nthreads)
        self._program = self._network.compile(training=True, loss=loss)
        targets = self._network.wrap_target(target, weight, loss, inverse_variances)
        engine = kernels.get_engine(self._network.dtype)
        self._data = engine.Dataset(self._network.wrap(self._images), targets, weight)
        self._workspace = self._network.make_workspace(self._program, n_threads, min(batch_size, len(weight)))

    def differentiate(
        self, rows: Array, index: int, total: float, key: int, turn: int, step: int, params: Array
    ) -> tuple[float, float, Array]:
        """Return the contribution of some samples to a batch.

        rows: indices of the samples; index: that of this worker; total: the batch's weight; key: the
        epoch's key for random numbers; turn: that of the trainer; step: the number of steps taken before.

        Returns the contributions to the batch's mean loss and to its weighted score, and a copy of params
        with the gradient instead of the parameters, and with updated running moments.
        """
        n_params, vector = self._network.n_params, np.array(params)
        loss, score = self._program.loss(
            self._data,
            rows,
            params,
            None,
            vector[:n_params],
            self._workspace,
            total=total,
            key=key ^ index,  # no two workers draw the same masks
            turn=turn,
            step=step,
        )
        self._program.update_running_stats(self._workspace, len(rows), vector)
        return loss, score, vector
