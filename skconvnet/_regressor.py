"""The regressor."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.frozen import FrozenEstimator

from skconvnet._base import BaseConvNet
from skconvnet._docs import (
    ATTRIBUTES,
    PARAMETERS,
    PARTIAL_FIT,
    PREDICTION_ERRORS,
    fill_docstring,
)
from skconvnet._failure import compare_losses
from skconvnet._losses import REGRESSION_LOSSES, Loss, measure_moments
from skconvnet._network import Network
from skconvnet._sklearn_compat import StrOptions
from skconvnet._training import TrainingData
from skconvnet._types import Array
from skconvnet.layers import Layer, RandomFlip, RandomShift
from skconvnet.optimizers import Optimizer, resolve_optimizer
from skconvnet.schedules import Schedule

REGRESSOR_PARAMETERS = {
    **PARAMETERS,
    "loss": """{"squared_error", "absolute_error", "huber"}, default="squared_error"
        The loss, a mean over samples and outputs, that training minimizes: ``d**2`` or ``abs(d)`` for the
        difference d between prediction and target, or Huber's loss, ``d**2 / 2`` up to ``abs(d) = s`` and
        ``s * (abs(d) - s / 2)`` beyond, for the standard deviation s of the targets [1]_.""",
}


@fill_docstring(
    REGRESSOR_PARAMETERS,
    attributes=ATTRIBUTES,
    split="It is drawn at random.",
    score="R^2",
    train_score="The score is R^2, the mean over outputs, with 0 for an output whose targets do not vary.",
)
class ConvNetRegressor(RegressorMixin, BaseConvNet):
    """Convolutional network for regression, with one or several targets per sample.

    X holds images of shape ``(n, height, width, channels)`` or ``(n, height, width)``, rows of shape
    ``(n, n_features)`` with `input_shape`, or images with the channels first; or signals, see `layers`.
    Values of X are not scaled: scale them to about [-1, 1] or [0, 1]. y may have any scale: the network
    learns ``(y - mean) / s``, with the mean of every target and one standard deviation s of all, so
    predictions and losses are in the units of y. The first call of `partial_fit` determines both. The network
    is trained by mini-batches. An output layer with one output per target is added to `layers`.

    Parameters
    ----------
    $parameters

    Attributes
    ----------
    $attributes

    See Also
    --------
    ConvNetClassifier : Classification.
    sklearn.neural_network.MLPRegressor : Dense networks in scikit-learn.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet import ConvNetRegressor
    >>> X = np.random.default_rng(0).random((200, 8, 8))
    >>> y = X[:, 2:6, 2:6].mean(axis=(1, 2))  # how bright the middle is
    >>> reg = ConvNetRegressor(max_iter=30, random_state=0).fit(X, y)
    >>> reg.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints = {
        **BaseConvNet._parameter_constraints,
        "loss": [StrOptions(REGRESSION_LOSSES)],
    }
    _target_mean: Any = 0.0
    _target_scale = 1.0

    def __init__(
        self,
        layers: Sequence[Layer | None] | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        data_format: Literal["channels_last", "channels_first"] = "channels_last",
        loss: Literal["squared_error", "absolute_error", "huber"] = "squared_error",
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
        self.random_state = random_state
        self.test_time_augmentation = test_time_augmentation
        self.dtype = dtype
        self.n_threads = n_threads
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @fill_docstring({**PARTIAL_FIT, "y": "array-like of shape (n,) or (n, n_outputs)\nTargets."})
    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch over X, continuing with the model as it is.

        There is no validation and no early stopping: `score` returns the score of the model on other samples.

        Parameters
        ----------
        $parameters

        Returns
        -------
        self : ConvNetRegressor

        Raises
        ------
        TypeError
            As `fit` does.
        ValueError
            As `fit` does, or if y has another number of outputs than before. After an error, also after a
            KeyboardInterrupt by Ctrl-C, an earlier model is unchanged.
        """
        with self._change_model():
            resume = hasattr(self, "network_")
            self._fit_one_epoch(X, y, sample_weight, resume)
        return self

    def _make_loss(self) -> Loss:
        """Return the loss of a new network."""
        return Loss(self.loss, scale=self._target_scale)

    def _check_y(self, y: Any) -> Array:
        """Return real numbers of shape (n,) or (n, n_outputs)."""
        y = super()._check_y(y)
        y = y.astype(np.float64) if y.dtype.kind == "O" else y
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must be real numbers, got {y.dtype}.")
        return y

    def _learn_outputs(self, y: Array, weight: Array, classes: Any) -> int:
        """Learn the mean and the scale of the targets, and return the number of outputs."""
        target = y.reshape(len(y), -1)
        self._target_mean, variances = measure_moments(target, weight)
        scale = float(np.sqrt(variances.mean()))
        self._target_scale = scale if np.isfinite(scale) and scale > 0 else 1.0
        return target.shape[1]

    def _adopt_targets(self, source: Any) -> None:
        """Take mean and scale of the targets from a regressor with the same number of outputs."""
        if isinstance(source, ConvNetRegressor) and source._y_shape == self._y_shape:
            self._target_mean, self._target_scale = source._target_mean, source._target_scale
            self._trainer.use(resolve_optimizer(self.optimizer), self._make_loss())

    def _encode(self, y: Array, network: Network) -> Array:
        """Return the standardized targets in the network's precision."""
        target = y.reshape(len(y), -1)
        with np.errstate(over="ignore"):
            fits = np.isfinite(target.astype(network.dtype)).all()
        if not fits:
            raise ValueError(
                f"y has values beyond {np.finfo(network.dtype).max:g}, infinity in the "
                f'{network.dtype.name} that the network computes in. Scale y, or use dtype="float64".'
            )
        return ((target.astype(np.float64) - self._target_mean) / self._target_scale).astype(network.dtype)

    def _describe_failure(self, data: TrainingData, loss: float, score: float) -> str:
        """Compare the loss with that of the mean, which is 0 in standardized targets."""
        constant = self._trainer.loss.average(data.target, data.weight)
        return compare_losses(loss, constant, "the mean")

    @fill_docstring(prediction_errors=PREDICTION_ERRORS)
    def predict(self, X: ArrayLike) -> Array:
        """Return the outputs of the network.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            The shape is that of y in `fit`. Values are bitwise identical for any batch composition.

        Raises
        ------
        $prediction_errors
        """
        outputs = self._run_network(X)
        y = (outputs * self._target_scale + self._target_mean).astype(outputs.dtype)
        return y.reshape(len(y), *self._y_shape)
