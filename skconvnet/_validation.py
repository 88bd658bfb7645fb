"""Validation after each epoch: the choice of the samples and of the scorer."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from types import FunctionType
from typing import Any

import numpy as np

from skconvnet._advice import hint
from skconvnet._training import Trainer, TrainingData
from skconvnet._types import Array, Record
from skconvnet._values import check_function


@dataclass(frozen=True)
class Validation:
    """The samples that a network is validated on: indices of rows of data, and the y of these rows."""

    data: TrainingData
    rows: Array
    y: Array


def split_off(data: TrainingData, y: Array, fraction: float, stratified: bool, seed: int) -> Array:
    """Choose samples to validate on; the same seed yields the same samples.

    Parameters
    ----------
    data : TrainingData
        Samples of weight 0 are not chosen.
    y : ndarray of shape (n,) or (n, n_outputs)
    fraction : float
        Of the samples to choose.
    stratified : bool
        Whether each class has the same fraction, where y holds classes.
    seed : int

    Returns
    -------
    rows : ndarray of intp of shape (k,)

    Raises
    ------
    ValueError
        If the samples cannot be split in this way.
    """
    from sklearn.model_selection import train_test_split  # late: importing it takes longer than this package

    used = np.flatnonzero(data.weight > 0)
    stratify = y[used] if stratified and y.ndim == 1 else None
    try:
        _, rows = train_test_split(used, test_size=fraction, stratify=stratify, random_state=seed)
    except ValueError as error:
        raise ValueError(
            f"early_stopping could not split off validation_fraction={fraction} of the "
            f"{len(used)} samples: {str(error).rstrip('.')}. Give X_val and y_val, more samples, "
            f"or another fraction."
        ) from None
    return rows


def prepare_scoring(
    estimator: Any, trainer: Trainer, validation: Validation, n_threads: int
) -> Callable[[], Record]:
    """Prepare the evaluation after each epoch, with the estimator's `scoring` if there is any.

    Parameters
    ----------
    estimator : estimator
        With all fitted attributes that prediction needs; its network is still being trained.
    trainer : Trainer
    validation : Validation
    n_threads : int

    Returns
    -------
    evaluate : callable () -> dict
        Returns valid_loss and valid_score.

    Raises
    ------
    ValueError
        If there is no such scorer or, when evaluate is called, if it returns no number.
    """
    evaluate = trainer.prepare_validation(validation.data, validation.rows, n_threads)
    if estimator.scoring is None:
        return evaluate
    scorer, model = find_scorer(estimator), copy.copy(estimator)
    model.__dict__.pop("feature_names_in_", None)  # the scorer gets plain arrays
    X, weight = validation.data.X[validation.rows], validation.data.weight[validation.rows]
    weights = {"sample_weight": weight} if np.ptp(weight) else {}  # not every scorer accepts weights
    X = validation.data.layout.restore(X)

    def score() -> Record:
        value = scorer(model, X, validation.y, **weights)
        if not isinstance(value, Real):
            raise ValueError(f"scoring must return a number, got {value!r} from {estimator.scoring!r}.")
        return {**evaluate(), "valid_score": float(value)}

    return score


def find_scorer(estimator: Any) -> Callable[..., Any]:
    """Return the scorer that an estimator's `scoring` names, or `scoring` itself if it is a scorer.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    scorer : callable (estimator, X, y) -> float

    Raises
    ------
    TypeError
        If scoring is a function that takes other arguments.
    ValueError
        If there is no scorer of this name.
    """
    from sklearn.metrics import check_scoring, get_scorer_names  # late: importing them takes long

    scoring, owner = estimator.scoring, type(estimator).__name__
    if isinstance(scoring, str) and scoring not in (names := get_scorer_names()):
        raise ValueError(
            f"{owner}: there is no scoring {scoring!r}.{hint(scoring, names)} "
            f"sklearn.metrics.get_scorer_names() lists all."
        )
    if isinstance(scoring, FunctionType):
        remedy = " For a metric(y_true, y_pred), use sklearn.metrics.make_scorer."
        check_function(owner, "scoring", scoring, "estimator, X, y", remedy)
    return check_scoring(estimator, scoring)
