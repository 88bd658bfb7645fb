"""Layers that change mini-batches in training, before any other layer sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._types import Array, Shape
from skconvnet._values import check_function, check_numbers
from skconvnet.layers.base import Layer


@dataclass(repr=False, eq=False)
class Mixup(Layer):
    """Train on mixtures of two samples, and do nothing in prediction.

    In training a sample becomes ``lam * x + (1 - lam) * x2`` with another sample x2 of its mini-batch, and
    its loss ``lam * loss(z, y) + (1 - lam) * loss(z, y2)``. For cross-entropy this is the loss of mixed
    targets [1]_; the formula holds for every loss. Only `Augment`, `Standardize` and `Rescaling` may come
    before it.

    Parameters
    ----------
    alpha : float, default=0.2
        Each mini-batch draws its lam from the distribution Beta(alpha, alpha). With alpha near 0, lam is
        mostly near 0 or 1, and little is mixed; with 1 it is uniform; above 1 it is mostly near 1/2.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If alpha is not a number from 1e-6 to 1e6.

    Notes
    -----
    The partner of a sample is at a fixed offset after it in the mini-batch; the partners of the last samples
    are at its start. Offset and lam are drawn from the estimator's `random_state`, and are the same for any
    number of threads and instruction set. A mini-batch of one sample is not mixed. Later layers that draw
    random numbers, such as `Dropout`, get the mixture; `Augment` changes the images before they are mixed.

    A sample's weight, and that of its class, belongs to its target: the loss of a mini-batch is the sum of
    ``lam * w * loss(z, y) + (1 - lam) * w2 * loss(z, y2)``, divided by the sum of weights. The score of the
    training data in the estimator's history counts the target y alone, and is lower than it would be
    without mixing.

    References
    ----------
    .. [1] Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.layers import Conv2D, Mixup, Standardize
    >>> X, y = load_digits(return_X_y=True)
    >>> layers = [Standardize(), Mixup(0.3), Conv2D(8, activation="relu")]
    >>> clf = ConvNetClassifier(layers, input_shape=(8, 8), max_iter=15, random_state=0)
    >>> clf.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.85
    True
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, alpha="[1e-6, 1e6]")

    def draw(self, sizes: Array, rng: np.random.RandomState) -> tuple[Array, Array]:
        """Draw how mini-batches are mixed.

        Parameters
        ----------
        sizes : ndarray of int of shape (n_batches,)
            Sizes of the mini-batches.
        rng : RandomState

        Returns
        -------
        lambdas : ndarray of float64 of shape (n_batches,)
            Fraction of the samples themselves in the mixtures; 1 in a mini-batch of one sample.
        partner_offsets : ndarray of intp of shape (n_batches,)
            From the position of a sample to that of its partner.
        """
        lambdas = np.where(sizes > 1, rng.beta(self.alpha, self.alpha, len(sizes)), 1.0)
        return lambdas, rng.randint(np.minimum(sizes - 1, 1), sizes, dtype=np.intp)

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return x


@dataclass(repr=False, eq=False)
class Augment(Layer):
    """Change the images of every mini-batch in training by a function, and do nothing in prediction.

    The function may change the targets as well, so that points move with the image that they are in. It must
    be the first layer; only another `Augment` may come before it. A later `Standardize` learns from the
    images as given.

    Parameters
    ----------
    function : callable (X, rng) -> X or callable (X, y, rng) -> (X, y)
        Gets the images of a mini-batch, of shape (n, height, width, channels), (n, channels, height,
        width) with ``data_format="channels_first"``, or (n, n_features) where samples are plain vectors,
        in the precision that the network computes in. The array is a copy that the function may change.
        rng is a RandomState drawn from the estimator's `random_state`. The returned array must have the
        same shape, and values that are finite. A function of three arguments also gets y of the mini-batch, a
        copy in the form that `fit` was given: labels, or values in their own units. It returns both, y of the
        same shape; in a matrix of values or of several labels, nan is a target that is missing.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    TypeError
        If function cannot be called with two or three arguments.
    ValueError
        If function is not callable; in training, if it returns another shape, values that are not finite, or
        a y that `fit` would not take.

    Notes
    -----
    Weights of samples and classes are those of the original y. The training loss and score compare with the
    changed one; validation data are not changed.

    An estimator whose function is defined at the top level of a module can be pickled; `save` refuses
    it, since its files contain no code.

    Examples
    --------
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.layers import Augment, Conv2D, Standardize
    >>> def flip(X, rng):
    ...     flipped = rng.random_sample(len(X)) < 0.5
    ...     X[flipped] = X[flipped, :, ::-1]
    ...     return X
    >>> X, y = np.random.default_rng(0).random((60, 8, 8, 3)), np.arange(60) % 2
    >>> layers = [Augment(flip), Standardize(), Conv2D(4, activation="relu")]
    >>> clf = ConvNetClassifier(layers, max_iter=2, random_state=0).fit(X, y)

    A point (x, y) moves with the image, which is 8 pixels wide:

    >>> from skconvnet import ConvNetRegressor
    >>> def flip_with_points(X, y, rng):
    ...     flipped = rng.random_sample(len(X)) < 0.5
    ...     X[flipped] = X[flipped, :, ::-1]
    ...     y[flipped, 0] = 7 - y[flipped, 0]
    ...     return X, y
    >>> points = np.random.default_rng(0).uniform(0, 7, (60, 2))
    >>> reg = ConvNetRegressor([Augment(flip_with_points), Conv2D(4)], max_iter=2).fit(X, points)
    """

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise ValueError(
                f"Augment: function must be a callable (X, rng) -> X or (X, y, rng) -> (X, y), got "
                f"{self.function!r}. It gets a mini-batch of images, of targets and a RandomState."
            )
        if not self.changes_targets:
            check_function("Augment", "function", self.function, "X, rng")

    @property
    def changes_targets(self) -> bool:
        """Whether the function takes (X, y, rng), not (X, rng)."""
        fits = []
        for arguments in ("X, rng", "X, y, rng"):
            try:
                check_function("Augment", "function", self.function, arguments)
                fits.append(arguments)
            except TypeError:
                pass
        return fits == ["X, y, rng"]

    def apply(self, X: Array, y: Array | None, rng: np.random.RandomState) -> tuple[Array, Array | None]:
        """Call the function and check what it returns.

        Parameters
        ----------
        X : ndarray
            Images of a mini-batch, which may be changed.
        y : ndarray or None
            Their targets, which may be changed, if the function takes them.
        rng : RandomState

        Returns
        -------
        X : ndarray of the shape and dtype of X
        y : ndarray of the shape of y, or None

        Raises
        ------
        ValueError
            If the function returns another shape, or values of X that are not real or not finite.
        """
        shape, dtype = X.shape, X.dtype
        if not self.changes_targets or y is None:
            return self._check_images(self.function(X, rng), shape, dtype), y
        expected = y.shape
        pair = self.function(X, y, rng)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"Augment: function must return a pair (X, y), but {self.function!r} did not.")
        X, y = self._check_images(pair[0], shape, dtype), np.asarray(pair[1])
        if y.shape != expected:
            raise ValueError(
                f"Augment: function must return y of the shape {expected} that it got, but {self.function!r} "
                f"returned y of shape {y.shape}."
            )
        return X, y

    def _check_images(self, images: ArrayLike, shape: Shape, dtype: DTypeLike) -> Array:
        """Return the images that the function returned, once they are finite and have the right shape."""
        returned = np.asarray(images)
        found = f"shape {returned.shape} and dtype {returned.dtype}"
        if returned.shape == shape and returned.dtype.kind in "biuf":
            with np.errstate(over="ignore"):
                X = returned.astype(dtype, copy=False)
            if np.isfinite(X).all():
                return X
            found = "values that are not finite"
        raise ValueError(
            f"Augment: function must return finite real values of the shape {shape} that it got, but "
            f"{self.function!r} returned {found}."
        )

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        return x
