"""The classifier."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr
from sklearn.base import ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skconvnet._base import BaseConvNet
from skconvnet._docs import (
    ATTRIBUTES,
    PARAMETERS,
    PARTIAL_FIT,
    PREDICTION_ERRORS,
    fill_docstring,
)
from skconvnet._failure import compare_losses
from skconvnet._network import Network
from skconvnet._sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_first_call,
    check_sample_weight,
)
from skconvnet._targets import check_kinds, hide_missing, take_targets
from skconvnet._training import TrainingData
from skconvnet._types import Array
from skconvnet.functional import log_softmax, softmax
from skconvnet.layers import Layer, RandomFlip, RandomShift
from skconvnet.losses import LOSSES, Loss, Objective, OwnLoss, measure_moments
from skconvnet.optimizers import Optimizer
from skconvnet.schedules import Schedule

Method = TypeVar("Method", bound=Callable[..., Any])


def _gives_probabilities(estimator: Any) -> bool:
    """Raise an AttributeError unless the estimator's loss has probabilities."""
    try:
        loss = estimator._trainer.loss if hasattr(estimator, "_trainer") else estimator._make_loss()
    except ValueError:
        return True  # fit reports what is wrong with the parameters
    if loss.head is None:
        raise AttributeError(
            f'loss={loss.name!r} has no probabilities; use loss="cross_entropy" or "binary_cross_entropy".'
        )
    return True


_if_probabilities: Callable[[Method], Method] = available_if(_gives_probabilities)


def _check_probabilities(y: Array) -> Array:
    """Require rows that sum to 1, up to rounding, and return them so that they do."""
    sums = y.sum(axis=1, dtype=np.float64)
    wrong = np.abs(sums - 1) > 1e-3
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"y has values between 0 and 1, which are taken for the probabilities of classes, but row {row} "
            f"sums to {sums[row]:.4g}, not to 1. For labels that do not exclude each other, give 0 and 1."
        )
    return y / sums[:, np.newaxis]


# The forms of y, for messages.
FORMS = {
    "classes": "a label for each sample",
    "labels": "several labels per sample, a matrix of 0 and 1",
    "probabilities": "the probabilities of the classes, a matrix of floats",
}

CLASSIFIER_PARAMETERS = {
    **PARAMETERS,
    "loss": """str or loss, default="cross_entropy"
        The loss, a mean over the samples, that training minimizes: a name, or an object of
        :mod:`skconvnet.losses`, such as ``Focal(gamma=1.5)``, whose fields are parameters: ``loss__gamma``.

        - "cross_entropy": ``-log softmax`` at the sample's class. y may also have soft labels: the
          probabilities of the classes, a float matrix of shape (n, n_classes) whose rows sum to 1; so it may
          with "focal".
        - "binary_cross_entropy": ``-log sigmoid`` of every output whose target is 1, and of minus every
          output whose target is 0, averaged over the outputs. y may have several labels per sample, as a 0/1
          matrix of shape (n, n_labels); each label has an output. Two classes have one output together; more
          classes have an output each, and their probabilities are scaled to sum to 1.
        - "focal": cross-entropy in which samples that are already right count less; y may have several labels
          per sample.
        - "squared_error", "absolute_error": the errors of the outputs against 1 for the sample's class and
          0 for the others, averaged over the classes. There are no probabilities then.

        A loss of your own is any object with a method ``value_and_gradient(outputs, targets)``, see
        :mod:`skconvnet.losses`. Its outputs are any numbers, one for each class or label; probabilities are
        their softmax, with several labels per sample their sigmoid, and `decision_function` returns the
        outputs
        themselves.""",
    "label_smoothing": """float, default=0.0
        Fraction s of each target that is distributed over all classes, at least 0 and below 1: a target t
        becomes ``(1 - s) * t + s / n_classes``, with "binary_cross_entropy" ``(1 - s) * t + s / 2`` [1]_.""",
    "class_weight": """dict or "balanced", default=None
        Weights ``{label: weight}`` that multiply the sample weights; "balanced" makes them inversely
        proportional to the frequencies of the classes.""",
}


@fill_docstring(
    CLASSIFIER_PARAMETERS,
    attributes=ATTRIBUTES,
    split="It is stratified by class if each sample has one label.",
    score="the accuracy",
    train_score="The score is the accuracy; with several labels per sample, all must be right.",
)
class ConvNetClassifier(ClassifierMixin, BaseConvNet):
    """Convolutional network for classification.

    X holds images of shape ``(n, height, width, channels)`` or ``(n, height, width)``, rows of shape
    ``(n, n_features)`` with `input_shape`, or images with the channels first; or signals, see `layers`.
    Values are not scaled: scale them to about [-1, 1] or [0, 1]. The network is trained by mini-batches. An
    output layer with one output per class is added to `layers`.

    Parameters
    ----------
    $parameters

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; for y of several labels or of probabilities the indices of its columns.
    $attributes

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
    _form: Literal["classes", "labels", "probabilities"] = "classes"  # of y

    _parameter_constraints = {
        **BaseConvNet._parameter_constraints,
        "loss": [
            StrOptions({name for name, cls in LOSSES.items() if cls.classifies}),
            *(cls for cls in LOSSES.values() if cls.classifies),
            HasMethods("value_and_gradient"),
        ],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        layers: Sequence[Layer | None] | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        data_format: Literal["channels_last", "channels_first"] = "channels_last",
        loss: Literal["cross_entropy", "binary_cross_entropy", "focal", "squared_error", "absolute_error"]
        | Loss
        | OwnLoss = "cross_entropy",
        label_smoothing: float = 0.0,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | Schedule = 1e-3,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        average: Literal["ema"] | None = None,
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
        test_time_augmentation: Sequence[RandomFlip | RandomShift] | None = None,
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
        self.average = average
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
        self.test_time_augmentation = test_time_augmentation
        self.dtype = dtype
        self.n_threads = n_threads
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self._takes_labels()
        return tags

    @fill_docstring(
        {
            **PARTIAL_FIT,
            "y": """array-like of shape (n,) or (n, n_labels)
                Labels, a 0/1 matrix of several labels, or probabilities of classes.""",
            "classes": """array-like of shape (n_classes,), default=None
                All labels that any call will be given, for a matrix ``range(n_labels)``; needed in the first
                call unless `fit` was called before.""",
        }
    )
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch over X, continuing with the model as it is.

        There is no validation and no early stopping: `score` returns the score of the model on other samples.

        Parameters
        ----------
        $parameters

        Returns
        -------
        self : ConvNetClassifier

        Raises
        ------
        TypeError
            As `fit` does.
        ValueError
            As `fit` does, or if y has labels that are not among the classes. After an error, also after a
            KeyboardInterrupt by Ctrl-C, an earlier model is unchanged.
        """
        with self._change_model():
            if self.class_weight == "balanced":
                raise ValueError(
                    'class_weight="balanced" needs all labels at once; for partial_fit, give the '
                    "weights as a dict {label: weight}."
                )
            resume = not check_first_call(self, take_targets(classes, "classes"))
            self._fit_one_epoch(X, y, sample_weight, resume, self.classes_)
        return self

    def _make_loss(self) -> Objective:
        return Objective(self.loss, self.label_smoothing, self._form)

    def _takes_labels(self) -> bool:
        """Whether the loss is one for several labels per sample."""
        loss = self.loss.kind if isinstance(self.loss, Loss) else self.loss
        return loss in ("binary_cross_entropy", "focal") or hasattr(loss, "value_and_gradient")

    def _check_y(self, y: Any) -> Array:
        """Return labels of shape (n,), or (n, n_labels) for several labels per sample."""
        y = super()._check_y(y)
        single = y.shape[1:] in ((), (1,))
        if single and y.dtype.kind == "f" and (n_missing := np.count_nonzero(np.isnan(y))):
            raise ValueError(f"y has {n_missing} missing values; leave out samples without a label.")
        if y.shape[1:] == (1,):
            y = column_or_1d(y, warn=True)
        if y.dtype.kind == "O":
            check_kinds(y)
        form = self._find_form(y)
        if "_form" in vars(self) and y.shape[1:] == self._y_shape and form != self._form:
            raise ValueError(f"y must have {FORMS[self._form]}, as it had before, got {FORMS[form]}.")
        if form == "probabilities":
            return _check_probabilities(y)
        missing = np.isnan(y) if y.ndim == 2 and y.dtype.kind == "f" else np.zeros(y.shape, bool)
        if missing.any() and not self._takes_labels():
            raise ValueError(
                f"y has {np.count_nonzero(missing)} missing values (nan), which only a matrix of several "
                f'labels may have; set loss="binary_cross_entropy" for it (loss is {self.loss!r}).'
            )
        known = np.where(missing, 0, y) if missing.any() else y
        check_classification_targets(known)
        # dtype first: NumPy before 2 warns if texts are compared with numbers
        if y.ndim == 2 and (y.dtype.kind in "SU" or not ((known == 0) | (known == 1)).all()):
            others = [value for value in np.unique(known).tolist() if value not in (0, 1)]
            raise ValueError(
                f"y of shape {y.shape} must be a matrix of 0 and 1, a column for each label; it has other "
                f"values: {others[:3]}. sklearn.preprocessing.MultiLabelBinarizer makes it of labels. For "
                f"columns of classes, use sklearn.multioutput.MultiOutputClassifier, with X as rows."
            )
        if y.ndim == 2 and not self._takes_labels():
            one_hot = "y looks one-hot: give the labels, y.argmax(axis=1). Otherwise, "
            raise ValueError(
                f"{one_hot if (y.sum(axis=1) == 1).all() else ''}y has several labels per sample, a matrix "
                f'of shape {y.shape}; set loss="binary_cross_entropy" for it (loss is {self.loss!r}).'
            )
        return y

    def _find_form(self, y: Array) -> Literal["classes", "labels", "probabilities"]:
        """Return the form of y; a one-hot matrix is one of probabilities only if y was that before."""
        if y.ndim == 1:
            return "classes"
        soft = self._make_loss().name in ("cross_entropy", "focal") or not self._make_loss().compiled
        if soft and y.dtype.kind == "f" and ((y >= 0) & (y <= 1)).all():
            hard = ((y == 0) | (y == 1)).all()
            if not hard or vars(self).get("_form") == "probabilities":
                return "probabilities"
        return "labels"

    def _weigh(self, X: Array, y: Array, sample_weight: ArrayLike | None, classes: Any = None) -> Array:
        """Return the weights of samples times those of their classes; classes: those of all calls."""
        weight = super()._weigh(X, y, sample_weight)
        if self.class_weight is not None:
            if y.ndim == 2:
                raise ValueError(
                    f"class_weight is for samples of one class each, but y has {FORMS[self._find_form(y)]}; "
                    f"use sample_weight."
                )
            by_class = self._weigh_classes(y, np.unique(y) if classes is None else classes)
            if not (np.isfinite(by_class) & (by_class >= 0)).all():
                raise ValueError(
                    f"class_weight must have finite values of at least 0, got {self.class_weight!r}."
                )
            weight = weight * by_class
        return weight

    def _weigh_classes(self, y: Array, classes: Array) -> Array:
        """Return the weight of each sample's class, 1 for a class without one."""
        weights: Any = self.class_weight
        if weights == "balanced":
            return compute_sample_weight(weights, y)
        labels = classes.tolist()
        unknown = [label for label in weights if label not in labels]
        if unknown:
            raise ValueError(
                f"class_weight has labels {unknown}, which are not in y; its labels are {labels}."
            )
        return np.array([weights.get(label, 1) for label in y.tolist()], float)

    def _learn_outputs(self, y: Array, weight: Array, classes: Any) -> int:
        """Learn the classes, unless they are given, and return the number of outputs."""
        self._form = self._find_form(y)
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
        loss = self._make_loss()
        one = loss.name == "binary_cross_entropy" and y.ndim == 1 and len(self.classes_) == 2
        return 1 if one else len(self.classes_)

    def _encode(self, y: Array, network: Network) -> Array:
        """Return class indices; a value for every output with several labels, probabilities or one output."""
        if y.ndim == 2:
            return y.astype(network.dtype if y.dtype.kind == "f" else np.uint8)
        unseen = np.setdiff1d(y, self.classes_)
        if len(unseen):
            raise ValueError(
                f"y has labels {unseen.tolist()}, which are not among the classes "
                f"{self.classes_.tolist()} of the first call. For other classes, fit a new "
                f"estimator with init_from=this one."
            )
        index = np.searchsorted(self.classes_, y)
        return index.reshape(-1, 1).astype(np.uint8) if network.output_shape == (1,) else index

    def _describe_failure(self, data: TrainingData, loss: float, score: float) -> str:
        """Compare the accuracy with that of the most frequent class; with several labels, compare losses."""
        if self._form == "labels" and self._trainer.loss.name != "binary_cross_entropy":
            return ""
        if self._form == "labels":
            smoothing = self._trainer.loss.label_smoothing
            frequencies, _ = measure_moments(data.target, data.weight)
            frequencies = (1 - smoothing) * frequencies + smoothing / 2
            constant = (entr(frequencies) + entr(1 - frequencies)).mean()
            return compare_losses(loss, constant, "the frequency of each label")
        target = data.target.argmax(axis=1) if self._form == "probabilities" else data.target.ravel()
        constant = np.bincount(target, data.weight).max() / data.weight.sum()
        if score >= constant:
            return ""
        return (
            f"it is right for {score:.2%} of the training samples, and always predicting the most frequent "
            f"class would be right for {constant:.2%}"
        )

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy on samples; with several labels per sample, all that are there must be right.

        Parameters
        ----------
        X : array-like
            As for `fit`.
        y : array-like of shape (n,), (n, n_labels) or (n, n_classes)
            Labels as for `fit`. Of probabilities of classes, the largest counts.
        sample_weight : array-like of shape (n,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
        """
        labels: Any = take_targets(y)
        if self._form == "probabilities" and labels.ndim == 2:
            labels = labels.argmax(axis=1)
        known, missing = hide_missing(labels)
        if missing is None:
            return float(super().score(X, labels, sample_weight))
        right = ((self.predict(X) == known) | missing).all(axis=1)
        weight = check_sample_weight(sample_weight, X) * (1 - missing.mean(axis=1))
        return float(np.average(right, weights=weight))

    @fill_docstring(prediction_errors=PREDICTION_ERRORS)
    def decision_function(self, X: ArrayLike) -> Array:
        """Return the outputs before softmax or sigmoid.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), (n, n_labels), or (n,) with two classes
            With two classes, the output of the second minus that of the first, or the only output: a positive
            score predicts the second class. With several labels, those with a positive score are predicted.

        Raises
        ------
        $prediction_errors
        """
        outputs = self._run_network(X)
        if self._form == "labels" or len(self.classes_) > 2:
            return outputs
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]

    @fill_docstring(prediction_errors=PREDICTION_ERRORS)
    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable label of each sample; of several labels, those above probability 1/2.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_labels)
            Labels, or a matrix of 0 and 1 for several labels per sample.

        Raises
        ------
        $prediction_errors
        """
        outputs = self._run_network(X)
        if self._form == "labels":
            return (outputs > 0).astype(int)
        one = outputs.shape[1] == 1
        return self.classes_[(outputs[:, 0] > 0).astype(int) if one else outputs.argmax(axis=1)]

    @_if_probabilities
    @fill_docstring(prediction_errors=PREDICTION_ERRORS)
    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class, in the order of `classes_`, or of each label.

        The method does not exist if the loss has no probabilities.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes) or (n, n_labels)
            They are bitwise identical for any batch composition. Those of the classes sum to 1.

        Raises
        ------
        $prediction_errors
        """
        return self._normalize_outputs(X, "softmax")

    @_if_probabilities
    @fill_docstring(prediction_errors=PREDICTION_ERRORS)
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithm of each probability, finite where the probability underflows.

        The method does not exist if the loss has no probabilities.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes) or (n, n_labels)

        Raises
        ------
        $prediction_errors
        """
        return self._normalize_outputs(X, "log_softmax")

    def _normalize_outputs(self, X: ArrayLike, head: str) -> Array:
        """Return probabilities with head "softmax", their logarithms with "log_softmax"."""
        check_is_fitted(self)
        if self._trainer.loss.head == "softmax":
            return self._run_network(X, head)
        outputs = self._run_network(X)
        # softmax(0, z) is (1 - sigmoid(z), sigmoid(z))
        pairs = np.stack([np.zeros_like(outputs), outputs], axis=-1).reshape(-1, 2)
        normalize = softmax if head == "softmax" else log_softmax
        if outputs.shape[1] == 1:
            return normalize(pairs, n_threads=self.n_threads)
        if self._form == "labels":
            return normalize(pairs, n_threads=self.n_threads)[:, 1].reshape(outputs.shape)
        log_sigmoid = log_softmax(pairs, n_threads=self.n_threads)[:, 1].reshape(outputs.shape)
        return normalize(log_sigmoid, n_threads=self.n_threads)
