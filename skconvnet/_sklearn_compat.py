"""All imports of private scikit-learn names, in one module."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    validate_parameter_constraints,
)
from sklearn.utils._param_validation import StrOptions as UnsortedStrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import _check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context as manage_callbacks
except ImportError:  # before scikit-learn 1.9
    from contextlib import nullcontext as manage_callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Replacement for a scikit-learn without callbacks; none can be set."""


__all__ = [
    "ATTACHED",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "NotebookMixin",
    "StrOptions",
    "TooltipMixin",
    "check_first_call",
    "check_matplotlib_support",
    "check_sample_weight",
    "has_callbacks",
    "manage_callbacks",
    "validate_params",
]

# Attributes that callbacks and `set_fit_request` attach to an estimator: neither parameters nor fitted ones.
ATTACHED = (
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
    "_metadata_request",
)


class StrOptions(UnsortedStrOptions):
    """The strings that a parameter may be; an error lists them in alphabetical order."""

    def __str__(self) -> str:
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


def has_callbacks(estimator: Any) -> bool:
    """Whether callbacks are set, by `set_callbacks` or by a meta-estimator that fits this one."""
    return bool(getattr(estimator, "_skl_callbacks", ()))


def validate_params(estimator: Any, advise: Callable[[str, Any], str] = lambda name, value: "") -> None:
    """Check an estimator's parameters against its `_parameter_constraints`; add advice to the error."""
    owner, constraints = type(estimator).__name__, estimator._parameter_constraints
    for name, value in estimator.get_params(deep=False).items():
        if name in constraints:
            try:
                validate_parameter_constraints({name: constraints[name]}, {name: value}, owner)
            except InvalidParameterError as error:
                raise InvalidParameterError(f"{error} {advise(name, value)}".rstrip()) from None


def check_first_call(estimator: Any, classes: Any) -> bool:
    """Whether this is the first `partial_fit`; sets `classes_` if so."""
    return _check_partial_fit_first_call(estimator, classes)


def check_sample_weight(sample_weight: Any, X: Any) -> NDArray[np.float64]:
    """Return the weights as float64: one per sample, finite, not negative, and not all zero."""
    if isinstance(sample_weight, str):
        raise ValueError(
            f"sample_weight must be numbers, one for each sample, got {sample_weight!r}. To weight classes, "
            f'set class_weight="balanced" in the classifier.'
        )
    weight = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


class TooltipMixin:
    """Adds tooltips from the docstring to an estimator's parameters and fitted attributes in notebooks.

    scikit-learn shows tables of parameters from version 1.7, by private methods. Earlier versions do not call
    the methods below, and notebooks show the repr.
    """

    def _get_params_html(self, deep: bool = True, *args: Any, **kwargs: Any) -> Any:
        """Return the table of parameters."""
        return link(super()._get_params_html(deep))  # type: ignore[misc]

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        """Return the table of fitted attributes."""
        return link(super()._get_fitted_attr_html())  # type: ignore[misc]


class NotebookMixin(TooltipMixin):
    """Shows a table of an estimator's layers after its parameters in notebooks.

    An estimator returns the table from `_write_layers`.
    """

    _write_layers: Callable[[], str]

    def _get_params_html(self, deep: bool = True, *args: Any, **kwargs: Any) -> Any:
        """Return the table of the estimator's own parameters; the table of layers has the layers' fields."""
        table = super()._get_params_html(False)
        before = table._html_repr
        table._html_repr = lambda: before() + self._write_layers()
        return table


def link(table: Any) -> Any:
    """Return a table with a link, without which it has no tooltips; this link stays on the page."""
    table.doc_link = "#"
    return table
