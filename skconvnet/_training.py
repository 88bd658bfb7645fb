"""Training: epochs and mini-batches."""

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skconvnet import kernels
from skconvnet._images import Layout
from skconvnet._network import Network
from skconvnet._progress import COLUMNS, draw_bar, print_record
from skconvnet._types import Array, ProgressCallback, Record
from skconvnet._warnings import warn
from skconvnet.layers import Augment, Mixup
from skconvnet.losses import CROSS_ENTROPY, Objective
from skconvnet.optimizers import SGD, Optimizer
from skconvnet.schedules import Schedule, resolve_schedule

if TYPE_CHECKING:
    from skconvnet.kernels.engine import OptimizerState, Samples


@dataclass(frozen=True)
class TrainingData:
    """Samples to train or validate on.

    Parameters
    ----------
    X : ndarray of shape (n, channels, height, width) or (n, features)
    target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
        Class indices, or a value for every output; for a loss of the user's, one that is not scaled.
    weight : ndarray of float64 of shape (n,)
        Samples of weight 0 are left out.
    layout : Layout, default=Layout()
        That of the mini-batches that the functions of `Augment` layers get.
    y : ndarray of shape (n,) or (n, n_outputs), default=None
        What target encodes, if functions of `Augment` layers may change it.
    encode : callable (y) -> target, default=None
        Encodes y of some samples.
    """

    X: Array
    target: Array
    weight: Array
    layout: Layout = field(default_factory=Layout)
    y: Any = None
    encode: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class StepSettings:
    """Settings of an epoch: how mini-batches are formed, and how a step is computed from a gradient.

    Parameters
    ----------
    batch_size : int
    learning_rate : float or schedule
        A schedule equal to the one used before continues with its memory.
    shuffle : bool
        Whether the order of the samples is drawn anew for every epoch.
    n_threads : int
    weight_decay : float, default=0.0
    clip_norm : float, default=None
    average : bool, default=False
        Whether the network has an average of its parameters between epochs.
    """

    batch_size: int
    learning_rate: float | Schedule
    shuffle: bool
    n_threads: int
    weight_decay: float = 0.0
    clip_norm: float | None = None
    average: bool = False


# The average of the parameters after t steps weighs those after s steps by about s ** (AVERAGE_POWER - 1).
AVERAGE_POWER = 10


class Trainer:
    """A network in training, with all state that the next epoch depends on.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer
    rng : RandomState
        Draws the order of the samples and, for every epoch, the key that seeds its other random numbers.
    loss : Objective, default=CROSS_ENTROPY

    Attributes
    ----------
    network : Network
    loss : Objective
    rng : RandomState
    steps : ndarray of shape (1,)
        Number of steps taken so far.
    turn : int
        Twice a key of random numbers that all epochs share, and 1 more in every second epoch; -1 before the
        first epoch.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        rng: np.random.RandomState,
        loss: Objective = CROSS_ENTROPY,
    ) -> None:
        self.network = network
        self.loss = loss
        self._optimizer = optimizer
        self.rng = rng
        self._state = np.zeros((2, network.n_params), network.dtype)
        self.steps = np.zeros(1, np.intp)
        self.turn = -1
        self._schedule: Any = None  # until the first epoch
        self._memory: Any = None
        self._own: Array | None = None  # the parameters that are trained, if the network has their average

    def copy(self) -> Self:
        """Return an independent copy; training it does not change this trainer."""
        return copy.deepcopy(self)

    def snapshot(self) -> Any:
        """Return a copy of all that an epoch changes, for `restore`."""
        arrays = self.network.params, self._state, self.steps
        return self.rng.get_state(), self.turn, [array.copy() for array in arrays]

    def restore(self, state: Any) -> None:
        """Undo all changes since a snapshot.

        Parameters
        ----------
        state : tuple
            As `snapshot` returned it.
        """
        rng_state, self.turn, arrays = state
        self.rng.set_state(rng_state)
        for array, before in zip((self.network.params, self._state, self.steps), arrays):
            array[...] = before

    def restart(self, params: Array) -> None:
        """Continue with other parameters and running statistics.

        Parameters
        ----------
        params : ndarray
            The flat vector of the network.
        """
        self.network.params, self._own = params, None

    def use(self, optimizer: Optimizer, loss: Objective) -> None:
        """Continue with another optimizer and loss.

        Parameters
        ----------
        optimizer : Optimizer
            One of another class starts with a new state.
        loss : Objective
        """
        if type(optimizer) is not type(self._optimizer):
            self._state[...] = 0
        self._optimizer, self.loss = optimizer, loss

    def prepare(self, data: TrainingData, settings: StepSettings) -> Callable[..., Record]:
        """Prepare epochs in this process.

        Parameters
        ----------
        data : TrainingData
        settings : StepSettings

        Returns
        -------
        run_epoch : callable (report=callable (float)) -> dict
            Trains on all samples once and returns a record of the history. It reports from time to time the
            fraction of the mini-batches that are done.
        """
        network = self.network
        program = network.compile(training=True, loss=self.loss)
        changes = any(layer.changes_targets for layer in list_augmentations(network))
        if changes:  # what mini-batches write to; values may become missing
            dtype = data.target.dtype if data.target.dtype.kind in "if" else network.dtype
            data = dataclasses.replace(data, target=np.array(data.target, dtype))
        dataset = network.wrap_data(data.X, data.target, data.weight, self.loss, misses=changes)
        batch_size = min(settings.batch_size, int(np.count_nonzero(data.weight)))
        settings = dataclasses.replace(settings, batch_size=batch_size)
        workspace = network.make_workspace(program, settings.n_threads, batch_size)
        engine = kernels.get_engine(network.dtype)

        def train_on(order: Array, rates: Array, key: int, report: ProgressCallback) -> Array:
            # generators of their own, so that mixing and augmentation do not change the order of samples
            mixing, augmenting = (np.random.RandomState([use, key >> 32, key & 0xFFFFFFFF]) for use in (0, 1))
            sizes = np.minimum(batch_size, len(order) - batch_size * np.arange(len(rates)))
            mixtures = draw_mixing(network, sizes, mixing)
            augment = start_augmentation(network, data, augmenting)
            epoch = engine.Epoch(order, batch_size, rates, *mixtures, key, self.turn, augment)
            state = self._make_state(settings)
            part = choose_part(len(rates))
            sums = np.zeros(3)
            for first in range(0, len(rates), part):
                end = first + part
                sums += program.train(dataset, epoch, first, end, state, workspace)
                if not np.isfinite(sums[0]):
                    break
                report(min(1, end / len(rates)))
            return sums

        return self.prepare_epochs(train_on, data.weight, settings)

    def _make_state(self, settings: StepSettings) -> "OptimizerState":
        """Return the optimizer, the parameters that it updates, and its state, for the engine."""
        engine = kernels.get_engine(self.network.dtype)
        fields = self._optimizer.fields(engine.optimizer_kinds, settings.clip_norm)
        groups = self.network.group_parameters(settings.weight_decay, self._optimizer.moves_matrices)
        return engine.OptimizerState(fields, groups, self.network.params, self._state, self.steps)

    def prepare_steps(self, settings: StepSettings) -> Callable[[Array, float], None]:
        """Prepare steps with gradients that are computed elsewhere.

        Parameters
        ----------
        settings : StepSettings

        Returns
        -------
        take_step : callable (gradients, rate) -> None
            Adds up gradients of shape (k, n_params) in order, and takes a step with this learning rate.
        """
        network = self.network
        program = network.compile(training=True)
        workspace = network.make_workspace(program, settings.n_threads)

        def take_step(gradients: Array, rate: float) -> None:
            program.step(gradients, rate, self._make_state(settings), workspace)

        return take_step

    def prepare_epochs(
        self,
        train_on: Callable[[Array, Array, int, ProgressCallback], Array],
        weight: Array,
        settings: StepSettings,
    ) -> Callable[..., Record]:
        """Prepare epochs with a function that trains on samples in a given order.

        Parameters
        ----------
        train_on : callable (order, rates, key, report) -> (float, float, float)
            Trains on samples in this order, with a learning rate for every mini-batch and a key for random
            numbers, and returns the sums of weighted loss, weighted score and weight. It reports from time to
            time the fraction of the mini-batches that are done.
        weight : ndarray of float64 of shape (n,)
        settings : StepSettings

        Returns
        -------
        run_epoch : callable (report=callable (float)) -> dict
            Trains on all samples once and returns a record of the history.
        """
        rows = np.flatnonzero(weight > 0)
        batches = np.arange(-(-len(rows) // settings.batch_size))
        schedule = resolve_schedule(settings.learning_rate)
        if schedule != self._schedule:
            self._schedule, self._memory = schedule, schedule.start()

        def run_epoch(report: ProgressCallback = lambda fraction: None) -> Record:
            start = time.perf_counter()
            order = self.rng.permutation(rows) if settings.shuffle else rows
            rates = schedule.rates(self.steps[0] + batches, self._memory)
            key = int(self.rng.randint(2**63, dtype=np.uint64))
            self.turn = 2 * key if self.turn < 0 else self.turn ^ 1
            if settings.average:
                with self._average(choose_part(len(rates)), report) as report_and_average:
                    loss, score, total = train_on(order, rates, key, report_and_average)
            else:
                self._own = None
                loss, score, total = train_on(order, rates, key, report)
            return {
                "train_loss": float(loss / total) * self.loss.unit,
                "train_score": float(score / total),
                "learning_rate": float(rates[-1]),
                "duration": time.perf_counter() - start,
            }

        return run_epoch

    @contextmanager
    def _average(self, part: int, report: ProgressCallback) -> Iterator[ProgressCallback]:
        """Train the parameters within the block, and leave their average in the network after it.

        Yields the report that training calls after some steps. It also moves the average: after every part of
        the steps, and at the end of the epoch.
        """
        params, average, before = self.network.params, self.network.params.copy(), int(self.steps[0])
        if self._own is not None:
            params[...] = self._own

        def report_and_average(fraction: float) -> None:
            nonlocal before
            steps = int(self.steps[0])
            if steps - before >= part or fraction == 1:
                average[...] += (1 - (before / steps) ** AVERAGE_POWER) * (params - average)
                before = steps
            report(fraction)

        try:
            yield report_and_average
        finally:
            self._own = params.copy()
            params[...] = average

    def evaluate_constant(self, outputs: Array, data: TrainingData) -> float:
        """Compute the mean loss of samples if the network's outputs were the same for all.

        Parameters
        ----------
        outputs : ndarray of shape (n_outputs,)
        data : TrainingData

        Returns
        -------
        loss : float
        """
        constant = Trainer(Network([], outputs.shape, dtype=self.network.dtype), SGD(), self.rng, self.loss)
        X = np.broadcast_to(outputs.astype(self.network.dtype), (len(data.target), len(outputs)))
        data = dataclasses.replace(data, X=X)
        record = constant.prepare_validation(data, np.arange(len(X)), n_threads=1)()
        return float(record["valid_loss"])

    def prepare_validation(self, data: TrainingData, rows: Array, n_threads: int) -> Callable[[], Record]:
        """Prepare the evaluation of some samples.

        Parameters
        ----------
        data : TrainingData
        rows : ndarray of intp of shape (k,)
            Indices of the samples; those of weight 0 are left out.
        n_threads : int

        Returns
        -------
        evaluate : callable () -> dict
            Returns the loss and the score of the network in its current state.
        """
        network = self.network
        program = network.compile()
        rows = rows[data.weight[rows] > 0]
        used = np.zeros(len(data.weight))
        used[rows] = data.weight[rows]
        dataset = network.wrap_data(data.X, data.target, used, self.loss)
        workspace = network.make_workspace(program, n_threads)

        def evaluate() -> Record:
            loss, score, total = program.evaluate(dataset, rows, network.params, workspace)
            return {"valid_loss": loss / total * self.loss.unit, "valid_score": score / total}

        return evaluate

    def end_epoch(self, record: Record) -> None:
        """Update the schedule after a complete epoch.

        Parameters
        ----------
        record : dict
            Record of the epoch; the schedule gets its valid_loss, or its train_loss if there is none.
        """
        self._memory = self._schedule.follow(self._memory, record.get("valid_loss", record["train_loss"]))


def choose_part(n_batches: int) -> int:
    """Return how many mini-batches of an epoch are one call of the engine.

    An epoch is always divided into the same calls, because the rounding of the sums depends on the division.
    A call adds 2 microseconds; a mini-batch of a small network takes 20.
    """
    return max(4, -(-n_batches // 50))


def draw_mixing(network: Network, sizes: Array, rng: np.random.RandomState) -> tuple[Array, Array]:
    """Draw how mini-batches are mixed in training.

    Parameters
    ----------
    network : Network
    sizes : ndarray of int of shape (n_batches,)
        Sizes of the mini-batches.
    rng : RandomState

    Returns
    -------
    lambdas, partner_offsets : ndarray of shape (n_batches,)
        As `Mixup` draws them; without a `Mixup` layer, all lambdas are 1.
    """
    for stage in network.stages:
        if isinstance(stage.layer, Mixup) and not stage.frozen:
            return stage.layer.draw(sizes, rng)
    return np.ones(len(sizes)), np.zeros(len(sizes), np.intp)


def list_augmentations(network: Network) -> list[Augment]:
    """Return the `Augment` layers of a network that are not frozen.

    Parameters
    ----------
    network : Network

    Returns
    -------
    layers : list of Augment
    """
    return [s.layer for s in network.stages if isinstance(s.layer, Augment) and not s.frozen]


def start_augmentation(
    network: Network, data: TrainingData, rng: np.random.RandomState
) -> "Callable[[Array], Samples] | None":
    """Prepare the functions that change the images of mini-batches in training.

    Parameters
    ----------
    network : Network
    data : TrainingData
    rng : RandomState

    Returns
    -------
    augment : callable (rows) -> Samples, or None
        Returns the images of some samples after all `Augment` layers, and writes their targets to those of
        data if a layer changes them; None if there is no such layer.
    """
    layers = list_augmentations(network)
    changes = any(layer.changes_targets for layer in layers)
    shown = np.asarray(data.layout.restore(data.X))

    def augment(rows: Array) -> "Samples":
        images = shown[rows].astype(network.dtype, order="C", copy=False)  # indexing has made a copy
        y = data.y[rows] if changes else None
        for layer in layers:
            images, y = layer.apply(images, y, rng)
        if data.encode is not None and y is not None:
            data.target[rows] = data.encode(y)
        return network.wrap(data.layout.arrange(np.require(images, requirements="A")))

    return augment if layers else None


@dataclass
class Patience:
    """Early stopping: watches a value of every epoch and keeps the weights of the best epoch.

    Parameters
    ----------
    watch : callable (dict) -> float
        Returns the watched value from an epoch's record; a larger value is better.
    n_iter_no_change : int
        Number of consecutive epochs without improvement after which training stops.
    tol : float
        A value is an improvement if it exceeds the best one by more than this.

    References
    ----------
    Prechelt, "Early stopping - but when?", in Neural Networks: Tricks of the Trade, 1998.
    """

    watch: Callable[[Record], float]
    n_iter_no_change: int
    tol: float
    best: float = -np.inf
    best_iter: int = 0
    best_params: Array | None = None
    waited: int = 0

    def end_epoch(self, record: Record, params: Array) -> bool:
        """Update with an epoch's record and the weights after it; return whether to stop."""
        value = self.watch(record)
        self.waited = 0 if value > self.best + self.tol else self.waited + 1
        if value > self.best or self.best_params is None:
            # max returns the old best if value is nan
            self.best, self.best_iter = max(self.best, value), record["epoch"]
            self.best_params = params.copy()
        return self.waited >= self.n_iter_no_change


def pass_epoch() -> Callable[[], bool]:
    """Epoch hook that does nothing."""
    return lambda: False


def _warn_of_low_rates(trainer: Trainer, history: list[Record], n_epochs: int) -> None:
    """Warn if the learning rate was close to 0 in most of the last epochs."""
    rates = [record["learning_rate"] for record in history[len(history) - n_epochs :]]
    n_low = sum(rate == 0 or rate < 1e-6 * max(rates) for rate in rates)
    if 2 * n_low > n_epochs:
        steps = int(trainer.steps[0])
        warn(
            f"The learning rate was close to 0 in {n_low} of {n_epochs} epochs. Schedules count "
            f"mini-batches, not epochs: there were {round(steps / len(history))} in an epoch, and {steps} in "
            f"all {len(history)} epochs."
        )


def train(
    trainer: Trainer,
    run_epoch: Callable[[ProgressCallback], Record],
    n_epochs: int,
    history: list[Record],
    *,
    verbose: int = 0,
    interruptible: bool = False,
    evaluate: Callable[[], Record] | None = None,
    patience: Patience | None = None,
    begin_epoch: Callable[[], Callable[[], bool]] = pass_epoch,
) -> None:
    """Run epochs and append their records to history.

    Parameters
    ----------
    trainer : Trainer
        The parameters of its network must stay finite.
    run_epoch : callable (report) -> dict
        As the trainer prepared it.
    n_epochs : int
    history : list of dict
        The record of every epoch, with its number, is appended.
    verbose : int, default=0
        Above 0, print a line per epoch; above 1, also draw a bar during the epoch on a terminal.
    interruptible : bool, default=False
        Whether Ctrl-C ends the training with a warning; it is raised otherwise.
    evaluate : callable () -> dict, default=None
        Its result after an epoch becomes part of the record.
    patience : Patience, default=None
        Decides when to stop early, and keeps the best weights, which the network then gets.
    begin_epoch : callable () -> callable () -> bool, default=pass_epoch
        Called before each epoch. The function that it returns is called after the epoch and returns whether
        to stop.

    Raises
    ------
    ValueError
        If the loss or a parameter is no longer finite.

    Warns
    -----
    UserWarning
        If Ctrl-C ended the training; the network then has the weights of the last complete step or, with
        patience, of the best complete epoch. If the learning rate was close to 0 in most epochs.
    """
    network, interrupted, n_before = trainer.network, False, len(history)
    try:
        for _ in range(n_epochs):
            end_epoch, epoch = begin_epoch(), len(history) + 1
            with draw_bar(epoch, verbose) as report:
                record = {"epoch": epoch, **run_epoch(report)}
                if not np.isfinite(record["train_loss"]) or not np.isfinite(network.params).all():
                    raise ValueError(
                        f"The training loss is no longer finite in epoch {epoch}. Use a smaller "
                        f"learning_rate (it is {record['learning_rate']:g}), or scale X to about 1."
                    )
                if evaluate is not None:
                    record |= evaluate()
            record = {name: record[name] for name in COLUMNS if name in record}
            history.append(record)
            trainer.end_epoch(record)
            if verbose:
                print_record(record, first=len(history) == 1 or history[-2].keys() != record.keys())
            done = patience is not None and patience.end_epoch(record, network.params)
            if end_epoch() or done:
                break
    except KeyboardInterrupt:
        if not interruptible:
            raise
        interrupted = True
    _warn_of_low_rates(trainer, history, len(history) - n_before)
    end = "the last complete step"
    if patience is not None and patience.best_params is not None:
        trainer.restart(patience.best_params)
        end = "the best of them"
    if interrupted:
        warn(f"Training interrupted after {len(history)} whole epochs: the model is that of {end}.")
