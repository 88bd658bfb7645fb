"""The classifier."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skconvnet._base import BaseConvNet
from skconvnet._losses import CLASS_LOSSES, Loss
from skconvnet._network import Network
from skconvnet._sklearn_compat import Interval, StrOptions, check_first_call
from skconvnet._types import Array
from skconvnet.functional import log_softmax, softmax
from skconvnet.layers import Layer
from skconvnet.optimizers import Optimizer
from skconvnet.schedules import Schedule

Method = TypeVar("Method", bound=Callable[..., Any])


def _gives_probabilities(estimator: Any) -> bool:
    """Raise an AttributeError unless the estimator's loss is one of probabilities."""
    fitted = hasattr(estimator, "_trainer")
    loss = estimator._trainer.loss.name if fitted else estimator.loss
    if loss not in ("cross_entropy", "binary_cross_entropy"):
        raise AttributeError(
            f'loss={loss!r} gives no probabilities; use loss="cross_entropy" or "binary_cross_entropy".'
        )
    return True


_if_probabilities: Callable[[Method], Method] = available_if(_gives_probabilities)


def _check_kinds(y: Array) -> None:
    """Refuse labels that cannot be sorted."""
    try:
        np.unique(y)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in y.ravel()})
        raise ValueError(
            f"y must have labels of one kind, all numbers or all text, got {' and '.join(kinds)}. Leave out "
            f"samples without a label, and give the others labels of one type."
        ) from None


class ConvNetClassifier(ClassifierMixin, BaseConvNet):
    """Convolutional network for classification.

    Images may come as ``(n, height, width, channels)``, ``(n, height, width)``, rows
    ``(n, n_features)`` with `input_shape`, or channels first; values are taken as they are, so scale
    them to about [-1, 1] or [0, 1]. The network is trained by mini-batches and ends in one output per
    class, which is added to `layers`.

    Parameters
    ----------
    layers : list of layer, default=None
        The network from input to output, of :mod:`skconvnet.layers`, without the output layer,
        unless the last one is `Output`, which says how to build it. None in a place leaves it out.
        With None as a whole: for vectors, ``Dense(100, activation="relu")``; for images, 3x3
        convolutions of 32 and 64 filters with ReLU and 2x2 max pooling (as long as there are at
        least 4 pixels each way), then ``Dense(128, activation="relu")``.
        Fields are parameters: ``layers__stem__filters`` of a layer named "stem", else
        ``layers__0__filters`` by position.
    input_shape : tuple of int, default=None
        Shape of one image when X is given as rows: (height, width), (height, width, channels), or
        (channels, height, width) when channels come first. None takes rows as plain vectors.
    data_format : {"channels_last", "channels_first"}, default="channels_last"
        Where X has its channels.
    loss : str, default="cross_entropy"
        What training makes small, on average over the samples:

        - "cross_entropy": ``-log softmax`` at the sample's class.
        - "binary_cross_entropy": ``-log sigmoid`` of every output whose target is 1, of minus the output
          where it is 0, averaged over outputs. It takes y of several labels a sample, a 0/1 matrix of shape
          (n, n_labels), with an output per label; with two classes there is one output, with more
          classes each has its own and probabilities are scaled to sum to 1.
        - "squared_error", "absolute_error": of outputs against 1 for the sample's class and 0 for
          the others, averaged over classes. There are no probabilities then.
    label_smoothing : float, default=0.0
        Share s of each target that is spread out, at least 0 and below 1: a target t becomes
        ``(1 - s) * t + s / n_classes``, with "binary_cross_entropy" ``(1 - s) * t + s / 2`` [1]_.
    optimizer : str or optimizer, default="adam"
        "sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lion", or an object of
        :mod:`skconvnet.optimizers`, such as ``SGD(momentum=0.9)``, with its fields
        ``optimizer__momentum`` as parameters.
    learning_rate : float or schedule, default=0.001
        Size of the optimizer's steps: a number, or an object of :mod:`skconvnet.schedules`, such as
        ``CosineDecay(0.01, decay_steps=5000)``, with its fields ``learning_rate__decay_steps`` as
        parameters. A schedule counts the steps over the life of the model, through `partial_fit`.
    weight_decay : float, default=0.0
        Pulls weights, but not biases or the scales of normalisation, towards 0: ``weight_decay *
        weight`` is added to their gradient, as that of the penalty ``weight_decay / 2 * weight**2``
        would be; "adamw" and "lion" subtract ``learning_rate * weight_decay * weight`` instead.
    clip_norm : float, default=None
        Largest Euclidean norm of a mini-batch's gradient; a longer one is scaled down to it, before
        weight decay (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
        networks", ICML 2013).
    batch_size : int or "auto", default="auto"
        Samples in a mini-batch; "auto" means ``min(64, n_samples)``.
    max_iter : int, default=50
        Number of epochs: how often each sample is used.
    shuffle : bool, default=True
        Whether each epoch takes the samples in an order of its own.
    early_stopping : bool, default=False
        Whether to stop when the validation loss, or what `scoring` says, no longer improves, and to keep the
        weights of the best epoch. Without it, training takes exactly `max_iter` epochs.
    validation_fraction : float, default=0.1
        Share of the training data that `early_stopping` splits off to validate on, with each class'
        share in it, if `fit` gets no `X_val`; the same samples when `warm_start` goes on with the same data.
    n_iter_no_change : int, default=10
        Epochs in a row without improvement after which `early_stopping` ends training.
    tol : float, default=1e-4
        What an epoch has to be better by than the best one before to be an improvement.
    scoring : str, callable or None, default=None
        What `early_stopping` watches, a scorer as scikit-learn has them, and what is recorded as
        `valid_score`. It gets the validation samples' weights if they differ. None watches the
        validation loss and records the accuracy.
    warm_start : bool, default=False
        Whether `fit` goes on with the network and the optimizer's state of the last one, for another
        `max_iter` epochs.
    freeze : list of str or int, default=None
        Layers whose weights training leaves as they are: names, positions in `layers` (negative from the
        end), or "output". Weight decay and `clip_norm` do not see them, and they do what they do in
        prediction: `BatchNorm` normalises by its running moments, `Dropout` and what else acts in
        training alone, such as `Mixup`, does nothing. What lies below the lowest layer that trains is not
        differentiated, which saves its time.
    init_from : fitted estimator, default=None
        A `ConvNetClassifier` or `ConvNetRegressor` whose weights and running moments a new network starts
        with, those of `Standardize` included. A layer takes over what has its key, its name or else its
        position, as in ``network_.weights``, and must agree in shape; a layer whose key is not there starts
        afresh, with a warning if others find no taker, and so does the output layer unless shape and
        classes agree. Where the estimator is cloned, as in searches, wrap it in
        :class:`sklearn.frozen.FrozenEstimator`.
    class_weight : dict or "balanced", default=None
        Weights ``{label: weight}`` that multiply the sample weights; "balanced" makes them inversely
        proportional to the classes' frequencies.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights and the order of the samples. On one machine, the same int gives
        the same bits for any number of threads.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision; "auto" computes X of float64 in float64, everything else in float32.
    n_threads : int, default=None
        OpenMP threads; None means ``SKCONVNET_NUM_THREADS`` if set, else ``OMP_NUM_THREADS`` if
        set, else one for each physical core that the process may use.
    verbose : int, default=0
        1 prints a table with a line an epoch; 2 draws, on a terminal, a bar too while an epoch runs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; for y of several labels their column numbers.
    n_features_in_ : int
        Numbers in one sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of X's columns, if X was a data frame.
    input_shape_ : tuple of int
        Shape of one sample, in `data_format`.
    network_ : Network
        The trained network; ``network_.summary()`` prints it, ``network_.weights`` maps
        ``"stem.weight"``, ``"0.bias"``, ``"output.weight"`` to arrays in PyTorch's layouts,
        ``network_.set_weights(mapping)`` sets them.
    n_iter_ : int
        Epochs trained.
    best_iter_ : int
        Epoch that the weights come from: with `early_stopping` the best one, else the last.
    t_ : int
        Optimizer steps taken.
    loss_ : float
        Training loss of the last epoch.
    loss_curve_ : list of float
        Training loss of each epoch, averaged while the epoch ran.
    validation_loss_curve_, validation_scores_ : list of float or None
        Validation loss and score after each epoch, nan after those without validation; None if all were
        without.
    history_ : list of dict
        One dict an epoch: epoch, train_loss, train_score (accuracy while the epoch ran; of several
        labels, the share of samples with all of them right), valid_loss and valid_score if there is
        something to validate on, learning_rate (of its last step), duration of training in seconds.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Dense networks in scikit-learn.

    References
    ----------
    .. [1] Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for
       computer vision", CVPR 2016, section 7.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.layers import Conv2D, MaxPool2D
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> clf = ConvNetClassifier(
    ...     [Conv2D(16, padding="same", activation="relu", name="stem"), MaxPool2D()],
    ...     input_shape=(8, 8), max_iter=40, random_state=0,
    ... )
    >>> clf.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    """

    classes_: Array

    _parameter_constraints = {
        **BaseConvNet._parameter_constraints,
        "loss": [StrOptions(CLASS_LOSSES)],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        layers: Sequence[Layer | None] | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        data_format: Literal["channels_last", "channels_first"] = "channels_last",
        loss: Literal[
            "cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error"
        ] = "cross_entropy",
        label_smoothing: float = 0.0,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | Schedule = 1e-3,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int = 50,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        scoring: str | Callable[..., float] | None = None,
        warm_start: bool = False,
        freeze: Sequence[str | int] | None = None,
        init_from: BaseConvNet | FrozenEstimator | None = None,
        class_weight: dict[Any, Any] | Literal["balanced"] | None = None,
        random_state: int | np.random.RandomState | None = None,
        dtype: Literal["auto", "float32", "float64"] = "auto",
        n_threads: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.layers = layers
        self.input_shape = input_shape
        self.data_format = data_format
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scoring = scoring
        self.warm_start = warm_start
        self.freeze = freeze
        self.init_from = init_from
        self.class_weight = class_weight
        self.random_state = random_state
        self.dtype = dtype
        self.n_threads = n_threads
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.loss == "binary_cross_entropy"
        return tags

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch over X, going on from where the model is.

        Nothing is validated or stopped early: `score` tells how well the model does on other samples.

        Parameters
        ----------
        X : array-like
            As for `fit`.
        y : array-like of shape (n,) or (n, n_labels)
            Labels, or a 0/1 matrix of several labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come, for a matrix ``range(n_labels)``; needed in the first call unless
            `fit` came before.
        sample_weight : array-like of shape (n,), default=None
            Weights in the loss; a weight of 0 leaves the sample out.

        Returns
        -------
        self : ConvNetClassifier

        Raises
        ------
        TypeError
            As `fit` does.
        ValueError
            As `fit` does, or if y has labels that are not among the classes. An earlier model
            stays as it was, also when Ctrl-C comes, which goes through to the caller.
        """
        with self._change_model():
            if self.class_weight == "balanced":
                raise ValueError(
                    'class_weight="balanced" needs all labels at once; for partial_fit, give the '
                    "weights as a dict {label: weight}."
                )
            resume = not check_first_call(self, classes)
            self._fit_one_epoch(X, y, sample_weight, resume, self.classes_)
        return self

    def _make_loss(self) -> Loss:
        """The loss of a new network."""
        return Loss(self.loss, self.label_smoothing)

    def _check_y(self, y: Any) -> Array:
        """Give labels of shape (n,) or, of several labels a sample, (n, n_labels)."""
        y = super()._check_y(y)
        if y.shape[1:] == (1,):
            y = column_or_1d(y, warn=True)
        if y.dtype.kind == "O":
            _check_kinds(y)
        check_classification_targets(y)
        # NumPy before 2 warns where texts are compared with numbers.
        if y.ndim == 2 and (y.dtype.kind in "SU" or not ((y == 0) | (y == 1)).all()):
            others = [value for value in np.unique(y).tolist() if value not in (0, 1)]
            raise ValueError(
                f"y of shape {y.shape} must be a matrix of 0 and 1, a column for each label; it has other "
                f"values: {others[:3]}. Of labels by name, "
                f"sklearn.preprocessing.MultiLabelBinarizer makes one."
            )
        if y.ndim == 2 and self.loss != "binary_cross_entropy":
            one_hot = "y looks one-hot: give the labels, y.argmax(axis=1). Otherwise, "
            raise ValueError(
                f"{one_hot if (y.sum(axis=1) == 1).all() else ''}y has several labels a sample, a matrix of "
                f'shape {y.shape}; set loss="binary_cross_entropy" for it (loss is {self.loss!r}).'
            )
        return y

    def _weigh(self, X: Array, y: Array, sample_weight: ArrayLike | None, classes: Any = None) -> Array:
        """Give every sample its weight: its own times its class'; classes: all that will ever come."""
        weight = super()._weigh(X, y, sample_weight)
        if self.class_weight is not None:
            if y.ndim == 2:
                raise ValueError(
                    "class_weight is for samples of one class each, but y has several labels a sample; "
                    "use sample_weight."
                )
            by_class = self._weigh_classes(y, np.unique(y) if classes is None else classes)
            if not (np.isfinite(by_class) & (by_class >= 0)).all():
                raise ValueError(
                    f"class_weight must give finite numbers of at least 0, got {self.class_weight!r}."
                )
            weight = weight * by_class
        return weight

    def _weigh_classes(self, y: Array, classes: Array) -> Array:
        """Give every sample its class' weight, 1 where none is given."""
        weights: Any = self.class_weight
        if weights == "balanced":
            return compute_sample_weight(weights, y)
        labels = classes.tolist()
        unknown = [label for label in weights if label not in labels]
        if unknown:
            raise ValueError(f"class_weight has {unknown}, which y has not; its labels are {labels}.")
        return np.array([weights.get(label, 1) for label in y.tolist()], float)

    def _learn_outputs(self, y: Array, weight: Array, classes: Any) -> int:
        """Learn the classes, unless they are given, and give the number of outputs."""
        if classes is None:
            self.classes_ = np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])
            present = np.unique(y[weight > 0]) if y.ndim == 1 else self.classes_
            if len(present) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes, got {len(present)} "
                    f"class: {present.tolist()}."
                )
        elif y.ndim == 2 and classes.tolist() != list(range(y.shape[1])):
            raise ValueError(
                f"classes must be range({y.shape[1]}) for y of shape {y.shape}, got {classes.tolist()}."
            )
        elif len(classes) < 2:
            raise ValueError(f"{type(self).__name__} needs at least 2 classes, got {classes.tolist()}.")
        one = self.loss == "binary_cross_entropy" and y.ndim == 1 and len(self.classes_) == 2
        return 1 if one else len(self.classes_)

    def _encode(self, y: Array, network: Network) -> Array:
        """Give class indices; 0/1 of every output for several labels or a single output."""
        if y.ndim == 2:
            return y.astype(np.uint8)
        unseen = np.setdiff1d(y, self.classes_)
        if len(unseen):
            raise ValueError(
                f"y has labels {unseen.tolist()}, which are not among the classes "
                f"{self.classes_.tolist()} that the first call named. For other classes, fit a new "
                f"estimator with init_from=this one."
            )
        index = np.searchsorted(self.classes_, y)
        return index.reshape(-1, 1).astype(np.uint8) if network.output_shape == (1,) else index

    def decision_function(self, X: ArrayLike) -> Array:
        """Give the outputs before softmax or sigmoid.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), (n, n_labels), or (n,) with two classes
            With two classes, the second one's output less the first one's, or the only output: above 0
            predicts the second. Of several labels, those above 0 are predicted.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        TypeError
            If X is sparse, or a masked array that masks something.
        ValueError
            If X's samples have another shape than those of `fit`, X is not finite, or the outputs overflow.
        """
        outputs = self._run_network(X)
        if self._y_shape or len(self.classes_) > 2:
            return outputs
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]

    def predict(self, X: ArrayLike) -> Array:
        """Give the most probable label of each sample; of several labels, those above probability 1/2.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_labels)
            Labels, or a matrix of 0 and 1.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        TypeError
            If X is sparse, or a masked array that masks something.
        ValueError
            If X's samples have another shape than those of `fit`, X is not finite, or the outputs overflow.
        """
        outputs = self._run_network(X)
        if self._y_shape:
            return (outputs > 0).astype(int)
        one = outputs.shape[1] == 1
        return self.classes_[(outputs[:, 0] > 0).astype(int) if one else outputs.argmax(axis=1)]

    @_if_probabilities
    def predict_proba(self, X: ArrayLike) -> Array:
        """Give the probability of each class, in the order of `classes_`, or of each label.

        There is no such method when the loss is not one of probabilities.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes) or (n, n_labels)
            A sample's are the same bits in whatever batch it comes. Those of classes sum to 1.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        TypeError
            If X is sparse, or a masked array that masks something.
        ValueError
            If X's samples have another shape than those of `fit`, X is not finite, or the outputs overflow.
        """
        return self._normalize_outputs(X, "softmax")

    @_if_probabilities
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Give the logarithm of each probability, finite where the probability underflows.

        There is no such method when the loss is not one of probabilities.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes) or (n, n_labels)

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        TypeError
            If X is sparse, or a masked array that masks something.
        ValueError
            If X's samples have another shape than those of `fit`, X is not finite, or the outputs overflow.
        """
        return self._normalize_outputs(X, "log_softmax")

    def _normalize_outputs(self, X: ArrayLike, head: str) -> Array:
        """Give probabilities with head "softmax", their logarithms with "log_softmax"."""
        check_is_fitted(self)
        if self._trainer.loss.name == "cross_entropy":
            return self._run_network(X, head)
        outputs = self._run_network(X)
        # sigmoid(z) is the second number of softmax(0, z), and 1 - sigmoid(z) the first
        pairs = np.stack([np.zeros_like(outputs), outputs], axis=-1).reshape(-1, 2)
        normalize = softmax if head == "softmax" else log_softmax
        if outputs.shape[1] == 1:
            return normalize(pairs, n_threads=self.n_threads)
        if self._y_shape:
            return normalize(pairs, n_threads=self.n_threads)[:, 1].reshape(outputs.shape)
        log_sigmoid = log_softmax(pairs, n_threads=self.n_threads)[:, 1].reshape(outputs.shape)
        return normalize(log_sigmoid, n_threads=self.n_threads)
