"""Every import of a private scikit-learn name, in one place."""

from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "Interval",
    "StrOptions",
    "check_first_call",
    "check_matplotlib_support",
    "check_sample_weight",
    "validate_params",
]


def validate_params(estimator):
    """Hold an estimator's parameters against its `_parameter_constraints`."""
    estimator._validate_params()


def check_first_call(estimator, classes):
    """Whether this is the first `partial_fit`; sets `classes_` if so."""
    return _check_partial_fit_first_call(estimator, classes)


def check_sample_weight(sample_weight, X):
    """Give float64 weights, finite and not negative, one for each sample, not all zero."""
    weight = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight
