"""The transformer: the activations of a hidden layer as features for other models."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skconvnet._base import BaseConvNet
from skconvnet._onnx.pipeline import OnnxMixin
from skconvnet._onnx.writer import ModelGraph, write_network
from skconvnet._sklearn_compat import TooltipMixin, validate_params
from skconvnet._stages import resolve_output
from skconvnet._transfer import unwrap_frozen
from skconvnet._types import Array
from skconvnet._warnings import warn
from skconvnet.layers.sequence import find_layers, name_layers

# Advice to a user who expects that a fitted estimator is used without training.
PREFIT = (
    "To use a fitted estimator without training it again, wrap it in sklearn.frozen.FrozenEstimator: "
    "ConvNetTransformer(FrozenEstimator(estimator)).fit(X)."
)


class ConvNetTransformer(
    TooltipMixin,
    OnnxMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Features from a hidden layer of a convolutional network.

    `fit` trains a network. `transform` returns the output of one of its layers, one row per sample, as
    features for any model of scikit-learn.

    Parameters
    ----------
    estimator : ConvNetClassifier or ConvNetRegressor
        The estimator that has the network. `fit` trains a clone of it. An estimator that is fitted already
        and wrapped in :class:`sklearn.frozen.FrozenEstimator` is used as it is, and y is not needed.
    layer : int or str, default=-1
        The layer: its name, its position in the estimator's `layers`, negative from the end, or
        "output". The default is the last layer before the output layer.

    Attributes
    ----------
    estimator_ : estimator
        The trained clone, or the frozen estimator.
    layer_ : str
        The layer's key, as in ``estimator_.network_.weights``.
    n_features_in_ : int
        Number of values in a row of X; not there if X had images or signals.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of X's columns, if X was a data frame.

    See Also
    --------
    sklearn.feature_selection.SelectFromModel : Selects features instead of making them.

    Notes
    -----
    A layer includes its activation: the features of ``Conv2D(8, activation="relu")`` are the values after
    its ReLU. An output of shape (channels, height, width) is flattened in this order of axes. A layer within
    `Parallel` or `Residual` cannot be selected. The output layer yields its values before softmax or sigmoid.

    References
    ----------
    Donahue, Jia, Vinyals, Hoffman, Zhang, Tzeng and Darrell, "DeCAF: a deep convolutional activation
    feature for generic visual recognition", ICML 2014.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skconvnet import ConvNetClassifier, ConvNetTransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = ConvNetClassifier(input_shape=(8, 8), max_iter=5, random_state=0)
    >>> model = make_pipeline(ConvNetTransformer(clf), LogisticRegression(max_iter=1000))
    >>> model.fit(X[:1000] / 16, y[:1000]).score(X[1000:] / 16, y[1000:]) > 0.9
    True
    """

    estimator_: Any
    layer_: str

    _parameter_constraints = {
        "estimator": "no_validation",  # fit reports what is wrong with it
        "layer": [Integral, str],
    }

    def __init__(self, estimator: BaseConvNet | FrozenEstimator, layer: int | str = -1) -> None:
        self.estimator = estimator
        self.layer = layer

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.target_tags = inner.target_tags
        tags.target_tags.required &= not isinstance(self.estimator, FrozenEstimator)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train a clone of the estimator, or use the frozen one as it is.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels), (n, height, width) or (n, n_features)
            As for the estimator's `fit`.
        y : array-like of shape (n,), (n, n_labels) or (n, n_outputs), default=None
            As for the estimator's `fit`.
        sample_weight : array-like of shape (n,), default=None
            Weights in the loss.
        X_val, y_val : array-like, default=None
            Samples to validate on after each epoch.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : ConvNetTransformer

        Raises
        ------
        TypeError
            As the estimator's `fit` does.
        ValueError
            If there is no such layer, if estimator is not one of skconvnet, if it is not frozen and y is
            None, or as its `fit` does.
        NotFittedError
            If a frozen estimator is not fitted.

        Warns
        -----
        UserWarning
            If estimator is fitted but not frozen, because its clone is trained from the start.
        """
        validate_params(self)
        inner = unwrap_frozen(self.estimator)
        if not isinstance(inner, BaseConvNet):
            raise ValueError(
                f"ConvNetTransformer: estimator must be a ConvNetClassifier or a ConvNetRegressor, frozen or "
                f"not, got {inner!r}."
            )
        if y is None and inner is self.estimator:
            raise ValueError(
                f"ConvNetTransformer requires y to be passed, but the target y is None: fit trains a clone "
                f"of the estimator. {PREFIT}"
            )
        if isinstance(inner.layers, (list, tuple)):  # check layer before the training
            find_layers(resolve_output(name_layers(inner.layers), 1), [self.layer], "layer")
        if inner is self.estimator and hasattr(inner, "network_"):
            warn(f"ConvNetTransformer trains a clone of the fitted estimator from the start. {PREFIT}")
        estimator = clone(self.estimator).fit(
            X,
            y,
            sample_weight,
            X_val=X_val,
            y_val=y_val,
            sample_weight_val=sample_weight_val,
        )
        self.layer_ = estimator.network_.find(self.layer).key
        self.estimator_ = estimator
        return self

    @property
    def n_features_in_(self) -> int:
        """Number of values in a row of X, if it had rows."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> Array:
        """Names of X's columns, if X was a data frame."""
        return self.estimator_.feature_names_in_

    def transform(self, X: ArrayLike) -> Array:
        """Return the layer's output for each sample.

        Parameters
        ----------
        X : array-like
            As for `fit`.

        Returns
        -------
        features : ndarray of shape (n, n_features_out)
            The features of a sample are bitwise identical in any batch.

        Raises
        ------
        NotFittedError
            If `fit` has not been called, whether estimator is fitted or not.
        TypeError
            If X is sparse, or a masked array that masks something.
        ValueError
            If X's samples have another shape than those of `fit`, X is not finite, or the layer's outputs
            overflow.
        """
        check_is_fitted(self, msg=f"This %(name)s is not fitted: call fit first. {PREFIT}")
        return unwrap_frozen(self.estimator_)._run_network(X, last=self.layer_)

    def _get_network(self) -> Any:
        check_is_fitted(self)
        return unwrap_frozen(self.estimator_)

    def _write_onnx(self, graph: ModelGraph, x: str) -> None:
        y = write_network(graph, self._get_network(), x, last=self.layer_)
        graph.add("Reshape", y, (-1, self._n_features_out), output="variable")
        graph.add_output("variable", np.float32, (self._n_features_out,))

    @property
    def _n_features_out(self) -> int:
        """Number of values in the layer's output for one sample."""
        return self.estimator_.network_.count_outputs(self.layer_)
