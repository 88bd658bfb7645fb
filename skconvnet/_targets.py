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
        If y is no array or list of all samples, such as a generator or a single label, or labels are bytes.
    ValueError
        If y is a list of rows of different lengths, such as tuples of labels, an array of arrays or of more
        than two dimensions, or has missing values, except in a matrix of numbers. Other checks see NaN in an
        array of numbers.
    """
    if y is None or issparse(y):
        return y
    if _is_numeric_frame(y):
        y = y.to_numpy(float, na_value=np.nan) if y.isna().any(axis=None) else y
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
    if array.dtype.kind in "SO" and array.size and all(isinstance(label, bytes) for label in array.flat):
        raise TypeError(f"{name} has labels of type bytes. Give text: [label.decode() for label in {name}].")
    if array.dtype.kind == "O" and all(isinstance(label, (Number, np.bool_)) for label in array.flat):
        return np.array(array.tolist())
    return array


def hide_missing(y: Any) -> tuple[Any, Array | None]:
    """Replace missing values of a matrix, which scikit-learn's checks refuse, by 0.

    Parameters
    ----------
    y : ndarray, sparse matrix or None

    Returns
    -------
    y : ndarray, sparse matrix or None
        Unchanged if nothing is missing.
    missing : ndarray of bool of the shape of y, or None
        Where values are nan.
    """
    if not isinstance(y, np.ndarray) or y.ndim != 2 or y.dtype.kind != "f":
        return y, None
    missing = np.isnan(y)
    return (np.where(missing, 0, y), missing) if missing.any() else (y, None)


def restore_missing(y: Any, missing: Array | None) -> Any:
    """Put nan where `hide_missing` has found missing values.

    Parameters
    ----------
    y : ndarray, sparse matrix or None
    missing : ndarray of bool of the shape of y, or None

    Returns
    -------
    y : ndarray, sparse matrix or None
    """
    return y if missing is None else np.where(missing, np.nan, y)


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


def _is_numeric_frame(y: Any) -> bool:
    """Whether y is a data frame of several columns, all of them numbers."""
    frame = hasattr(y, "isna") and y.ndim == 2 and y.shape[1] > 1
    return frame and all(getattr(dtype, "kind", "") in "biuf" for dtype in y.dtypes)


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
