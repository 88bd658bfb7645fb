"""Docstrings with placeholders, and the texts that the docstrings of the estimators share."""

import inspect
from collections.abc import Callable, Mapping
from string import Template
from textwrap import indent
from typing import Any, TypeVar

Documented = TypeVar("Documented", bound=Callable[..., Any])  # a function or a class


def fill_docstring(
    texts: Mapping[str, str] | None = None, **words: str
) -> Callable[[Documented], Documented]:
    """Return a decorator that fills the placeholders of the docstring of a function or a class.

    Parameters
    ----------
    texts : mapping, default=None
        The kind and the description of a parameter, by its name. ``$parameters`` stands for the items of all
        parameters in the order of the signature.
    **words : str
        What any other placeholder stands for, also in texts.

    Returns
    -------
    decorator : callable
        Returns what it is given. It does nothing if there is no docstring (``python -OO``).

    Raises
    ------
    KeyError
        If there is no text for a parameter, or no word for a placeholder.
    ValueError
        If a word is not used.
    """

    def fill(documented: Documented) -> Documented:
        if documented.__doc__ is None:
            return documented
        doc, used, known = inspect.cleandoc(documented.__doc__), set(), dict(words)
        if texts is not None:
            names = [name for name in inspect.signature(documented).parameters if name != "self"]
            known["parameters"] = write_items({name: texts[name] for name in names})
        while (template := Template(doc)).get_identifiers():  # words may have placeholders, too
            doc, used = template.substitute(known), {*used, *template.get_identifiers()}
        if unused := known.keys() - used:
            raise ValueError(f"{documented.__qualname__}: its docstring does not use {sorted(unused)}.")
        documented.__doc__ = f"{doc}\n"
        return documented

    return fill


def write_items(texts: Mapping[str, str]) -> str:
    """Write numpydoc's items: names with the kind, and below it, indented, the description."""
    items = []
    for names, text in texts.items():
        kind, _, description = inspect.cleandoc(text).partition("\n")
        items += [f"{names} : {kind}", indent(description, "    ")] if description else [f"{names} : {kind}"]
    return "\n".join(items)


PARAMETERS = {
    "layers": """list of layer or "signals", default=None
        The network from input to output, of :mod:`skconvnet.layers`. The output layer is added, unless the
        last layer is `Output`, which says how to build it. A None in the list is left out.
        If the first layer with windows is one of signals, such as `Conv1D`, X has signals; see `input_shape`.
        None instead of a list stands for default layers: for vectors, ``Dense(100, activation="relu")``; for
        images, 3x3 convolutions of 32, 64, 64 ... filters with ReLU, each followed by 2x2 max pooling, at
        least two and until the image has at most 8x8 pixels, then ``Dense(128, activation="relu")``. The
        first convolution has a stride if the image has more than 64 pixels along an axis. "signals" stands
        for default layers for signals: convolutions of 32, 64, 64 ... filters with ReLU, each followed by max
        pooling of 2, until the signal has at most 16 values, then ``Dense(128, activation="relu")``.
        The fields of layers are parameters: ``layers__stem__filters`` for a layer named "stem", or
        ``layers__0__filters`` by position for a layer without a name.""",
    "input_shape": """tuple of int, default=None
        Shape of one image if X consists of rows: (height, width), (height, width, channels), or
        (channels, height, width) if channels come first; of one signal: (length,), (length, channels) or
        (channels, length). With None, rows are plain vectors or signals of one channel.""",
    "data_format": """{"channels_last", "channels_first"}, default="channels_last"
        Position of the channels in X.""",
    "optimizer": """str or optimizer, default="adam"
        "sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lion", "muon", or an object of
        :mod:`skconvnet.optimizers`, such as ``SGD(momentum=0.9)``, whose fields are parameters:
        ``optimizer__momentum``.""",
    "learning_rate": """float or schedule, default=0.001
        Size of the optimizer's steps: a float, or an object of :mod:`skconvnet.schedules`, such as
        ``CosineDecay(0.01, decay_steps=5000)``, whose fields are parameters:
        ``learning_rate__decay_steps``. A schedule counts all steps of the model, also those of earlier calls
        of `partial_fit`.""",
    "weight_decay": """float, default=0.0
        Strength of the decay of weights, but not of biases or the scales of normalisation:
        ``weight_decay * weight`` is added to the gradient, as if the loss had the penalty
        ``weight_decay / 2 * weight**2``; "adamw" and "lion" subtract
        ``learning_rate * weight_decay * weight`` from the weight instead.""",
    "clip_norm": """float, default=None
        Largest Euclidean norm of a mini-batch's gradient; a longer gradient is scaled down to it, before
        weight decay is added (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
        networks", ICML 2013).""",
    "average": """"ema" or None, default=None
        With "ema", the model has an exponential moving average of its weights and running statistics:
        prediction, validation, `early_stopping` and `save` use it, and training continues with the weights
        themselves. The average moves after every 50th of an epoch, and reaches back over about a tenth of all
        steps so far: after t steps, weights of step s count in proportion to ``s**9`` (Shamir and Zhang,
        "Stochastic gradient descent for non-smooth optimization", ICML 2013, section 4).""",
    "batch_size": """int or "auto", default="auto"
        Number of samples in a mini-batch; "auto" means ``min(64, n_samples)``.""",
    "max_iter": """int, default=50
        Number of epochs: how often each sample is used.""",
    "shuffle": """bool, default=True
        Whether to draw a new order of the samples for each epoch.""",
    "early_stopping": """bool, default=False
        Whether to stop when the validation loss, or the score of `scoring`, no longer improves, and to keep
        the weights of the best epoch. Without it, training takes exactly `max_iter` epochs.""",
    "validation_fraction": """float, default=0.1
        Fraction of the training data that `early_stopping` splits off for validation if `fit` is given no
        `X_val`. $split
        With `warm_start` and the same data, the same samples are split off again.""",
    "n_iter_no_change": """int, default=10
        Number of epochs in a row without improvement after which `early_stopping` ends the training.""",
    "tol": """float, default=1e-4
        Smallest difference to the best epoch so far that counts as an improvement.""",
    "scoring": """str, callable or None, default=None
        Score that `early_stopping` watches and that is recorded as `valid_score`: a scorer of scikit-learn.
        It is given the weights of the validation samples if they differ. With None, the validation loss is
        watched and $score is recorded.""",
    "warm_start": """bool, default=False
        Whether `fit` continues with the network and the optimizer's state of the last `fit`, for another
        `max_iter` epochs.""",
    "freeze": """list of str or int, default=None
        Layers whose weights are not trained: names, positions in `layers` (negative from the end), or
        "output". Weight decay and `clip_norm` ignore them, and they compute what they compute in prediction:
        `BatchNorm` normalises by its running moments; `Dropout` and other layers that act in training
        only, such as `Mixup`, do nothing. No gradient is computed below the lowest layer that is trained,
        which saves time.""",
    "init_from": """fitted estimator, default=None
        A `ConvNetClassifier` or `ConvNetRegressor` whose weights and running moments, also those of
        `Standardize`, are transferred to a new network. Layers match by key (their name, or else their
        position, as in ``network_.weights``) and must agree in shape. Unmatched layers are newly initialized;
        a warning is given if weights of the estimator are not used at the same time. The output layer is
        transferred only if its shape and the classes agree. Where the estimator is cloned, as in searches,
        wrap it in :class:`sklearn.frozen.FrozenEstimator`.""",
    "random_state": """int, RandomState instance or None, default=None
        Source of the initial weights and the order of the samples. On one computer, results of the same int
        are bitwise identical for any number of threads.""",
    "test_time_augmentation": """list of RandomFlip and RandomShift layers, default=None
        Prediction averages the network's outputs, before any softmax, over all variants of an image that
        these layers have: ``[RandomFlip(), RandomShift(1)]`` has 2 * 9 variants and takes 18 times as long.
        Nothing is random.""",
    "dtype": """{"auto", "float32", "float64"}, default="auto"
        Precision; with "auto", X of float64 is computed in float64, any other in float32.""",
    "n_threads": """int, default=None
        Number of OpenMP threads; None means ``SKCONVNET_NUM_THREADS`` if set, else ``OMP_NUM_THREADS`` if
        set, else one for each physical core that the process may use.""",
    "verbose": """int, default=0
        1 prints a table with one line per epoch; 2 also draws a progress bar on a terminal.""",
}

ATTRIBUTES = write_items(
    {
        "n_features_in_": """int
        Number of values in a row of X. Images and signals that are no rows have no features: fitted on them,
        the estimator has `input_shape_` only.""",
        "feature_names_in_": """ndarray of shape (n_features_in_,)
        Names of the columns of X, if X was a data frame.""",
        "input_shape_": """tuple of int
        Shape of one sample, in `data_format`.""",
        "network_": """Network
        The trained network; ``network_.summary()`` prints it, ``network_.weights`` maps
        ``"stem.weight"``, ``"0.bias"``, ``"output.weight"`` to arrays in PyTorch's layouts,
        ``network_.set_weights(mapping)`` sets them.""",
        "n_iter_": """int
        Number of epochs trained.""",
        "best_iter_": """int
        Epoch that the weights come from: with `early_stopping` the best one, else the last.""",
        "t_": """int
        Number of optimizer steps taken.""",
        "loss_": """float
        Training loss of the last epoch.""",
        "loss_curve_": """list of float
        Training loss of each epoch: the mean over its samples, each at the time of its step.""",
        "validation_loss_curve_, validation_scores_": """list of float or None
        Validation loss and score after each epoch, nan for epochs without validation; None if no epoch had
        a validation.""",
        "history_": """list of dict
        One dict per epoch: epoch, train_loss and train_score (of each sample at the time of its step),
        valid_loss and valid_score if there are validation samples, learning_rate (of the last step), duration
        of the training in seconds.
        $train_score""",
    }
)

# Of `partial_fit`, and of the methods that predict
PARTIAL_FIT = {
    "X": """array-like
        As for `fit`.""",
    "sample_weight": """array-like of shape (n,), default=None
        Weights in the loss; a weight of 0 leaves the sample out.""",
}
PREDICTION_ERRORS = """NotFittedError
    If `fit` has not been called.
TypeError
    If X is sparse, a masked array that masks something, or no array or list of all samples.
ValueError
    If X's samples have another shape than those of `fit`, X is not finite, or the outputs overflow."""
