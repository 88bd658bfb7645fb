"""Fits that failed: models that are worse than a constant prediction."""

from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skconvnet import kernels
from skconvnet._advice import short_repr
from skconvnet._training import TrainingData
from skconvnet._warnings import warn


def warn_of_failure(estimator: Any, data: TrainingData, on_samples: bool) -> None:
    """Warn if a constant prediction is better than the model on the samples that it was trained on.

    The last epoch's loss and score are those of training, in which layers such as Dropout disturb the
    network. So they only raise the suspicion, and the samples decide, if this process has them.

    Parameters
    ----------
    estimator : estimator
        A fitted one.
    data : TrainingData
        What it was trained on.
    on_samples : bool
        Whether this process has the samples.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
    """
    if not estimator.history_:
        return
    last = estimator.history_[-1]
    failure = estimator._describe_failure(data, last["train_loss"], last["train_score"])
    if failure and on_samples:
        rows, n_threads = np.arange(len(data.weight)), kernels.count_threads(estimator.n_threads)
        record = estimator._trainer.prepare_validation(data, rows, n_threads)()
        failure = estimator._describe_failure(data, record["valid_loss"], record["valid_score"])
    if failure:
        warn(
            f"The model is worse than a constant: {failure}. Scale X to about [-1, 1], choose another "
            f"learning_rate (it is {short_repr(estimator.learning_rate)}), or train for more epochs "
            f"(max_iter is {estimator.max_iter}).",
            ConvergenceWarning,
        )


def compare_losses(loss: float, constant: float, prediction: str) -> str:
    """Say that the loss of a constant prediction is lower than that of the model, if it is.

    Parameters
    ----------
    loss, constant : float
        The loss of the model, and of the constant prediction.
    prediction : str
        What the constant prediction is, such as "the mean".

    Returns
    -------
    failure : str
        Empty if the model is better, or if the constant prediction is always right.
    """
    if loss <= constant or constant == 0:
        return ""
    return (
        f"its loss on the training samples is {loss:.4g}, and always predicting {prediction} would have a "
        f"loss of {constant:.4g}"
    )
