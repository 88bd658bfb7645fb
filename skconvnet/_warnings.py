"""Warnings that point at the user's line."""

import sys
import warnings


def warn(message: str, category: type[UserWarning] = UserWarning) -> None:
    """Warn, and show the innermost line outside this package as the origin, at any depth of calls.

    Parameters
    ----------
    message : str
    category : type, default=UserWarning

    Warns
    -----
    UserWarning
        Of this category.
    """
    frame, depth = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "skconvnet":
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
