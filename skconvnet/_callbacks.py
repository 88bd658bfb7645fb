"""scikit-learn's callbacks during a fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skconvnet._sklearn_compat import has_callbacks, manage_callbacks
from skconvnet._training import pass_epoch


@contextmanager
def notify_callbacks(
    estimator: Any, given: Any, describe: Callable[[], dict[str, Any]]
) -> Iterator[Callable[[], Callable[[], bool]]]:
    """Notify an estimator's callbacks when a fit begins and ends; yield the epoch hook for `train`.

    Parameters
    ----------
    estimator : estimator
        It may have callbacks or not.
    given : tuple or None
        X, y and sample_weight as `fit` got them; None if no callback is to be notified.
    describe : callable () -> dict
        Returns the fitted attributes after the present epoch.

    Yields
    ------
    begin_epoch : callable () -> callable () -> bool
        Begins an epoch; the function that it returns ends the epoch and returns whether a callback asks to
        stop.
    """
    if given is None or not has_callbacks(estimator):
        yield pass_epoch
        return
    X, y, sample_weight = given
    metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
    arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
    with manage_callbacks(estimator):
        fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        fit.call_on_fit_task_begin(**arguments)

        def begin_epoch() -> Callable[[], bool]:
            epoch = fit.subcontext("epoch")
            epoch.call_on_fit_task_begin(**arguments)
            # describe copies the network, and runs only if a callback asks for the fitted estimator
            return lambda: epoch.call_on_fit_task_end(**arguments, reconstruction_attributes=describe)

        yield begin_epoch
        fit.call_on_fit_task_end(**arguments, reconstruction_attributes={})
