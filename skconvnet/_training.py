"""Epochs and batches: knows no layer."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skconvnet import kernels
from skconvnet._losses import CROSS_ENTROPY, Loss
from skconvnet._network import Network
from skconvnet._progress import COLUMNS, draw_bar, print_record
from skconvnet._types import Array, Fields, Record, Show
from skconvnet._warnings import warn
from skconvnet.optimizers import Optimizer
from skconvnet.schedules import Schedule, resolve_schedule


class Trainer:
    """A network in training, with all that the next epoch depends on.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer
    rng : RandomState
        Draws the order of the samples, and for every epoch a key that all else random in it follows from.
    loss : Loss, default=CROSS_ENTROPY

    Attributes
    ----------
    network : Network
    loss : Loss
    rng : RandomState
    steps : ndarray of shape (1,)
        Steps taken so far.
    """

    def __init__(
        self, network: Network, optimizer: Optimizer, rng: np.random.RandomState, loss: Loss = CROSS_ENTROPY
    ) -> None:
        self.network = network
        self.loss = loss
        self._optimizer = optimizer
        self.rng = rng
        self._state = np.zeros((2, network.n_params), network.dtype)
        self.steps = np.zeros(1, np.intp)
        self._schedule: Any = None  # until the first epoch
        self._memory: Any = None

    def copy(self) -> Self:
        """Give a trainer that can go on while this one stays as it is."""
        return copy.deepcopy(self)

    def note_state(self) -> Any:
        """Give all that an epoch changes, for `restore`."""
        arrays = self.network.params, self._state, self.steps
        return self.rng.get_state(), [array.copy() for array in arrays]

    def restore(self, state: Any) -> None:
        """Put everything back to where it was.

        Parameters
        ----------
        state : tuple
            What `note_state` gave.
        """
        rng_state, arrays = state
        self.rng.set_state(rng_state)
        for array, before in zip((self.network.params, self._state, self.steps), arrays):
            array[...] = before

    def use(self, optimizer: Optimizer, loss: Loss) -> None:
        """Go on with another optimizer and loss.

        Parameters
        ----------
        optimizer : Optimizer
            One of another class starts with a fresh state.
        loss : Loss
        """
        if type(optimizer) is not type(self._optimizer):
            self._state[...] = 0
        self._optimizer, self.loss = optimizer, loss

    def prepare(
        self,
        X: Array,
        target: Array,
        weight: Array,
        batch_size: int,
        learning_rate: float | Schedule,
        shuffle: bool,
        n_threads: int,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        data_format: str = "channels_first",
    ) -> Callable[..., Record]:
        """Settle what to train on.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
            Class indices, or a number for every output.
        weight : ndarray of float64 of shape (n,)
            Samples of weight 0 are left out.
        batch_size : int
        learning_rate : float or schedule
            A schedule that was given before goes on with what it remembers.
        shuffle : bool
            Whether every epoch has an order of its own.
        n_threads : int
        weight_decay : float, default=0.0
        clip_norm : float, default=None
        data_format : {"channels_last", "channels_first"}, default="channels_first"
            Of the mini-batches that functions which augment them get.

        Returns
        -------
        run_epoch : callable (show=callable (float)) -> dict
            Trains on all samples once and gives a record of the history; shows, now and then, the share of
            the batches that are done.
        """
        network = self.network
        program = network.compile(training=True)
        samples = network.wrap(X)
        targets = network.wrap_target(target, weight, self.loss)
        batch_size = min(batch_size, int(np.count_nonzero(weight)))
        workspace = network.make_workspace(program, n_threads, batch_size)
        optimizer, decaying = self._describe_steps(weight_decay, clip_norm)

        def train_on(order: Array, rates: Array, key: int, show: Show) -> Array:
            # what mixes and augments does not move the generator of orders
            mixing, augmenting = (np.random.RandomState([use, key >> 32, key & 0xFFFFFFFF]) for use in (0, 1))
            sizes = np.minimum(batch_size, len(order) - batch_size * np.arange(len(rates)))
            shares, shifts = network.draw_mixing(sizes, mixing)
            augment = network.start_augmentation(X, data_format, augmenting)
            # An epoch is always cut into the same calls, because a sum of sums has other bits. A call takes
            # 2 microseconds, a batch of a small network 20.
            part = max(4, -(-len(rates) // 50))
            sums = np.zeros(3)
            for first in range(0, len(rates), part):
                end = first + part
                sums += program.train(
                    samples,
                    order[first * batch_size : end * batch_size],
                    targets,
                    weight,
                    batch_size,
                    optimizer,
                    decaying,
                    rates[first:end],
                    shares[first:end],
                    shifts[first:end],
                    augment,
                    key,
                    network.params,
                    self._state,
                    self.steps,
                    workspace,
                )
                if not np.isfinite(sums[0]):
                    break
                show(min(1, end / len(rates)))
            return sums

        return self.prepare_epochs(train_on, weight, batch_size, learning_rate, shuffle)

    def _describe_steps(self, weight_decay: float, clip_norm: float | None) -> tuple[Fields, Array]:
        """Give the numbers in the kernels' optimizer_t, and from where to where numbers decay."""
        machine = kernels.get_machine(self.network.dtype)
        optimizer = self._optimizer.fields(machine.optimizer_kinds, weight_decay, clip_norm)
        return optimizer, self.network.list_decaying() if weight_decay else np.empty((0, 2), np.intp)

    def prepare_steps(
        self, n_threads: int, weight_decay: float = 0.0, clip_norm: float | None = None
    ) -> Callable[[Array, float], None]:
        """Settle how to take steps with gradients from elsewhere.

        Parameters
        ----------
        n_threads : int
        weight_decay : float, default=0.0
        clip_norm : float, default=None

        Returns
        -------
        take_step : callable (gradients, rate) -> None
            Adds up gradients of shape (k, n_params), in order, and takes a step of this rate.
        """
        network = self.network
        program = network.compile(training=True)
        workspace = network.make_workspace(program, n_threads)
        optimizer, decaying = self._describe_steps(weight_decay, clip_norm)

        def take_step(gradients: Array, rate: float) -> None:
            program.step(
                gradients, optimizer, decaying, rate, network.params, self._state, self.steps, workspace
            )

        return take_step

    def prepare_epochs(
        self,
        train_on: Callable[[Array, Array, int, Show], Array],
        weight: Array,
        batch_size: int,
        learning_rate: float | Schedule,
        shuffle: bool,
    ) -> Callable[..., Record]:
        """Settle what an epoch is.

        Parameters
        ----------
        train_on : callable (order, rates, key, show) -> (float, float, float)
            Trains on samples in this order, with a learning rate for every batch and a key for random
            numbers, and gives the sums of weighted loss, weighted score and weight; shows, now and then, the
            share of the batches that are done.
        weight, batch_size, learning_rate, shuffle
            As for `prepare`.

        Returns
        -------
        run_epoch : callable (show=callable (float)) -> dict
            Trains on all samples once and gives a record of the history.
        """
        rows = np.flatnonzero(weight > 0)
        batches = np.arange(-(-len(rows) // batch_size))
        schedule = resolve_schedule(learning_rate)
        if schedule != self._schedule:
            self._schedule, self._memory = schedule, schedule.start()

        def run_epoch(show: Show = lambda share: None) -> Record:
            start = time.perf_counter()
            order = self.rng.permutation(rows) if shuffle else rows
            rates = schedule.rates(self.steps[0] + batches, self._memory)
            key = int(self.rng.randint(2**63, dtype=np.uint64))
            loss, score, total = train_on(order, rates, key, show)
            return {
                "train_loss": float(loss / total),
                "train_score": float(score / total),
                "learning_rate": float(rates[-1]),
                "duration": time.perf_counter() - start,
            }

        return run_epoch

    def prepare_validation(
        self, X: Array, rows: Array, target: Array, weight: Array, n_threads: int
    ) -> Callable[[], Record]:
        """Settle what to validate on.

        Parameters
        ----------
        X : ndarray of shape (n, channels, height, width) or (n, features)
        rows : ndarray of intp of shape (k,)
            Which of the samples; those of weight 0 are left out.
        target : ndarray of intp of shape (n,), or of shape (n, n_outputs)
        weight : ndarray of float64 of shape (n,)
        n_threads : int

        Returns
        -------
        evaluate : callable () -> dict
            Gives the loss and the score of the network as it is then.
        """
        network = self.network
        program = network.compile()
        samples = network.wrap(X)
        rows = rows[weight[rows] > 0]
        used = np.zeros(len(weight))
        used[rows] = weight[rows]
        targets = network.wrap_target(target, used, self.loss)
        workspace = network.make_workspace(program, n_threads)

        def evaluate() -> Record:
            loss, score, total = program.evaluate(samples, rows, targets, used, network.params, workspace)
            return {"valid_loss": loss / total, "valid_score": score / total}

        return evaluate

    def follow(self, record: Record) -> None:
        """Show the schedule a whole epoch.

        Parameters
        ----------
        record : dict
            Of the history; its valid_loss counts, or else its train_loss.
        """
        self._memory = self._schedule.follow(self._memory, record.get("valid_loss", record["train_loss"]))


@dataclass
class Patience:
    """Early stopping: watches a value an epoch and keeps the weights of the best one.

    Parameters
    ----------
    watch : callable (dict) -> float
        What should grow, of an epoch's record.
    n_iter_no_change : int
        Epochs in a row without improvement that end the training.
    tol : float
        By how much a value has to be above the best one to be an improvement.

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

    def follow(self, record: Record, params: Array) -> bool:
        """See an epoch's record and the weights then; say whether to stop."""
        value = self.watch(record)
        self.waited = 0 if value > self.best + self.tol else self.waited + 1
        if value > self.best or self.best_params is None:
            # the maximum is the old one where value is no number
            self.best, self.best_iter = max(self.best, value), record["epoch"]
            self.best_params = params.copy()
        return self.waited >= self.n_iter_no_change


def pass_epoch() -> Callable[[], bool]:
    """Begin an epoch that nobody watches, and whose end stops nothing."""
    return lambda: False


def _warn_of_rest(trainer: Trainer, history: list[Record], n_epochs: int) -> None:
    """Warn if the learning rate was next to 0 in most of the last epochs."""
    rates = [record["learning_rate"] for record in history[len(history) - n_epochs :]]
    rest = sum(rate == 0 or rate < 1e-6 * max(rates) for rate in rates)
    if 2 * rest > n_epochs:
        steps = int(trainer.steps[0])
        warn(
            f"The learning rate was next to 0 in {rest} of {n_epochs} epochs. Schedules count mini-batches, "
            f"{round(steps / len(history))} an epoch here: {len(history)} epochs were {steps}."
        )


def train(
    trainer: Trainer,
    run_epoch: Callable[[Show], Record],
    n_epochs: int,
    history: list[Record],
    verbose: int,
    interruptible: bool,
    evaluate: Callable[[], Record] | None = None,
    patience: Patience | None = None,
    begin_epoch: Callable[[], Callable[[], bool]] = pass_epoch,
) -> None:
    """Run epochs and append their records to history.

    Parameters
    ----------
    trainer : Trainer
        Whose network's parameters must stay finite.
    run_epoch : callable (show) -> dict
        Of the trainer.
    n_epochs : int
    history : list of dict
        Gets a record an epoch, with its number.
    verbose : int
        Above 0, print a line an epoch; above 1, draw a bar while it runs, on a terminal.
    interruptible : bool
        Whether Ctrl-C ends the training with a warning; it goes through otherwise.
    evaluate : callable () -> dict, default=None
        What it gives after an epoch goes into the record.
    patience : Patience, default=None
        When to stop early, with the best weights.
    begin_epoch : callable () -> callable () -> bool, default=pass_epoch
        Called before each epoch; what it gives is called after it and says whether to stop.

    Raises
    ------
    ValueError
        If the loss or a parameter is no longer finite.

    Warns
    -----
    UserWarning
        If Ctrl-C ended the training; the network then is at the last complete step, or, with patience, at
        the best whole epoch. If the learning rate was next to 0 in most epochs.
    """
    network, interrupted, n_before = trainer.network, False, len(history)
    try:
        for _ in range(n_epochs):
            end_epoch, epoch = begin_epoch(), len(history) + 1
            with draw_bar(epoch, verbose) as show:
                record = {"epoch": epoch, **run_epoch(show)}
                if not np.isfinite(record["train_loss"]) or not np.isfinite(network.params).all():
                    raise ValueError(
                        f"The training loss is no longer finite in epoch {epoch}. Use a smaller "
                        f"learning_rate (it is {record['learning_rate']:g}), or scale X, and the numbers of "
                        f"y if it has some, to about 1."
                    )
                if evaluate is not None:
                    record |= evaluate()
            record = {name: record[name] for name in COLUMNS if name in record}
            history.append(record)
            trainer.follow(record)
            if verbose:
                print_record(record, first=len(history) == 1 or history[-2].keys() != record.keys())
            done = patience is not None and patience.follow(record, network.params)
            if end_epoch() or done:
                break
    except KeyboardInterrupt:
        if not interruptible:
            raise
        interrupted = True
    _warn_of_rest(trainer, history, len(history) - n_before)
    end = "the last complete step"
    if patience is not None and patience.best_params is not None:
        network.params, end = patience.best_params, "the best of them"
    if interrupted:
        warn(f"Training interrupted after {len(history)} whole epochs: the model is that of {end}.")
