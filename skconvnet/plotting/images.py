"""Filters of a convolution, and the feature maps of a layer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from skconvnet._advice import suggest
from skconvnet._base import BaseConvNet
from skconvnet._stages import Stage
from skconvnet._types import Array, Shape
from skconvnet.layers import Conv1D, Conv2D
from skconvnet.plotting.base import Display, Panels, draw_signals, number_tiles, show_image, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class FiltersDisplay(Display):
    """The kernels of a convolution.

    Kernels of three channels are shown as colour images, in which grey is 0. Kernels of one channel are
    shown side by side. Other kernels are shown with a row for each filter and a column for each channel. In
    the last two cases red is above 0, blue is below 0, and the strongest colour is the largest absolute
    weight of all. Kernels of signals are shown as stems.

    Parameters
    ----------
    weight : ndarray of shape (filters, channels, kernel height, kernel width)
        For signals, of shape (filters, channels, kernel size).
    layer : str, default=None
        The layer's search key, for the title.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    image_ : AxesImage or LineCollection
        All kernels in one image, with NaN between them; the stems of kernels of signals.
    colorbar_ : Colorbar or None
        None for kernels in colour and those of signals.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.plotting import FiltersDisplay
    >>> X, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    >>> clf = ConvNetClassifier(max_iter=2, random_state=0).fit(X, y)
    >>> display = FiltersDisplay.from_estimator(clf)
    >>> plt.close("all")
    """

    def __init__(self, weight: Array, *, layer: str | None = None) -> None:
        self.weight = weight
        self.layer = layer

    @classmethod
    def from_estimator(
        cls, estimator: BaseConvNet, layer: int | str | None = None, *, ax: "Axes | None" = None
    ) -> Self:
        """Draw the filters of an estimator.

        Parameters
        ----------
        estimator : ConvNetClassifier or ConvNetRegressor
            Fitted.
        layer : int or str, default=None
            Position or search key of a `Conv2D` or `Conv1D`; "block.0" is layer 0 within the residual
            connection "block". None selects the first one.
        ax : Axes, default=None
            None makes a figure.

        Returns
        -------
        display : FiltersDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If estimator is not one of this package.
        NotFittedError
            If it is not fitted.
        ValueError
            If there is no such layer, or it has no filters.
        """
        cls._check(estimator)
        owner, network = f"{cls.__name__}.from_estimator", estimator.network_
        kernels = {key: network.weights[f"{key}.weight"] for key in list_convolutions(network.stages)}
        if not kernels:
            raise ValueError(f"{owner}: the network has no convolution, so it has no filters to show.")
        if layer is None:
            key = next(iter(kernels))
        elif layer in kernels:
            key = layer
        else:
            key = network.find(layer).key
        if key not in kernels:
            raise ValueError(f"{owner}: layer {layer!r} has no filters. {suggest(layer, kernels)}")
        return cls(kernels[key], layer=key).plot(ax=ax)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the kernels.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.

        Returns
        -------
        display : FiltersDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ax is more than one axes.
        """
        weight = np.asarray(self.weight, dtype=float)
        filters, channels, *size = weight.shape
        of = "" if self.layer is None else f" of layer {self.layer!r}"
        title = f"{filters} filters{of}, {'×'.join(map(str, (*size, channels)))}"
        if len(size) == 1:
            return self._plot_stems(weight, title, ax)
        height, width = size
        largest = np.abs(weight).max() or 1
        rows_of_filters = channels not in (1, 3)
        if rows_of_filters:
            pictures, n_columns = weight.reshape(-1, height, width), channels
        else:
            n_columns = int(np.ceil(np.sqrt(filters * 1.6)))
            # in colour images, a weight of 0 is grey
            pictures = weight[:, 0] if channels == 1 else 0.5 + np.moveaxis(weight, 1, -1) / largest / 2
        mosaic, steps = tile(pictures, n_columns)
        ax = self._take_axes(ax, figsize=fit_figure(mosaic.shape))
        if channels == 3:
            mosaic = np.nan_to_num(mosaic, nan=1.0)  # white
        self.image_ = ax.imshow(mosaic, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        self.colorbar_ = None
        if channels != 3:
            self.colorbar_ = self.figure_.colorbar(self.image_, ax=ax, label="weight")
        n_rows = -(-len(pictures) // n_columns)
        number_tiles(ax, steps, n_rows, n_columns, 1 if rows_of_filters else n_columns)
        ax.set_ylabel("filter")
        if rows_of_filters:
            ax.set_xlabel("channel")
        ax.set_title(title)
        return self

    def _plot_stems(self, weight: Array, title: str, ax: "Axes | None") -> Self:
        """Draw the kernels of signals, a row for each filter and a column for each channel if several."""
        filters, channels, size = weight.shape
        rows_of_filters = channels > 1
        n_columns = channels if rows_of_filters else int(np.ceil(np.sqrt(filters)))
        n_rows = -(-filters * channels // n_columns)
        ax = self._take_axes(ax, figsize=(min(4 + n_columns / 4, 12), min(2 + n_rows / 3, 12)))
        first = 1 if rows_of_filters else n_columns
        self.image_ = draw_signals(ax, weight.reshape(-1, size), n_columns, first, stems=True)
        self.colorbar_ = None
        ax.set_ylabel("filter")
        if rows_of_filters:
            ax.set_xlabel("channel")
        ax.set_title(title)
        return self


class FeatureMapsDisplay(Display):
    """An image, and the feature maps that a layer computes from it.

    Parameters
    ----------
    image : ndarray of shape (channels, height, width)
    maps : ndarray of shape (n_maps, height, width)
        The layer's output, with its activation.
    layer : str, default=None
        The layer's search key, for the title.

    Attributes
    ----------
    ax_ : Axes
        The whole plot, or the first of two axes that were given.
    axes_ : ndarray of Axes of shape (2,)
        The axes of the image and of the maps.
    figure_ : Figure
    image_ : AxesImage
    maps_ : AxesImage or LineCollection
        All maps in one image, with NaN between them; they share one colour scale. The curves of signals.
    colorbar_ : Colorbar or None
        None for signals.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.plotting import FeatureMapsDisplay
    >>> X, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    >>> clf = ConvNetClassifier(max_iter=2, random_state=0).fit(X, y)
    >>> display = FeatureMapsDisplay.from_estimator(clf, X[0])
    >>> plt.close("all")
    """

    def __init__(self, image: Array, maps: Array, *, layer: str | None = None) -> None:
        self.image = image
        self.maps = maps
        self.layer = layer

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseConvNet,
        image: ArrayLike,
        layer: int | str | None = None,
        *,
        ax: "Panels | None" = None,
    ) -> Self:
        """Draw the feature maps that a layer of an estimator computes from an image.

        Parameters
        ----------
        estimator : ConvNetClassifier or ConvNetRegressor
            Fitted on images.
        image : array-like
            One sample of X, such as ``X[0]``.
        layer : int or str, default=None
            Position or search key of a layer whose output is an image; None selects the first one with
            weights.
        ax : Axes or sequence of Axes, default=None
            One axes, which is divided, or two, for the image and the maps; None makes a figure.

        Returns
        -------
        display : FeatureMapsDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If estimator is not one of this package.
        NotFittedError
            If it is not fitted.
        ValueError
            If there is no such layer, its output is not an image, or the image differs in shape from those
            of X.
        """
        cls._check(estimator)
        images = cls._check_image(estimator, image)
        network = estimator.network_
        usable = [stage for stage in network.stages if len(stage.output_shape) == 3]
        usable.sort(key=lambda stage: not stage.shapes)  # those with weights first
        stage = cls._choose(estimator, layer, usable)
        maps = network.forward(images, last=stage.key).reshape(stage.output_shape)
        return cls(images[0], maps, layer=stage.key).plot(ax=ax)

    def plot(self, *, ax: "Panels | None" = None) -> Self:
        """Draw the image and the maps.

        Parameters
        ----------
        ax : Axes or sequence of Axes, default=None
            One axes, which is divided, or two, for the image and the maps; None makes a figure.

        Returns
        -------
        display : FeatureMapsDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ax is neither one nor two axes.
        """
        n, height, width = self.maps.shape
        n_columns = int(np.ceil(np.sqrt(n * 1.6)))
        maps = np.asarray(self.maps, dtype=float)
        if height == 1:
            shape: Shape = (2, 3)  # lines have no shape of their own
        else:
            mosaic, steps = tile(maps, n_columns)
            shape = mosaic.shape
        wide, high = fit_figure(shape)
        # left to right: the image, 0.7 for the labels of the maps, the maps, 0.9 for the scale
        total = wide + 2.2
        extents = [(0, 2.2 / total), (2.9 / total, (wide - 1.6) / total)]
        axes = self._take_axes(ax, extents, figsize=(wide + 2.6, high))
        self.image_ = show_image(axes[0], self.image)
        axes[0].set_title("image")
        axes[1].set_ylabel("map")
        of = "" if self.layer is None else f" of layer {self.layer!r}"
        if height == 1:
            axes[0].set_title("signal")
            self.maps_ = draw_signals(axes[1], maps[:, 0], n_columns, n_columns)
            self.colorbar_ = None
            axes[1].set_title(f"{n} maps{of}, {width} values")
            return self
        self.maps_ = axes[1].imshow(mosaic, cmap="viridis", interpolation="nearest")
        number_tiles(axes[1], steps, -(-n // n_columns), n_columns, n_columns)
        axes[1].set_title(f"{n} maps{of}, {height}×{width}")
        scale = axes[1].inset_axes((1.03, 0, 0.05, 1))
        self.colorbar_ = self.figure_.colorbar(self.maps_, cax=scale, label="activation")
        return self


def list_convolutions(stages: Iterable[Stage], path: str = "") -> list[str]:
    """Return the search keys of all convolutions with shared weights, also within other layers.

    Parameters
    ----------
    stages : iterable of Stage
    path : str, default=""
        The keys of the outer layers, each with a point.

    Returns
    -------
    keys : list of str
    """
    keys = []
    for stage in stages:
        if isinstance(stage.layer, (Conv1D, Conv2D)):
            keys.append(path + stage.key)
        for branch in stage.branches:
            keys += list_convolutions(branch, f"{path}{stage.key}.")
    return keys


def fit_figure(shape: Shape) -> tuple[float, float]:
    """Return a figure size in inches, about 6 wide, for a mosaic of this shape with a title and a scale.

    Parameters
    ----------
    shape : tuple of int
        (height, width, ...), in any unit.

    Returns
    -------
    size : (float, float)
        Width and height.
    """
    scale = min(5 / shape[1], 8 / shape[0])
    return max(4, scale * shape[1] + 2), max(2.2, scale * shape[0] + 1)
