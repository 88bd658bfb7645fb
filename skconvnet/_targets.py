"""Labels and numbers as users have them: y as a plain array."""

from numbers import Number
from typing import Any

import numpy as np
from scipy.sparse import issparse

from skconvnet._advice import short_repr
from skconvnet._images import holds_all
from skconvnet._types import Array


def take_targets(y: Any, name: str = "y") -> Any:
    """Return labels or numbers of samples as an array, and refuse what scikit-learn's checks say less of.

    Parameters
    ----------
    y : array-like
    name : str, default="y"
        What messages call it.

    Returns
    -------
    y : ndarray of shape (n,) or (n, k), sparse matrix or None
        Objects that are numbers become numbers.

    Raises
    ------
    TypeError
        If y is no array or list of all samples, such as a generator or a single label.
    ValueError
        If y is a list of rows of different lengths, such as tuples of labels, an array of arrays or of more
        than two dimensions, or has missing values. Other checks see NaN in an array of numbers.
    """
    if y is None or issparse(y):
        return y
    try:
        array = np.asarray(y) if holds_all(y) else np.array(None)
    except ValueError:
        raise ValueError(
            f"{name} must have rows of one length. For several labels per sample, give a matrix of 0 and 1, "
            f"as sklearn.preprocessing.MultiLabelBinarizer().fit_transform({name}) returns it."
        ) from None
    if array.ndim == 0:
        raise TypeError(
            f"{name} must be an array or a list of labels or numbers, got {short_repr(y)} of type "
            f"{type(y).__name__}."
        )
    if array.ndim > 2:
        raise ValueError(
            f"{name} must have one label or number for each sample, or a row of them, got an array of shape "
            f"{array.shape}. Is it X?"
        )
    if array.dtype.kind == "O" and any(isinstance(label, np.ndarray) for label in array.flat):
        raise ValueError(f"{name} holds an array for each sample; give one array of all: np.stack({name}).")
    n_missing = _count_missing(y, array)
    if n_missing:
        raise ValueError(f"{name} has {n_missing} missing values; leave out samples without a label.")
    if array.dtype.kind == "O" and all(isinstance(label, (Number, np.bool_)) for label in array.flat):
        return np.array(array.tolist())
    return array


def check_kinds(y: Array) -> None:
    """Refuse labels in an array of objects that are not all text, or of types that scikit-learn says more of.

    Parameters
    ----------
    y : ndarray of objects

    Raises
    ------
    ValueError
        If labels have several types, or one that is neither text nor number, such as a date.
    """
    kinds = {str if isinstance(label, str) else type(label) for label in y.flat}
    if len(kinds) > 1 or not issubclass(kinds.pop(), (str, bytes, tuple, list, set)):
        names = " and ".join(sorted({type(label).__name__ for label in y.flat}))
        raise ValueError(
            f"y must have labels of one kind, all numbers or all text, got {names}. Give all samples labels "
            f"of one type."
        )


def _count_missing(y: Any, array: Array) -> int:
    """Return how many values pandas, a mask or an object calls missing: None, NaN, pandas.NA."""
    if hasattr(y, "isna"):
        return int(np.count_nonzero(y.isna()))
    if np.ma.isMaskedArray(y):
        return int(np.ma.count_masked(y))
    if array.dtype.kind != "O":
        return 0
    missing = ("NoneType", "NAType", "NaTType")
    return sum(
        type(label).__name__ in missing or (isinstance(label, Number) and label != label)
        for label in array.flat
    )
