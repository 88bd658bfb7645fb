"""What the estimators share: parameters, images, the life of a fitted network."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from types import FunctionType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from skconvnet import kernels
from skconvnet._advice import Checked, check_function, check_keywords, guess, hint, show
from skconvnet._files import FileMixin
from skconvnet._images import (
    channels_first,
    check_image_shape,
    flatten_images,
    settle_input_shape,
    show_images,
    suggest_channels_first,
    view_images,
)
from skconvnet._network import Network
from skconvnet._outline import format_table, outline_layers, outline_stages
from skconvnet._params import NestedParamsMixin
from skconvnet._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    NotebookMixin,
    StrOptions,
    check_sample_weight,
    has_callbacks,
    manage_callbacks,
    validate_params,
)
from skconvnet._training import Patience, Trainer, pass_epoch, train
from skconvnet._types import Array, Record, Shape, Show
from skconvnet._warnings import warn
from skconvnet.layers import (
    Conv2D,
    Dense,
    Flatten,
    Layer,
    LogSoftmax,
    MaxPool2D,
    Output,
    ShapeError,
    Sigmoid,
    Softmax,
)
from skconvnet.layers.activation import ACTIVATIONS
from skconvnet.optimizers import OPTIMIZERS, Optimizer, resolve_optimizer
from skconvnet.schedules import Schedule

# What to write instead of a parameter's value, {0}, that is of a certain kind and wrong.
ADVICE: dict[tuple[str, Any], str] = {
    ("n_threads", object): "None means one for each physical core that the process may use.",
    ("layers", Layer): "Wrap it in a list: [{0!r}].",
    ("layers", FunctionType): "Call it: {0.__name__}().",
    ("learning_rate", str): "Give a number, or a schedule such as ReduceOnPlateau(0.001).",
    ("learning_rate", FunctionType): "Of schedules, which count steps, see skconvnet.schedules: StepDecay or "
    "CosineDecay, say, or a class of your own that extends Schedule and defines rates(self, t, memory).",
    ("input_shape", Integral): "Write ({0}, {0}).",
    ("freeze", bool): "Write names or positions in a list: freeze=[0].",
    ("freeze", (str, Integral)): "Write names or positions in a list: freeze=[{0!r}].",
}


@dataclass
class Validation:
    """What a network is validated on: rows of images, their y and targets, and the weights of all."""

    X: Array
    rows: Array
    y: Array
    target: Array
    weight: Array


class BaseConvNet(FileMixin, NestedParamsMixin, CallbackSupportMixin, NotebookMixin, Checked, BaseEstimator):
    """Base class of the estimators: checks parameters and images, trains, runs the network.

    An estimator says which y it takes (`_check_y`), what a sample weighs (`_weigh`), what it learns from
    y (`_learn_outputs`), how y becomes targets (`_encode`), and which loss it has (`_make_loss`).
    """

    layers: Any  # so that who knows that there are some need not prove it
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
    _y_shape: Shape
    _split_seed: int | None  # None until something is split off

    _parameter_constraints: dict[str, Any] = {
        "layers": [list, tuple, None],
        "input_shape": [list, tuple, None],
        "data_format": [StrOptions({"channels_last", "channels_first"})],
        "optimizer": [StrOptions(set(OPTIMIZERS)), Optimizer],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), Schedule],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
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
        "init_from": "no_validation",  # _find_source says what is wrong with it
        "random_state": ["random_state"],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "verbose": ["verbose"],
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _write_layers(self) -> str:
        """Write the layers as HTML: with shapes and numbers of parameters once they are known."""
        if hasattr(self, "network_"):
            return format_table(outline_stages(self.network_.stages))
        try:
            return format_table(outline_layers(() if self.layers is None else self.layers))
        except (TypeError, ValueError):
            return ""  # fit will say what is wrong with them

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
        """Train a new network, or, with `warm_start`, go on with the old one.

        With scikit-learn 1.9 or later, callbacks of `set_callbacks` are told of the fit and of each epoch;
        one that returns True after an epoch ends the training.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels), (n, height, width) or (n, n_features)
            Images, or (n, channels, height, width) with ``data_format="channels_first"``.
        y : array-like of shape (n,), (n, n_labels) or (n, n_outputs)
            For a classifier, labels of any type, or a 0/1 matrix of several labels with
            ``loss="binary_cross_entropy"``; for a regressor, one or several numbers a sample.
        sample_weight : array-like of shape (n,), default=None
            Weights in the loss; a weight of 0 leaves the sample out.
        X_val, y_val : array-like, default=None
            Samples to validate on after each epoch, like X and y. Without them, `early_stopping` splits
            some off.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights in the validation loss and score.

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError
            If something in layers is not a layer, X is sparse or a masked array that masks something, or
            there is no such argument.
        ValueError
            If parameters, layers and images do not fit, X is not finite, y is not what the loss is
            for or has a single class, or the loss does not stay finite. An earlier model stays as it was.

        Warns
        -----
        UserWarning
            If layers seem to end in an output layer already, or X to have its channels first without
            ``data_format="channels_first"``; if some layers find nothing in `init_from` while others there
            find no taker; if the learning rate was next to 0 in most epochs; if Ctrl-C ended the training:
            the model is fitted then, with the weights of the last complete step, or, with `early_stopping`,
            of the best whole epoch if there was one.
        """
        return self._fit(Trainer.prepare, X, y, sample_weight, X_val, y_val, sample_weight_val)

    def _fit(
        self,
        prepare: Callable[..., Callable[[Show], Record]],
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        sample_weight_val: Any,
    ) -> Self:
        """Fit with epochs that are prepared by `Trainer.prepare`, or by what stands in for it."""
        with self._change_model():
            if (X_val is None) != (y_val is None):
                raise ValueError("X_val and y_val belong together: give both or neither.")
            if X_val is None and sample_weight_val is not None:
                raise ValueError("sample_weight_val has no samples to weigh: give X_val and y_val, too.")
            given = X, y, sample_weight
            images, y, weight = self._prepare(X, y, sample_weight, self._goes_on())
            target = self._encode(y, self.network_)
            if X_val is not None:
                validation = self._check_validation(X_val, y_val, sample_weight_val)
            elif self.early_stopping:
                validation = self._split_off(images, y, target, weight, sample_weight)
                weight = weight.copy()
                weight[validation.rows] = 0
            else:
                validation = None
            self._train(images, target, weight, self.max_iter, validation, given, prepare)
        return self

    def _goes_on(self) -> bool:
        """Whether `fit` goes on with the network of an earlier one."""
        return self.warm_start and hasattr(self, "network_")

    def _fit_one_epoch(self, X: Any, y: Any, sample_weight: Any, go_on: bool, classes: Any = None) -> None:
        """Train a new network for an epoch, or go on with the old one."""
        images, y, weight = self._prepare(X, y, sample_weight, go_on, classes)
        self._train(images, self._encode(y, self.network_), weight, 1)

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, go_on: bool, classes: Any = None
    ) -> tuple[Array, Array, Array]:
        """Check what to train on; make a new network, or a copy of the old one to go on with."""
        require_one_length(y)
        if go_on:
            images, y = self._check_images(X, y=y, multi_output=True)
        else:
            source = self._find_source()
            images, y, dtype = self._check_training_images(X, y)
        y = self._check_y(y)
        weight = self._weigh(images, y, sample_weight, classes)
        if go_on:
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
                self._take_over(source, self._trainer.network)
            self.history_ = []
        self.network_ = self._trainer.network
        return images, y, weight

    def _find_source(self) -> Any:
        """Give the fitted estimator that `init_from` is or freezes, or None."""
        source = thaw(self.init_from)
        if source is self:
            raise ValueError(
                "init_from is the estimator itself; give another one, a copy.deepcopy of it, or go on with "
                "warm_start=True."
            )
        if source is None or (isinstance(source, BaseConvNet) and hasattr(source, "network_")):
            return source
        if isinstance(source, BaseConvNet):
            way = (
                ", which is not fitted. clone(), which cross-validation and searches use, makes a fitted "
                "estimator an unfitted one: wrap it in sklearn.frozen.FrozenEstimator, which stays as it is."
            )
        elif isinstance(source, Mapping):
            way = "; weights go into network_.set_weights(weights) of a fitted estimator."
        else:
            way = (
                "; load a saved one with skconvnet.load, give that step of a pipeline, or best_estimator_ of "
                "a search."
            )
        raise ValueError(
            f"init_from must be a fitted ConvNetClassifier or ConvNetRegressor, got {show(source)}{way}"
        )

    def _take_over(self, source: Any, network: Network) -> None:
        """Give a new network the weights of a fitted estimator's, layer by layer of the same key."""
        weights, taken = source.network_.weights, {}
        same_outputs = np.array_equal(getattr(source, "classes_", ()), getattr(self, "classes_", ()))
        for key, part in network.weights.items():
            is_output = key.startswith("output.")
            if key not in weights or (is_output and not same_outputs):
                continue
            if weights[key].shape == part.shape:
                taken[key] = weights[key]
            elif not is_output:
                raise ValueError(
                    f"init_from: {key!r} has shape {weights[key].shape} there and {part.shape} here. Layers "
                    f"that differ need keys that differ: give them a name."
                )
        inner = [key for key in taken if not key.startswith("output.")]
        if not inner:
            raise ValueError(
                f"init_from: nothing to take over; it has {list(weights)}, and the new network "
                f"{list(network.weights)}. Layers must agree in name or position."
            )
        kept = {key.partition(".")[0] for key in inner}
        afresh = [s for s in network.stages[:-1] if s.places and s.key not in kept]
        left = [s.label for s in source.network_.stages[:-1] if s.places and s.key not in kept]
        frozen = [stage.label for stage in afresh if stage.frozen]
        if frozen:
            raise ValueError(
                f"init_from: it has no weights for {', '.join(frozen)}, which freeze names; it has some for "
                f"{', '.join(sorted(kept))}. Layers must agree in name or position."
            )
        if afresh and left:
            warn(
                f"init_from: {', '.join(stage.label for stage in afresh)} start afresh, and nobody takes "
                f"over {', '.join(left)}. Layers take over what has their name, or else their position: "
                f"name them the same in both networks."
            )
        network.set_weights({**network.weights, **taken})

    def _check_y_shape(self, y: Array) -> None:
        """Require as many outputs as before."""
        if y.shape[1:] != self._y_shape:
            raise ValueError(f"y must have shape {('n', *self._y_shape)}, as it had before, got {y.shape}.")

    def _check_unchanged(self) -> None:
        """Refuse to go on with a network that the parameters no longer describe."""
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
                    f"warm_start go on with that. Set it back, or fit a new estimator with init_from=this "
                    f"one, which takes its weights over."
                )

    def _check_validation(self, X: Any, y: Any, sample_weight: Any) -> Validation:
        """Check what the user wants to validate on."""
        try:
            require_one_length(y)
            images, y = self._check_images(X, y=y, multi_output=True)
            y = self._check_y(y)
            self._check_y_shape(y)
            weight = check_sample_weight(sample_weight, images)
            target = self._encode(y, self.network_)
        except ValueError as error:
            raise ValueError(f"X_val and y_val: {error}") from error
        rows = np.flatnonzero(weight)
        return Validation(images, rows, y[rows], target, weight)

    def _split_off(
        self, images: Array, y: Array, target: Array, weight: Array, sample_weight: Any
    ) -> Validation:
        """Choose samples to validate on, the same when going on: of a classifier, with each class' share."""
        from sklearn.model_selection import train_test_split  # late: longer to import than this package

        if self._split_seed is None:
            self._split_seed = int(self._trainer.rng.randint(2**31))
        used = np.flatnonzero(weight > 0)
        stratify = y[used] if is_classifier(self) and y.ndim == 1 else None
        try:
            _, rows = train_test_split(
                used, test_size=self.validation_fraction, stratify=stratify, random_state=self._split_seed
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping could not split off validation_fraction={self.validation_fraction} of the "
                f"{len(used)} samples: {str(error).rstrip('.')}. Give X_val and y_val, more samples, "
                f"or another fraction."
            ) from None
        return Validation(images, rows, y[rows], target, check_sample_weight(sample_weight, images))

    def _prepare_validation(self, validation: Validation) -> Callable[[], Record]:
        """Give what evaluates the network after each epoch, by `scoring` if there is any."""
        evaluate = self._trainer.prepare_validation(
            validation.X,
            validation.rows,
            validation.target,
            validation.weight,
            kernels.count_threads(self.n_threads),
        )
        if self.scoring is None:
            return evaluate
        scorer, model = self._find_scorer(), copy.copy(self)
        model.__dict__.pop("feature_names_in_", None)  # the scorer gets plain arrays
        X, weight = validation.X[validation.rows], validation.weight[validation.rows]
        weights = {"sample_weight": weight} if np.ptp(weight) else {}  # not every scorer takes them
        X = show_images(X, self._data_format)

        def score() -> Record:
            value = scorer(model, X, validation.y, **weights)
            if not isinstance(value, Real):
                raise ValueError(f"scoring must give a number, got {value!r} from {self.scoring!r}.")
            return {**evaluate(), "valid_score": float(value)}

        return score

    def _find_scorer(self) -> Callable[..., Any]:
        """Give the scorer that `scoring` is or names."""
        from sklearn.metrics import check_scoring, get_scorer_names  # late: they take long to import

        if isinstance(self.scoring, str) and self.scoring not in (names := get_scorer_names()):
            raise ValueError(
                f"{type(self).__name__}: there is no scoring {self.scoring!r}.{hint(self.scoring, names)} "
                f"sklearn.metrics.get_scorer_names() lists all."
            )
        if isinstance(self.scoring, FunctionType):
            remedy = " Of a metric(y_true, y_pred), sklearn.metrics.make_scorer makes one."
            check_function(type(self).__name__, "scoring", self.scoring, "estimator, X, y", remedy)
        return check_scoring(self, self.scoring)

    @contextmanager
    def _change_model(self) -> Iterator[None]:
        """Check all parameters, and put every attribute back if what runs inside raises."""
        validate_params(self, self._advise)
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _advise(self, name: str, value: Any) -> str:
        """Say what to write instead of a parameter's wrong value, as far as that is known."""
        for (parameter, kind), advice in ADVICE.items():
            if parameter == name and isinstance(value, kind):
                return advice.format(value)
        if name == "layers" and isinstance(value, str):
            from skconvnet import architectures  # late: nobody else here needs it

            meant = guess(value, architectures.__all__)
            return f"Call it: skconvnet.architectures.{meant}()." if meant else ""
        words = [
            word for c in self._parameter_constraints[name] if isinstance(c, StrOptions) for word in c.options
        ]
        return hint(value, words).strip()

    def _check_y(self, y: Any) -> Array:
        """Give y as a dense array."""
        return y.toarray() if issparse(y) else y

    def _weigh(self, X: Array, y: Array, sample_weight: Any, classes: Any = None) -> Array:
        """Give every sample its weight."""
        return check_sample_weight(sample_weight, X)

    def _get_input_shape(self, n_features: int) -> Sequence[int] | None:
        """The input shape that rows of so many numbers are read with; None for plain vectors."""
        return self.input_shape

    def _check_training_images(self, X: Any, y: Any) -> tuple[Array, Any, str]:
        """Check X and y, learn the input's shape, and give the images as the network reads them."""
        X, image_shape = flatten_images(X)
        rows, y = validate_data(self, X, y, multi_output=True)
        self.input_shape_ = settle_input_shape(
            self._get_input_shape(rows.shape[1]), image_shape, rows.shape[1], self.data_format
        )
        self._data_format = self.data_format
        dtype = self.dtype
        if dtype == "auto":
            dtype = "float64" if rows.dtype.type in (np.float64, np.longdouble) else "float32"
        return view_images(rows, self.input_shape_, self._data_format, np.dtype(dtype)), y, dtype

    def _check_images(self, X: Any, **labels: Any) -> tuple[Array, Any]:
        """Check X against what the estimator was fitted on, and give it as the network reads it."""
        check_is_fitted(self)
        flat, _ = flatten_images(X)
        if len(self.input_shape_) == 3:
            shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
            check_image_shape(shape, self.input_shape_, self._data_format)
        checked = validate_data(self, flat, reset=False, **labels)
        rows, y = checked if isinstance(checked, tuple) else (checked, None)
        images = view_images(rows, self.input_shape_, self._data_format, self.network_.dtype)
        return images, y

    def _get_layers(self, shape: Shape) -> Sequence[Layer | None]:
        """The layers, for an input of (channels, height, width) or (features,)."""
        return make_default_layers(shape) if self.layers is None else self.layers

    def _build_trainer(self, n_outputs: int, dtype: str) -> Trainer:
        """Compile the network for the input's shape, draw its weights, and make its trainer."""
        shape = channels_first(self.input_shape_, self._data_format)
        rng = check_random_state(self.random_state)
        try:
            network = Network(self._get_layers(shape), shape, n_outputs, dtype, self.freeze or ())
        except ValueError as error:
            if isinstance(error.__context__, ShapeError):
                advice = suggest_channels_first(self.input_shape_, self._data_format)
                raise ValueError(f"{error}{advice}") from None
            raise
        network.initialize(rng)
        return Trainer(network, resolve_optimizer(self.optimizer), rng, self._make_loss())

    def _train(
        self,
        X: Array,
        target: Array,
        weight: Array,
        n_epochs: int,
        validation: Validation | None = None,
        given: Any = None,
        prepare: Callable[..., Callable[[Show], Record]] = Trainer.prepare,
    ) -> None:
        """Train, and publish what was learnt.

        With what `fit` was given, callbacks are told, and Ctrl-C ends the training; else it goes through.
        """
        trainer, history = self._trainer, self.history_
        batch_size = min(64, len(X)) if self.batch_size == "auto" else self.batch_size
        run_epoch = prepare(
            trainer,
            X,
            target,
            weight,
            batch_size,
            self.learning_rate,
            self.shuffle,
            kernels.count_threads(self.n_threads),
            self.weight_decay,
            self.clip_norm,
            self._data_format,
        )
        evaluate = patience = None
        if validation is not None:
            evaluate = self._prepare_validation(validation)
        if self.early_stopping and validation is not None:
            watched, sign = ("valid_loss", -1) if self.scoring is None else ("valid_score", 1)
            patience = Patience(lambda record: sign * record[watched], self.n_iter_no_change, self.tol)

        def describe() -> dict[str, Any]:
            now = trainer.copy()
            attributes = {"_trainer": now, "network_": now.network, "history_": list(history)}
            return {**attributes, **list_results(now, history)}

        with self._tell_callbacks(given, describe) as begin_epoch:
            train(
                trainer,
                run_epoch,
                n_epochs,
                history,
                self.verbose,
                given is not None,
                evaluate,
                patience,
                begin_epoch,
            )
            self.__dict__.update(list_results(trainer, history))
            if patience is not None:
                # 0 where Ctrl-C came before the first whole epoch
                self.best_iter_ = patience.best_iter or self.n_iter_

    @contextmanager
    def _tell_callbacks(
        self, given: Any, describe: Callable[[], dict[str, Any]]
    ) -> Iterator[Callable[[], Callable[[], bool]]]:
        """Tell callbacks that a fit begins and ends; give what tells them of an epoch, for `train`."""
        if given is None or not has_callbacks(self):
            yield pass_epoch
            return
        X, y, sample_weight = given
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        told = {"estimator": self, "X": X, "y": y, "metadata": metadata}
        with manage_callbacks(self):
            fit = self._init_callback_context(max_subtasks=self.max_iter)
            fit.call_on_fit_task_begin(**told)

            def begin_epoch() -> Callable[[], bool]:
                epoch = fit.subcontext("epoch")
                epoch.call_on_fit_task_begin(**told)
                # describe copies the network, and runs only if a callback asks for the fitted estimator
                return lambda: epoch.call_on_fit_task_end(**told, reconstruction_attributes=describe)

            yield begin_epoch
            fit.call_on_fit_task_end(**told, reconstruction_attributes={})

    def _run_network(self, X: Any, head: str | None = None, last: str | None = None) -> Array:
        """Give the network's outputs, or those of the layer to end with, for a user's X."""
        images, _ = self._check_images(X)
        outputs = self.network_.forward(images, kernels.count_threads(self.n_threads), head, last)
        if not np.isfinite(outputs).all():
            raise ValueError(
                f"The network's outputs overflow {self.network_.dtype.name} for this X, whose largest "
                f"number is {np.abs(images).max():g}. Scale X as the training data were."
            )
        return outputs


def require_one_length(y: Any) -> None:
    """Refuse a list of rows that differ in length, as tuples of labels do.

    Parameters
    ----------
    y : array-like

    Raises
    ------
    ValueError
        If no array can be made of the list.
    """
    try:
        np.asarray(y if isinstance(y, (list, tuple)) else ())
    except ValueError:
        raise ValueError(
            "y must have rows of one length. For several labels a sample, give a matrix of 0 and 1, as "
            "sklearn.preprocessing.MultiLabelBinarizer().fit_transform(y) makes it."
        ) from None


def warn_of_second_output(network: Network) -> None:
    """Warn where an output layer is added behind what seems to be one; `Output` says that it is meant.

    Parameters
    ----------
    network : Network
        Of an estimator, just built.
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
            f"unit{'' if n_outputs == 1 else 's'} is added after it: two in a row train badly. Leave "
            f"{f'that {type(ending[0]).__name__}' if len(ending) == 1 else 'both'} out, or, if it is "
            f"meant, put Output() last."
        )


def list_results(trainer: Trainer, history: list[Record]) -> dict[str, Any]:
    """Give the attributes that tell of a training, as they are after its last epoch so far."""
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


def thaw(estimator: Any) -> Any:
    """Give the estimator within scikit-learn's FrozenEstimator, or the estimator itself.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    estimator : estimator
    """
    return thaw(estimator.estimator) if isinstance(estimator, FrozenEstimator) else estimator


def make_default_layers(shape: Shape) -> list[Layer]:
    """Give the layers that an estimator uses when it is given none.

    Parameters
    ----------
    shape : tuple of int
        (channels, height, width) or (features,).

    Returns
    -------
    layers : list of layer
        For vectors, one dense layer of 100 units with ReLU. For images, 3x3 convolutions of 32 and
        64 filters with ReLU, each followed by a maximum over 2x2 pixels as long as there are at
        least 4 pixels each way, then a dense layer of 128 units with ReLU.
    """
    if len(shape) == 1:
        return [Dense(100, activation="relu")]
    layers: list[Layer] = []
    smallest = min(shape[1:])
    for filters in (32, 64):
        layers.append(Conv2D(filters, padding="same", activation="relu"))
        if smallest >= 4:
            layers.append(MaxPool2D())
            smallest //= 2
    return [*layers, Flatten(), Dense(128, activation="relu")]
