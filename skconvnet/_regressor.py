"""The regressor."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.frozen import FrozenEstimator

from skconvnet._base import BaseConvNet
from skconvnet._losses import REGRESSION_LOSSES, Loss
from skconvnet._network import Network
from skconvnet._sklearn_compat import StrOptions
from skconvnet._types import Array
from skconvnet.layers import Layer
from skconvnet.optimizers import Optimizer
from skconvnet.schedules import Schedule


class ConvNetRegressor(RegressorMixin, BaseConvNet):
    """Convolutional network for regression, of one or several numbers a sample.

    Images may come as ``(n, height, width, channels)``, ``(n, height, width)``, rows
    ``(n, n_features)`` with `input_shape`, or channels first; values are taken as they are, so scale
    them to about [-1, 1] or [0, 1], and y too: see
    :class:`sklearn.compose.TransformedTargetRegressor`. The network is trained by mini-batches and ends in
    one output per number, which is added to `layers`.

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
    loss : {"squared_error", "absolute_error", "huber"}, default="squared_error"
        What training makes small, on average over samples and outputs: ``d**2`` or ``abs(d)`` of the
        difference d between output and target, or Huber's ``d**2 / 2`` up to ``abs(d) = 1`` and
        ``abs(d) - 1/2`` beyond [1]_.
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
        Share of the training data that `early_stopping` splits off to validate on, if `fit` gets no
        `X_val`; the same samples when `warm_start` goes on with the same data.
    n_iter_no_change : int, default=10
        Epochs in a row without improvement after which `early_stopping` ends training.
    tol : float, default=1e-4
        What an epoch has to be better by than the best one before to be an improvement.
    scoring : str, callable or None, default=None
        What `early_stopping` watches, a scorer as scikit-learn has them, and what is recorded as
        `valid_score`. It gets the validation samples' weights if they differ. None watches the
        validation loss and records R^2.
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
        One dict an epoch: epoch, train_loss, train_score (R^2 while the epoch ran, the mean over
        outputs; 0 for an output whose targets are all the same), valid_loss and valid_score if there
        is something to validate on, learning_rate (of its last step), duration of training in seconds.

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
        self.dtype = dtype
        self.n_threads = n_threads
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch over X, going on from where the model is.

        Nothing is validated or stopped early: `score` tells how well the model does on other samples.

        Parameters
        ----------
        X : array-like
            As for `fit`.
        y : array-like of shape (n,) or (n, n_outputs)
            Numbers.
        sample_weight : array-like of shape (n,), default=None
            Weights in the loss; a weight of 0 leaves the sample out.

        Returns
        -------
        self : ConvNetRegressor

        Raises
        ------
        TypeError
            As `fit` does.
        ValueError
            As `fit` does, or if y has another number of outputs than before. An earlier model stays as
            it was, also when Ctrl-C comes, which goes through to the caller.
        """
        with self._change_model():
            resume = hasattr(self, "network_")
            self._fit_one_epoch(X, y, sample_weight, resume)
        return self

    def _make_loss(self) -> Loss:
        """The loss of a new network."""
        return Loss(self.loss)

    def _check_y(self, y: Any) -> Array:
        """Give real numbers of shape (n,) or (n, n_outputs)."""
        y = super()._check_y(y)
        y = y.astype(np.float64) if y.dtype.kind == "O" else y
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must be real numbers, got {y.dtype}.")
        return y

    def _learn_outputs(self, y: Array, weight: Array, classes: Any) -> int:
        """Give the number of outputs."""
        return y.shape[1] if y.ndim == 2 else 1

    def _encode(self, y: Array, network: Network) -> Array:
        """Give the numbers in the network's precision."""
        with np.errstate(over="ignore"):
            target = y.reshape(len(y), -1).astype(network.dtype)
        if not np.isfinite(target).all():
            raise ValueError(
                f"y has numbers beyond {np.finfo(network.dtype).max:g}, infinity in the "
                f'{network.dtype.name} that the network computes in. Scale y, or use dtype="float64".'
            )
        return target

    def predict(self, X: ArrayLike) -> Array:
        """Give the network's outputs.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            As y was in `fit`. A sample's are the same bits in whatever batch it comes.

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
        return outputs.reshape(len(outputs), *self._y_shape)
