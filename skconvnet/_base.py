"""Base class of the estimators: checks of parameters and data, training, and the fitted network."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from types import FunctionType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from skconvnet import kernels
from skconvnet._advice import StrictInit, check_keywords, guess, hint, short_repr
from skconvnet._callbacks import notify_callbacks
from skconvnet._defaults import make_default_layers, make_signal_layers
from skconvnet._failure import warn_of_failure
from skconvnet._files import FileMixin
from skconvnet._images import (
    Layout,
    check_sample_shape,
    flatten_images,
    resolve_input_shape,
    suggest_channels_first,
    view_images,
    warn_of_signals,
)
from skconvnet._network import Network
from skconvnet._onnx.pipeline import OnnxMixin
from skconvnet._onnx.writer import ModelGraph, write_estimator
from skconvnet._outline import format_table, outline_layers, outline_stages
from skconvnet._params import NestedParamsMixin
from skconvnet._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    NotebookMixin,
    StrOptions,
    check_sample_weight,
    validate_params,
)
from skconvnet._targets import hide_missing, restore_missing, take_targets
from skconvnet._training import Patience, StepSettings, Trainer, TrainingData, train
from skconvnet._transfer import transfer_weights, unwrap_frozen
from skconvnet._types import Array, ProgressCallback, Record, Shape
from skconvnet._validation import Validation, prepare_scoring, split_off
from skconvnet._variants import average_variants, check_variants
from skconvnet._warnings import warn
from skconvnet.functional import log_softmax, softmax
from skconvnet.layers import (
    Layer,
    LogSoftmax,
    Output,
    ShapeError,
    Sigmoid,
    Softmax,
)
from skconvnet.layers.activation import ACTIVATIONS
from skconvnet.layers.sequence import count_axes
from skconvnet.losses import Objective, check_gradient, measure_presence
from skconvnet.optimizers import OPTIMIZERS, Optimizer, resolve_optimizer
from skconvnet.schedules import Schedule

HEADS = {"softmax": softmax, "log_softmax": log_softmax}

# A function that prepares epochs, as `Trainer.prepare` does.
Prepare = Callable[[Trainer, TrainingData, StepSettings], Callable[[ProgressCallback], Record]]

# Advice on a wrong value, {0}, of a parameter, by the parameter and the type of the value.
ADVICE: dict[tuple[str, Any], str] = {
    ("n_threads", object): "None means one for each physical core that the process may use.",
    ("layers", Layer): "Wrap it in a list: [{0!r}].",
    ("layers", FunctionType): "Call it: {0.__name__}().",
    ("learning_rate", str): "Give a number, or a schedule such as ReduceOnPlateau(0.001).",
    ("learning_rate", FunctionType): "See skconvnet.schedules for schedules, which count steps: StepDecay or "
    "CosineDecay, or a class of your own that extends Schedule and defines rates(self, t, memory).",
    ("input_shape", Integral): "Write ({0}, {0}), or ({0},) for signals.",
    ("average", bool): 'Write average="ema" for an exponential moving average, or None.',
    ("test_time_augmentation", Layer): "Wrap it in a list: [{0!r}].",
    ("freeze", bool): "Write names or positions in a list: freeze=[0].",
    ("freeze", (str, Integral)): "Write names or positions in a list: freeze=[{0!r}].",
}


class BaseConvNet(
    FileMixin, OnnxMixin, NestedParamsMixin, CallbackSupportMixin, NotebookMixin, StrictInit, BaseEstimator
):
    """Base class of the estimators: checks parameters and images, trains and runs the network.

    A subclass checks y (`_check_y`), weights samples (`_weigh`), learns the outputs from y
    (`_learn_outputs`), encodes y as targets (`_encode`), defines the objective (`_make_loss`), and says in
    which way the best constant prediction is better than a model, if it is (`_describe_failure`).
    """

    layers: Any  # `Any`, so callers need no None check
    loss: Any
    n_features_in_: int
    input_shape_: Shape
    network_: Network
    n_iter_: int
    best_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    validation_loss_curve_: list[float] | None
    validation_scores_: list[float] | None
    history_: list[Record]
    _trainer: Trainer
    _data_format: str
    _signals: bool = False
    _y_shape: Shape
    _form: Any  # of y, as `Objective` names it
    _split_seed: int | None  # None until validation samples are split off

    _parameter_constraints: dict[str, Any] = {
        "layers": [list, tuple, StrOptions({"signals"}), None],
        "input_shape": [list, tuple, None],
        "data_format": [StrOptions({"channels_last", "channels_first"})],
        "optimizer": [StrOptions(set(OPTIMIZERS)), Optimizer],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), Schedule],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "average": [StrOptions({"ema"}), None],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "scoring": [str, callable, None],
        "warm_start": ["boolean"],
        "freeze": [list, tuple, None],
        "init_from": "no_validation",  # _find_source reports what is wrong with it
        "random_state": ["random_state"],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
        "test_time_augmentation": [list, tuple, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "verbose": ["verbose"],
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Set the signature of a derived class, which Python 3.11.2 would take from `StrictInit.__new__`."""
        super().__init_subclass__(**kwargs)
        init = inspect.signature(cls.__init__)
        cls.__signature__ = init.replace(parameters=list(init.parameters.values())[1:])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _write_layers(self) -> str:
        """Return the layers as HTML, with shapes and numbers of parameters if the network is fitted."""
        if hasattr(self, "network_"):
            return format_table(outline_stages(self.network_.stages))
        try:
            return format_table(outline_layers(() if self.layers is None else self.layers))
        except (TypeError, ValueError):
            return ""  # fit reports what is wrong with them

    @check_keywords
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train a new network, or, with `warm_start`, continue with the fitted one.

        With scikit-learn 1.9 or later, the callbacks of `set_callbacks` are notified of the fit and of each
        epoch. A callback that returns True after an epoch ends the training.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels), (n, height, width) or (n, n_features)
            Images, or (n, channels, height, width) with ``data_format="channels_first"``. Signals have no
            height: (n, length, channels), (n, length) or (n, channels, length). One image of Pillow is a
            batch of one.
        y : array-like of shape (n,), (n, n_labels) or (n, n_outputs)
            For a classifier, labels, numbers or text, a 0/1 matrix of several labels with
            ``loss="binary_cross_entropy"``, or the probabilities of the classes; for a regressor, one or
            several values per sample. nan in a matrix of labels or values is a target that is missing: it is
            left out of the loss.
        sample_weight : array-like of shape (n,), default=None
            Weights in the loss; a weight of 0 leaves the sample out.
        X_val, y_val : array-like, default=None
            Samples to validate on after each epoch, like X and y. Without them, `early_stopping` splits
            some off the training data.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights in the validation loss and score.

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError
            If something in layers is not a layer, X is sparse or a masked array that masks something, X or y
            is no array or list of all samples, labels are bytes, or there is no such argument.
        ValueError
            If parameters, layers and images do not fit together, X is not finite, y has a missing label, does
            not suit the loss or has a single class, or the loss does not stay finite. An earlier model stays
            as it was.

        Warns
        -----
        UserWarning
            If layers seem to end in an output layer already, or X to have its channels first without
            ``data_format="channels_first"``; if `init_from` has no weights for some layers while some of its
            weights are not used; if the learning rate was close to 0 in most epochs; if Ctrl-C ended the
            training: the model is fitted then, with the weights of the last complete step or, with
            `early_stopping`, of the best complete epoch if there was one.
        sklearn.exceptions.ConvergenceWarning
            If the model is worse on its training samples than a constant prediction: the most frequent class
            (by accuracy), each label's frequency or, in regression, the mean (by the loss).
        """
        return self._fit(Trainer.prepare, X, y, sample_weight, X_val, y_val, sample_weight_val)

    def _fit(
        self,
        prepare: Prepare,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        sample_weight_val: Any,
    ) -> Self:
        """Fit with epochs that `prepare` prepares."""
        with self._change_model():
            if (X_val is None) != (y_val is None):
                raise ValueError("X_val and y_val belong together: give both or neither.")
            if X_val is None and sample_weight_val is not None:
                raise ValueError("sample_weight_val has no samples to weight: give X_val and y_val, too.")
            given = X, y, sample_weight
            data = self._prepare(X, y, sample_weight, self._resumes())
            validation = None
            if X_val is not None:
                validation = self._check_validation(X_val, y_val, sample_weight_val)
            elif self.early_stopping:
                if self._split_seed is None:
                    self._split_seed = int(self._trainer.rng.randint(2**31))
                stratified = is_classifier(self)
                rows = split_off(data, data.y, self.validation_fraction, stratified, self._split_seed)
                own_weight = self._weigh_present(check_sample_weight(sample_weight, data.X), data.y)
                held = replace(data, weight=own_weight)  # without the class weights
                validation = Validation(held, rows, data.y[rows])
                weight = data.weight.copy()
                weight[rows] = 0
                data = replace(data, weight=weight)
            self._train(data, self.max_iter, validation, given, prepare)
            warn_of_failure(self, data, on_samples=prepare is Trainer.prepare)
        return self

    def _resumes(self) -> bool:
        """Whether `fit` continues with the network of an earlier one."""
        return self.warm_start and hasattr(self, "network_")

    def _fit_one_epoch(self, X: Any, y: Any, sample_weight: Any, resume: bool, classes: Any = None) -> None:
        """Train a new network for an epoch, or continue with the fitted one."""
        self._train(self._prepare(X, y, sample_weight, resume, classes), 1)

    def _prepare(self, X: Any, y: Any, sample_weight: Any, resume: bool, classes: Any = None) -> TrainingData:
        """Check the training data; make a new network, or a copy of the fitted one to continue with."""
        y = take_targets(y)
        if resume:
            images, y = self._check_images(X, y=y, multi_output=True)
        else:
            self.__dict__.pop("_form", None)
            source = self._find_source()
            images, y, dtype = self._check_training_images(X, y)
        y = self._check_y(y)
        weight = self._weigh_present(self._weigh(images, y, sample_weight, classes), y)
        if resume:
            self._check_y_shape(y)
            self._check_unchanged()
            self._trainer = self._trainer.copy()
            self._trainer.use(resolve_optimizer(self.optimizer), self._make_loss())
            self.history_ = list(self.history_)
        else:
            self._y_shape, self._split_seed = y.shape[1:], None
            self._trainer = self._build_trainer(self._learn_outputs(y, weight, classes), dtype)
            warn_of_second_output(self._trainer.network)
            self._trainer.network.learn(images, np.flatnonzero(weight > 0))
            if source is not None:
                same_outputs = np.array_equal(getattr(source, "classes_", ()), getattr(self, "classes_", ()))
                transfer_weights(source.network_, self._trainer.network, same_outputs)
                self._adopt_targets(source)
            self.history_ = []
        self.network_ = self._trainer.network
        target, loss = self._encode(y, self.network_), self._trainer.loss
        if not loss.compiled:
            check_gradient(loss, target, self.network_.count_outputs())
        return TrainingData(images, target, weight, self._layout, y, self._encode_again)

    def _encode_again(self, y: Array) -> Array:
        """Check y of some samples, as `Augment` has changed it, and encode it."""
        try:
            if y.ndim == 1 and y.dtype.kind == "f" and np.isnan(y).any():
                raise ValueError("y contains NaN.")
            return self._encode(self._check_y(y), self.network_)
        except ValueError as error:
            raise ValueError(f"Augment: function returned y that is not like that of fit: {error}") from error

    def _make_loss(self) -> Objective:
        """Return the objective of a network, once its outputs are learned."""
        raise NotImplementedError

    def _weigh_present(self, weight: Array, y: Array) -> Array:
        """Return the weights of samples times the fraction of their targets that are not missing."""
        if y.ndim == 1 or y.dtype.kind != "f":
            return weight
        weight = weight * measure_presence(y)
        if not weight.any():
            raise ValueError("y has no targets: all values of samples with a weight above 0 are missing.")
        return weight

    def _adopt_targets(self, source: Any) -> None:
        """Take the scale of the targets from the estimator that the weights come from."""

    def _find_source(self) -> Any:
        """Return the fitted estimator that `init_from` is or wraps, or None."""
        source = unwrap_frozen(self.init_from)
        if source is self:
            raise ValueError(
                "init_from is the estimator itself; give another one, a copy.deepcopy of it, or continue "
                "with warm_start=True."
            )
        if source is None or (isinstance(source, BaseConvNet) and hasattr(source, "network_")):
            return source
        if isinstance(source, BaseConvNet):
            remedy = (
                ", which is not fitted. clone(), which cross-validation and searches use, makes a fitted "
                "estimator an unfitted one: wrap it in sklearn.frozen.FrozenEstimator, which stays as it is."
            )
        elif isinstance(source, Mapping):
            remedy = "; weights go into network_.set_weights(weights) of a fitted estimator."
        else:
            remedy = (
                "; load a saved one with skconvnet.load, give that step of a pipeline, or best_estimator_ of "
                "a search."
            )
        raise ValueError(
            f"init_from must be a fitted ConvNetClassifier or ConvNetRegressor, got "
            f"{short_repr(source)}{remedy}"
        )

    def _check_y_shape(self, y: Array) -> None:
        """Check that y has the number of outputs that it had before."""
        if y.shape[1:] != self._y_shape:
            raise ValueError(f"y must have shape {('n', *self._y_shape)}, as it had before, got {y.shape}.")

    def _check_unchanged(self) -> None:
        """Refuse to continue with a network that the parameters no longer describe."""
        network = self.network_
        dtype = network.dtype.name if self.dtype == "auto" else self.dtype
        for name, old, new in (
            ("layers", list(network.layers), list(self._get_layers(network.input_shape))),
            ("dtype", network.dtype.name, dtype),
            ("loss", self._trainer.loss.name, self._make_loss().name),
            ("freeze", sorted(network.freeze), sorted({network.find(k).key for k in self.freeze or ()})),
        ):
            if old != new:
                raise ValueError(
                    f"{name} is {new!r}, but the fitted network has {old!r}, and partial_fit and "
                    f"warm_start continue with that. Set it back, or fit a new estimator with init_from=this "
                    f"one, which transfers the weights."
                )

    def _check_validation(self, X: Any, y: Any, sample_weight: Any) -> Validation:
        """Check the user's validation data."""
        try:
            y = take_targets(y)
            images, y = self._check_images(X, y=y, multi_output=True)
            y = self._check_y(y)
            self._check_y_shape(y)
            weight = self._weigh_present(check_sample_weight(sample_weight, images), y)
            target = self._encode(y, self.network_)
        except ValueError as error:
            raise ValueError(f"X_val and y_val: {error}") from error
        rows = np.flatnonzero(weight)
        return Validation(TrainingData(images, target, weight, self._layout), rows, y[rows])

    @contextmanager
    def _change_model(self) -> Iterator[None]:
        """Check all parameters, and restore every attribute if the block raises."""
        validate_params(self, self._advise)
        check_variants(self.test_time_augmentation)
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _advise(self, name: str, value: Any) -> str:
        """Return advice on a wrong value of a parameter, or an empty text if there is none."""
        for (parameter, kind), advice in ADVICE.items():
            if parameter == name and isinstance(value, kind):
                return advice.format(value)
        if name == "layers" and isinstance(value, str):
            from skconvnet import architectures  # late: needed only for this advice

            meant = guess(value, architectures.__all__)
            if meant:
                return f"Call it: skconvnet.architectures.{meant}()."
        words = [
            word for c in self._parameter_constraints[name] if isinstance(c, StrOptions) for word in c.options
        ]
        return hint(value, words).strip()

    def _check_y(self, y: Any) -> Array:
        """Return y as a dense array."""
        return y.toarray() if issparse(y) else y

    def _weigh(self, X: Array, y: Array, sample_weight: Any, classes: Any = None) -> Array:
        """Return the weight of every sample."""
        return check_sample_weight(sample_weight, X)

    def _get_input_shape(self, n_features: int) -> Sequence[int] | None:
        """Return the shape of a sample, given as a row of n_features values; None for plain vectors."""
        return self.input_shape

    @property
    def _layout(self) -> Layout:
        """The axes of the samples that the estimator was fitted on."""
        return Layout(self._data_format, self._signals)

    def _check_training_images(self, X: Any, y: Any) -> tuple[Array, Any, str]:
        """Check X and y, learn the shape of the input, and return the images as the network reads them."""
        X, image_shape = flatten_images(X)
        y, missing = hide_missing(y)
        rows, y = validate_data(self, X, y, multi_output=True)
        y = restore_missing(y, missing)
        if image_shape is not None:
            del self.n_features_in_  # images have a shape, input_shape_, and no features
        given = self._get_input_shape(rows.shape[1])
        n_axes = 1 if self.layers == "signals" else count_axes(self.layers or ())
        self._data_format, self._signals = self.data_format, n_axes == 1
        if given is None and n_axes is None and image_shape is not None and len(image_shape) == 2:
            warn_of_signals(image_shape)
        self.input_shape_ = resolve_input_shape(given, image_shape, rows.shape[1], self._layout)
        dtype = self.dtype
        if dtype == "auto":
            dtype = "float64" if rows.dtype.type in (np.float64, np.longdouble) else "float32"
        return view_images(rows, self.input_shape_, self._layout, np.dtype(dtype)), y, dtype

    def _check_images(self, X: Any, **labels: Any) -> tuple[Array, Any]:
        """Check X against what the estimator was fitted on, and return it as the network reads it."""
        check_is_fitted(self)
        flat, image_shape = flatten_images(X)
        if len(self.input_shape_) > 1:
            shape = flat.shape if hasattr(flat, "shape") else np.asarray(flat).shape
            sample_shape = shape[1:] if image_shape is None else image_shape
            check_sample_shape((*shape[:1], *sample_shape), self.input_shape_, self._layout)
        missing = None
        if "y" in labels:
            labels["y"], missing = hide_missing(labels["y"])
        checked = validate_data(self, flat, reset=False, **labels)
        rows, y = checked if isinstance(checked, tuple) else (checked, None)
        y = restore_missing(y, missing)
        if rows.shape[1] != (n_features := math.prod(self.input_shape_)):
            raise ValueError(  # as scikit-learn says it if the estimator was fitted on rows
                f"X has {rows.shape[1]} features, but {type(self).__name__} is expecting {n_features} "
                f"features as input."
            )
        images = view_images(rows, self.input_shape_, self._layout, self.network_.dtype)
        return images, y

    def _get_layers(self, shape: Shape) -> Sequence[Layer | None]:
        """Return the layers, for an input of (channels, height, width) or (features,)."""
        if self.layers is None:
            return make_default_layers(shape)
        return make_signal_layers(shape) if isinstance(self.layers, str) else self.layers

    def _build_trainer(self, n_outputs: int, dtype: str) -> Trainer:
        """Return a trainer of a new network, compiled for the shape of the input, with weights drawn."""
        shape = self._layout.to_network(self.input_shape_)
        check_variants(self.test_time_augmentation, shape)
        rng = check_random_state(self.random_state)
        try:
            network = Network(self._get_layers(shape), shape, n_outputs, dtype, self.freeze or ())
        except ValueError as error:
            if isinstance(error.__context__, ShapeError):
                advice = suggest_channels_first(self.input_shape_, self._layout)
                raise ValueError(f"{error}{advice}") from None
            raise
        network.initialize(rng)
        return Trainer(network, resolve_optimizer(self.optimizer), rng, self._make_loss())

    def _train(
        self,
        data: TrainingData,
        n_epochs: int,
        validation: Validation | None = None,
        given: Any = None,
        prepare: Prepare = Trainer.prepare,
    ) -> None:
        """Train, and set the fitted attributes.

        `given` has the arguments of `fit`: callbacks are then notified, and Ctrl-C ends the training with a
        warning. If it is None, there are no callbacks, and Ctrl-C is raised.
        """
        trainer, history = self._trainer, self.history_
        n_threads = kernels.count_threads(self.n_threads)
        settings = StepSettings(
            min(64, len(data.X)) if self.batch_size == "auto" else self.batch_size,
            self.learning_rate,
            self.shuffle,
            n_threads,
            self.weight_decay,
            self.clip_norm,
            self.average is not None,
        )
        run_epoch = prepare(trainer, data, settings)
        evaluate = patience = None
        if validation is not None:
            evaluate = prepare_scoring(self, trainer, validation, n_threads)
        if self.early_stopping and validation is not None:
            watched, sign = ("valid_loss", -1) if self.scoring is None else ("valid_score", 1)
            patience = Patience(lambda record: sign * record[watched], self.n_iter_no_change, self.tol)

        def describe() -> dict[str, Any]:
            now = trainer.copy()
            attributes = {"_trainer": now, "network_": now.network, "history_": list(history)}
            return {**attributes, **list_results(now, history)}

        with notify_callbacks(self, given, describe) as begin_epoch:
            train(
                trainer,
                run_epoch,
                n_epochs,
                history,
                verbose=self.verbose,
                interruptible=given is not None,
                evaluate=evaluate,
                patience=patience,
                begin_epoch=begin_epoch,
            )
            self.__dict__.update(list_results(trainer, history))
            if patience is not None:
                # best_iter is 0 if Ctrl-C came before the end of the first epoch
                self.best_iter_ = patience.best_iter or self.n_iter_

    def _get_network(self) -> Self:
        check_is_fitted(self)
        return self

    def _write_onnx(self, graph: ModelGraph, x: str) -> None:
        write_estimator(graph, self, x)

    def _adopt_network(self, network: Network, layout: Layout, y_shape: Shape) -> None:
        """Become fitted with a network that was trained elsewhere, without an epoch."""
        self._data_format, self._signals = layout.data_format, layout.signals
        channels, *size = network.input_shape
        size = size[1:] if layout.signals else size
        last = layout.data_format == "channels_last" and size
        self.input_shape_ = (*size, channels) if last else (channels, *size)
        if not size:
            self.n_features_in_ = channels  # images have none
        self._y_shape, self._split_seed, self.network_ = y_shape, None, network
        rng = check_random_state(self.random_state)
        self._trainer = Trainer(network, resolve_optimizer(self.optimizer), rng, self._make_loss())
        self.history_ = []
        self.__dict__.update(list_results(self._trainer, self.history_))

    def _run_network(self, X: Any, head: str | None = None, last: str | None = None) -> Array:
        """Return the outputs of the network, or of the layer `last`, for a user's X."""
        images, _ = self._check_images(X)
        n_threads = kernels.count_threads(self.n_threads)
        if self.test_time_augmentation and last is None:
            variants = self.test_time_augmentation
            outputs = average_variants(self.network_, variants, images, n_threads)
            outputs = HEADS[head](outputs, n_threads=n_threads) if head else outputs
        else:
            outputs = self.network_.forward(images, n_threads, head, last)
        if not np.isfinite(outputs).all():
            raise ValueError(
                f"The network's outputs overflow {self.network_.dtype.name} for this X, whose largest "
                f"value is {np.abs(images).max():g}. Scale X like the training data."
            )
        return outputs


def warn_of_second_output(network: Network) -> None:
    """Warn if the last of the layers seems to be an output layer, and another output layer is added.

    There is no warning if the layers end in `Output`, which shows that this is intended.

    Parameters
    ----------
    network : Network
        The new network of an estimator.
    """
    layers, n_outputs = [layer for layer in network.layers if layer is not None], network.n_outputs
    if not layers or isinstance(layers[-1], Output):
        return
    activation: Any = getattr(layers[-1], "activation", layers[-1])
    units = network.stages[-2].output_shape
    alike = units == (n_outputs,) or (units, n_outputs) == ((1,), 2)
    if alike and isinstance(ACTIVATIONS.get(activation, activation), (LogSoftmax, Sigmoid, Softmax)):
        ending = layers[-2:] if activation is layers[-1] else layers[-1:]
        warn(
            f"layers end in {', '.join(map(repr, ending))}, and an output layer of {n_outputs} "
            f"unit{'' if n_outputs == 1 else 's'} is added after it: two output layers in a row train badly. "
            f"Leave {f'that {type(ending[0]).__name__}' if len(ending) == 1 else 'both'} out, or, if it is "
            f"intended, put Output() last."
        )


def list_results(trainer: Trainer, history: list[Record]) -> dict[str, Any]:
    """Return the fitted attributes that describe the training up to its last epoch."""
    losses = [record["train_loss"] for record in history]
    validated = any("valid_loss" in record for record in history)
    curves = [
        [record.get(name, float("nan")) for record in history] if validated else None
        for name in ("valid_loss", "valid_score")
    ]
    return {
        "n_iter_": len(history),
        "best_iter_": len(history),
        "t_": int(trainer.steps[0]),
        "loss_": losses[-1] if history else float("nan"),
        "loss_curve_": losses,
        "validation_loss_curve_": curves[0],
        "validation_scores_": curves[1],
    }
