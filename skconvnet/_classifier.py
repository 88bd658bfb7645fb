"""The classifier."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from skconvnet._base import BaseConvNet
from skconvnet._sklearn_compat import (
    StrOptions,
    check_first_call,
    check_sample_weight,
    validate_params,
)


class ConvNetClassifier(ClassifierMixin, BaseConvNet):
    """Convolutional network for classification.

    Images may come as ``(n, height, width, channels)``, ``(n, height, width)``, rows
    ``(n, n_features)`` with `input_shape`, or channels first; values are taken as they are, so scale
    them to about [-1, 1] or [0, 1]. The network is trained by mini-batches on softmax cross-entropy
    and ends in one output per class, which is added to `layers`.

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
        1 prints a table with a line an epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
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
    t_ : int
        Optimizer steps taken.
    loss_ : float
        Training loss of the last epoch.
    loss_curve_ : list of float
        Training loss of each epoch, averaged while the epoch ran.
    history_ : list of dict
        One dict an epoch: epoch, train_loss, train_score (accuracy while the epoch ran),
        learning_rate (of its last step), duration in seconds.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Dense networks in scikit-learn.

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
    ...     input_shape=(8, 8), max_iter=20, random_state=0,
    ... )
    >>> clf.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    """

    _parameter_constraints = {
        **BaseConvNet._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        layers=None,
        *,
        input_shape=None,
        data_format="channels_last",
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.0,
        clip_norm=None,
        batch_size="auto",
        max_iter=50,
        shuffle=True,
        class_weight=None,
        random_state=None,
        dtype="auto",
        n_threads=None,
        verbose=0,
    ):
        self.layers = layers
        self.input_shape = input_shape
        self.data_format = data_format
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.class_weight = class_weight
        self.random_state = random_state
        self.dtype = dtype
        self.n_threads = n_threads
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None):
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels), (n, height, width) or (n, n_features)
            Images, or (n, channels, height, width) with ``data_format="channels_first"``.
        y : array-like of shape (n,)
            Labels of any type.
        sample_weight : array-like of shape (n,), default=None
            Weights in the loss; a weight of 0 leaves the sample out.

        Returns
        -------
        self : ConvNetClassifier

        Raises
        ------
        ValueError
            If parameters, layers and images do not fit, X is not finite, y has a single class, or
            the loss does not stay finite. An earlier model stays as it was.
        """
        with self._keep_model_on_failure():
            validate_params(self)
            images, y, dtype = self._check_training_images(X, y)
            check_classification_targets(y)
            self.classes_, target = np.unique(y, return_inverse=True)
            weight = self._weigh(images, y, sample_weight)
            n_present = len(np.unique(target[weight > 0]))
            if n_present < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes, got {n_present} "
                    f"class: {self.classes_[target[weight > 0][:1]].tolist()}."
                )
            trainer = self._build_trainer(len(self.classes_), dtype)
            self._train(trainer, images, target, weight, self.max_iter, [], interruptible=True)
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch over X, going on from where the model is.

        Parameters
        ----------
        X : array-like
            As for `fit`.
        y : array-like of shape (n,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call unless `fit` came before.
        sample_weight : array-like of shape (n,), default=None
            Weights in the loss; a weight of 0 leaves the sample out.

        Returns
        -------
        self : ConvNetClassifier

        Raises
        ------
        ValueError
            As `fit` does, or if y has labels that are not among the classes. An earlier model
            stays as it was, also when Ctrl-C comes, which goes through to the caller.
        """
        with self._keep_model_on_failure():
            validate_params(self)
            if isinstance(self.class_weight, str):
                raise ValueError(
                    'class_weight="balanced" needs all labels at once; for partial_fit, give the '
                    "weights as a dict {label: weight}."
                )
            if check_first_call(self, classes):
                images, y, dtype = self._check_training_images(X, y)
                if len(self.classes_) < 2:
                    raise ValueError(
                        f"{type(self).__name__} needs at least 2 classes, got {self.classes_.tolist()}."
                    )
                trainer, history = self._build_trainer(len(self.classes_), dtype), []
            else:
                images, y = self._check_images(X, y)
                trainer, history = self._trainer.copy(), list(self.history_)
            check_classification_targets(y)
            unseen = np.setdiff1d(y, self.classes_)
            if len(unseen):
                raise ValueError(
                    f"y has labels {unseen.tolist()}, which are not among the classes "
                    f"{self.classes_.tolist()} that the first call named."
                )
            target = np.searchsorted(self.classes_, y)
            weight = self._weigh(images, y, sample_weight)
            self._train(trainer, images, target, weight, 1, history, interruptible=False)
        return self

    def _weigh(self, X, y, sample_weight):
        """Give every sample its weight: its own times its class'."""
        weight = check_sample_weight(sample_weight, X)
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, y)
            if not (np.isfinite(by_class) & (by_class >= 0)).all():
                raise ValueError(
                    f"class_weight must give finite numbers of at least 0, got {self.class_weight!r}."
                )
            weight = weight * by_class
        return weight

    def decision_function(self, X):
        """Give the outputs before softmax.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), or (n,) with two classes
            With two classes, the second one's output less the first one's: above 0 predicts it.
        """
        outputs = self._run_network(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X):
        """Give the most probable label of each sample.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,)
        """
        winners = self._run_network(X).argmax(axis=1)
        return self.classes_[winners]

    def predict_proba(self, X):
        """Give the probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            A sample's are the same bits in whatever batch it comes.
        """
        return self._run_network(X, "softmax")

    def predict_log_proba(self, X):
        """Give the logarithm of each class' probability, finite where the probability underflows.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes)
        """
        return self._run_network(X, "log_softmax")
