"""Every import of a private scikit-learn name, in one place."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
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
        """Stands in where scikit-learn has no callbacks, so that none can be set."""


__all__ = [
    "ATTACHED",
    "CallbackSupportMixin",
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

# What callbacks and `set_fit_request` attach to an estimator: neither parameters nor learnt.
ATTACHED = (
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
    "_metadata_request",
)


class StrOptions(UnsortedStrOptions):
    """Words that a parameter may be, which an error lists in their order."""

    def __str__(self) -> str:
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


def has_callbacks(estimator: Any) -> bool:
    """Whether callbacks are set, by `set_callbacks` or by what the estimator is fitted in."""
    return bool(getattr(estimator, "_skl_callbacks", ()))


def validate_params(estimator: Any, advise: Callable[[str, Any], str] = lambda name, value: "") -> None:
    """Hold an estimator's parameters against its `_parameter_constraints`, and advise on a wrong one."""
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
    """Give float64 weights, finite and not negative, one for each sample, not all zero."""
    if isinstance(sample_weight, str):
        raise ValueError(
            f"sample_weight must be numbers, one for each sample, got {sample_weight!r}. To weigh classes, "
            f'set class_weight="balanced" of the classifier.'
        )
    weight = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


class TooltipMixin:
    """Gives an estimator's parameters and fitted attributes tooltips in notebooks, from its docstring.

    scikit-learn has tables of parameters from 1.7, where what they are shown by is private; before, nothing
    calls the methods below and notebooks show the repr.
    """

    def _get_params_html(self, deep: bool = True, *args: Any, **kwargs: Any) -> Any:
        """The parameters."""
        return link(super()._get_params_html(deep))  # type: ignore[misc]

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        """The fitted attributes."""
        return link(super()._get_fitted_attr_html())  # type: ignore[misc]


class NotebookMixin(TooltipMixin):
    """Puts a table of an estimator's layers behind its parameters in notebooks.

    An estimator gives the table by `_write_layers`.
    """

    _write_layers: Callable[[], str]

    def _get_params_html(self, deep: bool = True, *args: Any, **kwargs: Any) -> Any:
        """The estimator's own parameters; their layers' fields are in the table of layers."""
        table = super()._get_params_html(False)
        before = table._html_repr
        table._html_repr = lambda: before() + self._write_layers()
        return table


def link(table: Any) -> Any:
    """Give a table a link, without which it has no tooltips; this one stays on the page."""
    table.doc_link = "#"
    return table
