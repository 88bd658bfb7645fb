"""Saliency maps of a prediction, and the most confident mistakes."""

from numbers import Integral
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skconvnet._base import BaseConvNet
from skconvnet._network import Network
from skconvnet._sklearn_compat import check_matplotlib_support
from skconvnet._types import Array
from skconvnet.layers.sequence import name_layers
from skconvnet.plotting.base import Display, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = "gradient", "grad_cam"


class SaliencyDisplay(Display):
    """Saliency: the pixels of an image that the score of a class depends on, as a heat map over the image.

    Parameters
    ----------
    image : ndarray of shape (channels, height, width)
    saliency : ndarray of shape (rows, columns)
        At least 0; it is stretched over the image.
    target : object, default=None
        The class, for the title.
    method : str, default="gradient"
        How saliency was computed, for the label of the colour bar.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    image_ : AxesImage
    heat_ : AxesImage
    colorbar_ : Colorbar

    References
    ----------
    Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks: visualising image classification
    models and saliency maps", ICLR workshop 2014, section 3.1.

    Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, "Grad-CAM: visual explanations from deep networks
    via gradient-based localization", ICCV 2017, equations 1 and 2.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.plotting import SaliencyDisplay
    >>> X, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    >>> clf = ConvNetClassifier(max_iter=2, random_state=0).fit(X, y)
    >>> display = SaliencyDisplay.from_estimator(clf, X[0])
    >>> plt.close("all")
    """

    def __init__(
        self, image: Array, saliency: Array, *, target: object = None, method: str = "gradient"
    ) -> None:
        self.image = image
        self.saliency = saliency
        self.target = target
        self.method = method

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseConvNet,
        image: ArrayLike,
        layer: int | str | None = None,
        *,
        method: str = "gradient",
        target: object = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Draw the pixels that the score of a class depends on.

        The score is the output for the class before softmax or sigmoid. If two classes share one output, that
        output is the score of the second class, and its negative is the score of the first.

        Parameters
        ----------
        estimator : ConvNetClassifier
            Fitted on images.
        image : array-like
            One sample of X, such as ``X[0]``.
        layer : int or str, default=None
            For "grad_cam", position or search key of a layer whose output is an image; None selects the last
            one of more than one pixel.
        method : {"gradient", "grad_cam"}, default="gradient"
            "gradient": the absolute gradient of the score with respect to each pixel, and the largest of it
            over the channels. "grad_cam": a weighted sum of the maps of a hidden layer, set to 0 where it is
            negative; the weight of a map is the mean of the score's gradient with respect to it.
        target : label, default=None
            One of `classes_`; None selects the one with the highest score.
        ax : Axes, default=None
            None makes a figure.

        Returns
        -------
        display : SaliencyDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If estimator is not one of this package.
        NotFittedError
            If it is not fitted.
        ValueError
            If estimator is no classifier of images, the image differs in shape from those of X, or there is
            no such method, class or layer.
        """
        cls._check(estimator, classes=True)
        owner = f"{cls.__name__}.from_estimator"
        if method not in METHODS:
            raise ValueError(f"{owner}: method must be one of {', '.join(METHODS)}, got {method!r}.")
        if method == "gradient" and layer is not None:
            raise ValueError(f'{owner}: layer={layer!r} needs method="grad_cam"; "gradient" uses no layer.')
        images = cls._check_image(estimator, image)
        network, classes = estimator.network_, estimator.classes_
        # if two classes share one output, it is the score of the second
        signs = np.array([[-1], [1]]) if network.output_shape == (1,) else np.eye(len(classes))
        if target is None:
            index = int((signs @ network.forward(images)[0]).argmax())
        elif target in classes.tolist():
            index = classes.tolist().index(target)
        else:
            raise ValueError(f"{owner}: target must be one of classes_, {classes.tolist()}, got {target!r}.")
        dy = signs[[index]].astype(network.dtype)
        if method == "gradient":
            saliency = np.abs(differentiate(network, images, dy)[0]).max(axis=0)
        else:
            usable = [
                s
                for s in reversed(network.stages)
                if len(s.output_shape) == 3 and s.output_shape[1:] != (1, 1)
            ]
            stage = cls._choose(estimator, layer, usable)
            maps = network.forward(images, last=stage.key).reshape(1, *stage.output_shape)
            dmaps = differentiate(network, maps, dy, after=stage.key)
            saliency = np.maximum(np.tensordot(dmaps[0].mean(axis=(1, 2)), maps[0], 1), 0)
        return cls(images[0], saliency, target=classes.tolist()[index], method=method).plot(ax=ax)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the image and the heat map over it.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.

        Returns
        -------
        display : SaliencyDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ax is more than one axes.
        """
        ax = self._take_axes(ax, figsize=(4.4, 3.8))
        height, width = np.shape(self.image)[1:]
        low, high = (height - 0.5, -0.5) if height > 1 else (np.min(self.image), np.max(self.image))
        extent = (-0.5, width - 0.5, low, high)
        self.image_ = show_image(ax, self.image, extent=extent)
        alpha = 0.8 * self.saliency / (np.max(self.saliency) or 1)  # low saliency leaves the image visible
        self.heat_ = ax.imshow(
            self.saliency,
            cmap="inferno",
            vmin=0,
            alpha=alpha,
            interpolation="bilinear",
            extent=extent,
            aspect="equal" if height > 1 else "auto",
        )
        words = {"gradient": "absolute gradient", "grad_cam": "Grad-CAM"}
        label = words.get(self.method, self.method)
        self.colorbar_ = self.figure_.colorbar(self.heat_, ax=ax, label=label)
        title = "Saliency" if self.target is None else f"Saliency for class {self.target}"
        ax.set_title(title, parse_math=False)
        return self


class MistakesDisplay(Display):
    """The mistakes that a classifier is most confident in.

    Parameters
    ----------
    images : ndarray of shape (n, channels, height, width)
        The most confident mistake first.
    y_true : ndarray of shape (n,)
    y_pred : ndarray of shape (n,)
    probabilities : ndarray of shape (n,)
        Probabilities of the predicted labels.
    rows : ndarray of int of shape (n,)
        Indices of the images in X.
    n_mistakes : int
        Number of mistakes in all.
    n_samples : int
        Number of samples in all.

    Attributes
    ----------
    ax_ : Axes
        The whole plot.
    axes_ : ndarray of Axes of shape (n,)
        One axes per image.
    figure_ : Figure
    images_ : list of AxesImage

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.plotting import MistakesDisplay
    >>> X, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    >>> clf = ConvNetClassifier(max_iter=2, random_state=0).fit(X, y)
    >>> display = MistakesDisplay.from_estimator(clf, X, y)
    >>> plt.close("all")
    """

    def __init__(
        self,
        images: Array,
        y_true: Array,
        y_pred: Array,
        probabilities: Array,
        rows: Array,
        *,
        n_mistakes: int,
        n_samples: int,
    ) -> None:
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.probabilities = probabilities
        self.rows = rows
        self.n_mistakes = n_mistakes
        self.n_samples = n_samples

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseConvNet,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n: int = 16,
        ax: "Axes | None" = None,
    ) -> Self:
        """Draw the most confident mistakes of a classifier.

        Parameters
        ----------
        estimator : ConvNetClassifier
            Fitted on images, with a loss that yields probabilities.
        X : array-like
            Images, as for `fit`.
        y : array-like of shape (n_samples,)
            Their labels.
        n : int, default=16
            Largest number of images to draw.
        ax : Axes, default=None
            None makes a figure.

        Returns
        -------
        display : MistakesDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If estimator is not one of this package.
        NotFittedError
            If it is not fitted.
        ValueError
            If estimator is no classifier of images that predicts one label per sample and probabilities, if X
            or y does not match what it was fitted on, if y has none of its classes, or if n is below 1.
        """
        cls._check(estimator, classes=True)
        cls._require_pixels(estimator)
        owner = f"{cls.__name__}.from_estimator"
        if estimator._y_shape or not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"{owner} needs a classifier that predicts one label per sample and probabilities."
            )
        check_number(owner, n)
        images, y = estimator._check_images(X, y=y)
        images = np.moveaxis(images, 1, -1)
        return cls.from_predictions(
            images, y, estimator.predict_proba(X), classes=estimator.classes_, n=n, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        y_true: ArrayLike,
        probabilities: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n: int = 16,
        ax: "Axes | None" = None,
    ) -> Self:
        """Draw the most confident mistakes among predictions of any model.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (n_samples, height, width, channels)
            Images.
        y_true : array-like of shape (n_samples,)
            Their labels.
        probabilities : array-like of shape (n_samples, n_classes)
            As `predict_proba` returns them.
        classes : array-like of shape (n_classes,), default=None
            Label of each column of probabilities, as in `classes_`; None means the sorted labels of y_true.
        n : int, default=16
            Largest number of images to draw.
        ax : Axes, default=None
            None makes a figure.

        Returns
        -------
        display : MistakesDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the arrays do not match in length or number of classes, X does not have 3 or 4 dimensions, no
            label is one of the classes, or n is below 1.
        """
        owner = f"{cls.__name__}.from_predictions"
        check_matplotlib_support(owner)
        check_number(owner, n)
        images, labels = np.asarray(X), column_or_1d(y_true)
        if np.ndim(probabilities) == 1:
            raise ValueError(
                f"{owner}: probabilities must have shape (n_samples, n_classes), as predict_proba returns "
                f"them, got {np.shape(probabilities)}."
            )
        p = check_array(probabilities)
        if images.ndim not in (3, 4):
            raise ValueError(
                f"{owner}: X must have shape (n_samples, height, width) or (n_samples, height, width, "
                f"channels), got {images.shape}."
            )
        check_consistent_length(images, labels, p)
        known = np.unique(labels) if classes is None else column_or_1d(classes)
        if len(known) != p.shape[1]:
            raise ValueError(
                f"{owner}: probabilities have {p.shape[1]} columns, but there are {len(known)} classes, "
                f"{known.tolist()}. Pass the label of each column as classes."
            )
        if set(known.tolist()).isdisjoint(labels.tolist()):
            raise ValueError(
                f"{owner}: no label in y is one of the classes, {known.tolist()}; the first label is "
                f"{labels.tolist()[0]!r}. Give labels as in fit."
            )
        y_pred, confidence = known[p.argmax(axis=1)], p.max(axis=1)
        wrong = np.flatnonzero(y_pred != labels)
        rows = wrong[np.argsort(-confidence[wrong], kind="stable")][:n]
        shown = images[rows]
        display = cls(
            shown[:, None] if images.ndim == 3 else np.moveaxis(shown, -1, 1),
            labels[rows],
            y_pred[rows],
            confidence[rows],
            rows,
            n_mistakes=len(wrong),
            n_samples=len(labels),
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the images, each with its label, the predicted label and the predicted probability.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.

        Returns
        -------
        display : MistakesDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ax is more than one axes.
        """
        n = len(self.images)
        n_columns = max(1, int(np.ceil(np.sqrt(n))))
        n_rows = max(1, -(-n // n_columns))
        size = max(4.2, 1.5 * n_columns), max(1.2, 1.75 * n_rows + 0.4)
        ax = self._take_axes(ax, figsize=size)
        ax.set_axis_off()
        ax.set_title(f"{self.n_mistakes} of {self.n_samples} wrong")
        self.images_, axes = [], []
        for k in range(n):
            row, column = divmod(k, n_columns)
            # leave space for two lines of text above each image
            bounds = (column / n_columns, 1 - (row + 1) / n_rows, 0.9 / n_columns, 0.7 / n_rows)
            panel = ax.inset_axes(bounds)
            axes.append(panel)
            self.images_.append(show_image(panel, self.images[k]))
            panel.set(xticks=[], yticks=[])
            title = f"true {self.y_true[k]}\npredicted {self.y_pred[k]} ({self.probabilities[k]:.0%})"
            panel.set_title(title, fontsize="small", parse_math=False)
        self.axes_ = np.array(axes, dtype=object)
        return self


def differentiate(network: Network, X: Array, dy: Array, after: str | None = None) -> Array:
    """Backpropagate a gradient with respect to the outputs through a network in prediction mode.

    Parameters
    ----------
    network : Network
    X : ndarray of shape (n, channels, height, width) or (n, features)
        Input of the first of the layers that are differentiated.
    dy : ndarray of the shape of the outputs
        In the network's dtype.
    after : str, default=None
        Search key of a layer; only the layers after it are differentiated. None for all layers.

    Returns
    -------
    dx : ndarray of the shape of X
    """
    keys = [stage.key for stage in network.stages]
    first = 0 if after is None else keys.index(after) + 1
    layers = [None if key in keys[:first] else layer for key, layer in name_layers(network.layers)]
    # a frozen layer does the same in training as in prediction
    shape, freeze = network.stages[first].input_shape, keys[first:]
    rest = Network(layers, shape, network.n_outputs, network.dtype, freeze)
    weights = network.weights
    rest.set_weights({key: weights[key] for key in rest.weights})
    return rest.backward(X, dy)[0]


def check_number(owner: str, n: int) -> None:
    """Check a number of images to draw.

    Parameters
    ----------
    owner : str
        The function that takes n, for the error.
    n : int

    Raises
    ------
    ValueError
        If it is below 1 or no int.
    """
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"{owner}: n must be an int of at least 1, got {n!r}.")
