"""A function of the user's as a layer."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array
from skconvnet._values import check_function
from skconvnet.layers.activation import Activation

# Where the derivative is compared with differences: no numbers at which functions usually have a kink.
POINTS = np.array([-4.31, -2.72, -1.37, -0.46, 0.29, 0.83, 1.62, 3.14, 5.23])
STEP = 1e-3


@dataclass(repr=False, eq=False)
class Function(Activation):
    """An elementwise function of your own; it may also be the `activation` of a layer.

    Parameters
    ----------
    function : callable (x) -> ndarray
        Gets an array of any shape, in the precision of the network, and returns the values of the function
        for each of its elements. The array is a copy.
    derivative : callable (x) -> ndarray
        Returns the derivative of the function at each element of x, likewise.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    TypeError
        If function or derivative cannot be called with one argument.
    ValueError
        If one of them is not callable, or derivative differs from central differences of function at some of
        nine numbers from -4.3 to 5.2; at numbers where function or derivative is not finite, they are not
        compared. In training and prediction, if one of them returns another shape, or no real numbers.

    Notes
    -----
    Other layers are compiled; this one calls Python for every block of up to 16 samples, one thread at a
    time. The array that the functions get has the shape (channels, height, width, samples), and only elements
    of the samples. An estimator whose functions are defined at the top level of a module can be pickled;
    `save` refuses it, since its files contain no code, and so does `skconvnet.to_onnx`.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.layers import Conv2D, Dense, Function
    >>> sine = Function(np.sin, np.cos)
    >>> clf = ConvNetClassifier([Conv2D(4, activation="relu"), sine, Dense(8, activation=sine)], max_iter=2)
    >>> X, y = np.random.default_rng(0).random((60, 8, 8)), np.arange(60) % 2
    >>> clf.fit(X, y).predict(X).shape
    (60,)
    """

    function: Callable[[Array], ArrayLike]
    derivative: Callable[[Array], ArrayLike]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("function", "derivative"):
            value: Any = getattr(self, name)
            if not callable(value):
                raise ValueError(f"Function: {name} must be a callable (x) -> ndarray, got {value!r}.")
            check_function("Function", name, value, "x")
        self._check_derivative()

    def _check_derivative(self) -> None:
        """Compare the derivative with central differences of the function."""
        with np.errstate(all="ignore"):
            above, below = (self._call("function", POINTS + step) for step in (STEP, -STEP))
            given = self._call("derivative", POINTS)
            slopes = (above - below) / (2 * STEP)
        compared = np.isfinite(slopes) & np.isfinite(given)
        if not compared.any():
            raise ValueError(
                f"Function: {self.function!r} and {self.derivative!r} have no finite values at any of "
                f"{POINTS.tolist()}, so the derivative cannot be compared with differences."
            )
        slopes, given, points = slopes[compared], given[compared], POINTS[compared]
        noise = 1e-7 * np.abs(above[compared]) / STEP  # of float32, which the function may compute in
        wrong = np.abs(slopes - given) > 5e-3 * np.abs(slopes) + 1e-4 * np.abs(slopes).max() + noise
        if wrong.any():
            k = int(wrong.argmax())
            raise ValueError(
                f"Function: derivative {self.derivative!r} is not that of function {self.function!r}: at "
                f"{points[k]} it is {given[k]:.6g}, but the central difference of the function is "
                f"{slopes[k]:.6g}."
            )

    def _call(self, name: Literal["function", "derivative"], x: Any) -> Array:
        """Return what one of the two callables returns for a copy of x, in x's precision, C-contiguous."""
        x = np.array(x)
        function = getattr(self, name)
        shape, dtype = x.shape, x.dtype
        returned = np.asarray(function(x))
        if returned.shape != shape or returned.dtype.kind not in "biuf":
            raise ValueError(
                f"Function: {name} must return real numbers of the shape {shape} that it got, but "
                f"{function!r} returned shape {returned.shape} and dtype {returned.dtype}."
            )
        with np.errstate(over="ignore"):
            return np.require(returned, dtype, ["C", "A", "W"])

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return plan.call_function(
            x, functools.partial(self._call, "function"), functools.partial(self._call, "derivative")
        )
