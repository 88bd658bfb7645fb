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
from skconvnet._network import Network
from skconvnet._sklearn_compat import HasMethods, StrOptions, check_sample_weight
from skconvnet._targets import hide_missing, take_targets
from skconvnet._training import TrainingData
from skconvnet._types import Array
from skconvnet.layers import Layer, RandomFlip, RandomShift
from skconvnet.losses import (
    LOSSES,
    Loss,
    Objective,
    OwnLoss,
    measure_moments,
    measure_unit,
)
from skconvnet.optimizers import Optimizer, resolve_optimizer
from skconvnet.schedules import Schedule

REGRESSOR_PARAMETERS = {
    **PARAMETERS,
    "loss": """str or loss, default="squared_error"
        The loss, a mean over samples and outputs, that training minimizes: a name, or an object of
        :mod:`skconvnet.losses`, such as ``Quantile(0.9)``, whose fields are parameters: ``loss__level``.

        - "squared_error", "absolute_error": ``d**2`` or ``abs(d)`` for the difference d between prediction
          and target.
        - "huber": ``d**2 / 2`` up to ``abs(d) = s`` and ``s * (abs(d) - s / 2)`` beyond, for the standard
          deviation s of the targets [1]_.
        - "quantile": the pinball loss; ``Quantile(level)`` predicts a quantile, "quantile" the median.
        - "poisson": for counts and rates; predictions are positive.
        - "cosine": 1 minus the cosine of the angle between two vectors; predictions have the length 1.

        A loss of your own is any object with a method ``value_and_gradient(outputs, targets)``, see
        :mod:`skconvnet.losses`. It gets outputs and targets in the units of y. To suit the same learning
        rates for any unit, training divides it by a constant, so that its gradient at the mean of y has the
        size of that of "squared_error"; reported losses are not divided.""",
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
        "loss": [
            StrOptions({name for name, cls in LOSSES.items() if cls.regresses}),
            *(cls for cls in LOSSES.values() if cls.regresses),
            HasMethods("value_and_gradient"),
        ],
    }
    _target_mean: Any = 0.0
    _target_scale = 1.0
    _own_unit = 1.0

    def __init__(
        self,
        layers: Sequence[Layer | None] | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        data_format: Literal["channels_last", "channels_first"] = "channels_last",
        loss: Literal["squared_error", "absolute_error", "huber", "quantile", "poisson", "cosine"]
        | Loss
        | OwnLoss = "squared_error",
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

    def _make_loss(self) -> Objective:
        return Objective(
            self.loss,
            form="values",
            scale=self._target_scale,
            mean=self._target_mean,
            own_unit=self._own_unit,
        )

    def _check_y(self, y: Any) -> Array:
        """Return real numbers of shape (n,) or (n, n_outputs)."""
        y = super()._check_y(y)
        y = y.astype(np.float64) if y.dtype.kind == "O" else y
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must be real numbers, got {y.dtype}.")
        link = self._make_loss().link
        if link == "log" and (y < 0).any():
            raise ValueError(
                f'loss="poisson" is for counts and rates, but y has negative values, the smallest '
                f"{np.nanmin(y):g}."
            )
        if link == "direction":
            if y.ndim == 1 or y.shape[1] < 2 or not np.isfinite(y).all():
                raise ValueError(
                    f'loss="cosine" needs a vector of at least 2 values for every sample, none of them '
                    f"missing, got y of shape {y.shape}."
                )
            if not y.any(axis=1).all():
                raise ValueError(
                    f'loss="cosine" needs vectors with a direction, but row {int((~y.any(axis=1)).argmax())} '
                    f"of y has only zeros."
                )
        return y

    def _learn_outputs(self, y: Array, weight: Array, classes: Any) -> int:
        """Learn the mean and the scale of the targets, and return the number of outputs."""
        target, loss = y.reshape(len(y), -1), self._make_loss()
        means, variances = measure_moments(target, weight)
        scale = float(np.sqrt(variances.mean()))
        if loss.link == "log":  # the network learns log(y / mean)
            means, scale = np.zeros(1), float(means.mean())
        elif loss.link == "direction":
            means, scale = np.zeros(1), 1.0
        self._target_mean = means
        self._target_scale = scale if np.isfinite(scale) and scale > 0 else 1.0
        self._own_unit = 1.0
        if not loss.compiled:
            self._own_unit = measure_unit(self._make_loss(), target.astype(np.float64), weight)
        return target.shape[1]

    def _adopt_targets(self, source: Any) -> None:
        """Take mean and scale of the targets from a regressor with outputs of the same number and meaning."""
        if not isinstance(source, ConvNetRegressor) or source._y_shape != self._y_shape:
            return
        if source._trainer.loss.link == self._trainer.loss.link:
            self._target_mean, self._target_scale = source._target_mean, source._target_scale
            self._trainer.use(resolve_optimizer(self.optimizer), self._make_loss())

    def _encode(self, y: Array, network: Network) -> Array:
        """Return the standardized targets in the network's precision; for a loss of the user's, y itself."""
        target = y.reshape(len(y), -1)
        if not self._make_loss().compiled:
            return target.astype(np.float64)
        with np.errstate(over="ignore"):
            fits = not np.isinf(target.astype(network.dtype)).any()
        if not fits:
            raise ValueError(
                f"y has values beyond {np.finfo(network.dtype).max:g}, infinity in the "
                f'{network.dtype.name} that the network computes in. Scale y, or use dtype="float64".'
            )
        if self._make_loss().link == "log":
            return target.astype(network.dtype)
        return ((target.astype(np.float64) - self._target_mean) / self._target_scale).astype(network.dtype)

    def _describe_failure(self, data: TrainingData, loss: float, score: float) -> str:
        """Compare the loss with that of the mean, whose output is 0, except where outputs are directions."""
        outputs = np.zeros(data.target.shape[1])
        if self._trainer.loss.link == "direction":
            outputs, _ = measure_moments(data.target, data.weight)
        constant = self._trainer.evaluate_constant(outputs, data)
        return compare_losses(loss, constant, "the mean")

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the coefficient of determination R^2, the mean over outputs.

        Parameters
        ----------
        X : array-like
            As for `fit`.
        y : array-like of shape (n,) or (n, n_outputs)
            Targets; those that are missing (nan) are left out.
        sample_weight : array-like of shape (n,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
        """
        known, missing = hide_missing(take_targets(y))
        if missing is None:
            return float(super().score(X, y, sample_weight))
        from sklearn.metrics import r2_score  # late: importing it takes long

        predicted = self.predict(X)
        weight = check_sample_weight(sample_weight, X)
        scores = [
            r2_score(known[there, k], predicted[there, k], sample_weight=weight[there])
            for k, there in enumerate(~missing.T)
            if there.any()
        ]
        return float(np.mean(scores))

    @fill_docstring(prediction_errors=PREDICTION_ERRORS)
    def predict(self, X: ArrayLike) -> Array:
        """Return the outputs of the network, in the units of y.

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
        outputs, link = self._run_network(X), self._trainer.loss.link
        if link == "direction":
            length = np.sqrt(np.square(outputs, dtype=np.float64).sum(axis=1, keepdims=True))
            return (outputs / np.where(length > 0, length, 1)).astype(outputs.dtype)
        if link == "log":
            largest = np.log(float(np.finfo(outputs.dtype).max)) - np.log(self._target_scale)
            y = np.exp(np.minimum(outputs, largest, dtype=np.float64)) * self._target_scale
        else:
            y = outputs * self._target_scale + self._target_mean
        return y.astype(outputs.dtype).reshape(len(y), *self._y_shape)
