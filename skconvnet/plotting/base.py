"""Base class of the displays: checks of the estimator, axes to draw in, and how images are shown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from skconvnet._base import BaseConvNet
from skconvnet._sklearn_compat import check_matplotlib_support
from skconvnet._stages import Stage
from skconvnet._types import Array
from skconvnet.layers.base import describe_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

Panels: TypeAlias = "Axes | Sequence[Axes] | Array"  # one axes, which is divided, or several


class Display:
    """Base class of the displays: checks what they draw, and finds the axes to draw in."""

    ax_: "Axes"
    axes_: Array
    figure_: "Figure"

    @classmethod
    def _check(cls, estimator: BaseConvNet, classes: bool = False) -> None:
        """Require a fitted estimator of this package, and a classifier if classes are needed."""
        owner = f"{cls.__name__}.from_estimator"
        check_matplotlib_support(owner)
        if not isinstance(estimator, BaseConvNet):
            raise TypeError(
                f"{owner} needs a ConvNetClassifier or ConvNetRegressor, got {type(estimator).__name__}. "
                f"From a pipeline, pass its last step, and X as transformed by the steps before; from a "
                f"search, pass best_estimator_."
            )
        check_is_fitted(estimator)
        if classes and not is_classifier(estimator):
            raise ValueError(f"{owner} needs a classifier, got {type(estimator).__name__}.")

    @classmethod
    def _choose(cls, estimator: BaseConvNet, layer: int | str | None, usable: Sequence[Stage]) -> Stage:
        """Return the stage of a layer, which must be a usable one; None selects the first usable stage."""
        network = estimator.network_
        stage = network.find(layer) if layer is not None else (*usable, network.stages[-1])[0]
        if stage not in usable:
            keys = [stage.key for stage in network.stages if stage in usable]
            raise ValueError(
                f"{cls.__name__}.from_estimator: the output of {stage.label} is "
                f"{describe_shape(stage.output_shape)}, which has no maps to show. Layers with maps: "
                f"{', '.join(keys) or 'none'}."
            )
        return stage

    @classmethod
    def _check_image(cls, estimator: BaseConvNet, image: ArrayLike) -> Array:
        """Return one sample as the network reads it: (1, channels, height, width)."""
        frame = image.to_frame().T if hasattr(image, "to_frame") else np.asarray(image)[None]
        try:
            images, _ = estimator._check_images(frame)
        except ValueError:
            if np.size(image) == np.shape(frame)[1] * np.prod(estimator.input_shape_):
                raise ValueError(
                    f"{cls.__name__}.from_estimator draws one image, such as X[0], but got "
                    f"{np.shape(frame)[1]} images, an array of shape {np.shape(image)}."
                ) from None
            raise
        cls._require_pixels(estimator)
        return images

    @classmethod
    def _require_pixels(cls, estimator: BaseConvNet) -> None:
        """Refuse an estimator that was fitted on plain vectors."""
        if len(estimator.input_shape_) == 1:
            raise ValueError(
                f"{cls.__name__}.from_estimator needs an estimator of images, but this one was fitted on "
                f"rows of {estimator.n_features_in_} values. Fit it with input_shape=(height, width)."
            )

    def _take_axes(self, ax: Any, extents: Sequence[tuple[float, float]] = (), **layout: Any) -> Any:
        """Return the caller's axes, or those of a new figure, and set `ax_` and `figure_`.

        With extents, which are the (left, width) of each panel, return one axes per panel and set `axes_`
        too: the caller's axes if their number is that of the panels, or else insets of the single axes.
        """
        owner = f"{type(self).__name__}.plot"
        check_matplotlib_support(owner)
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained", **layout)
        axes = np.ravel(np.asarray(ax, dtype=object))
        if len(axes) not in (1, len(extents)):
            expected = f"1 axes or {len(extents)}" if extents else "1 axes"
            raise ValueError(f"{owner}: ax must be {expected}, got {len(axes)}.")
        self.ax_, self.figure_ = axes[0], axes[0].figure
        if not extents:
            return self.ax_
        if len(axes) == 1:
            self.ax_.set_axis_off()
            panels = [self.ax_.inset_axes((left, 0, width, 1)) for left, width in extents]
            axes = np.array(panels, dtype=object)
        self.axes_ = axes
        return axes


def show_image(ax: "Axes", image: Array, **options: Any) -> "AxesImage | Line2D":
    """Show an image without ticks, scaled from its smallest to its largest value, or a signal.

    Parameters
    ----------
    ax : matplotlib Axes
    image : ndarray of shape (channels, height, width)
        Three channels are shown as red, green and blue; one channel, or the mean of any other number of
        channels, is shown in grey. An image of one row is a signal, shown as a line for each channel.
    **options : dict
        Passed to `imshow`; not used for a signal.

    Returns
    -------
    artist : matplotlib AxesImage, or Line2D of a signal's first channel
    """
    image = np.asarray(image, dtype=float)
    if image.shape[1] == 1:
        return ax.plot(image[:, 0].T, linewidth=1)[0]
    if len(image) != 3:
        image = image.mean(axis=0, keepdims=True)
    low, high = image.min(), image.max()
    scaled = (image - low) / ((high - low) or 1)
    picture = np.moveaxis(scaled, 0, -1) if len(image) == 3 else scaled[0]
    ax.set(xticks=[], yticks=[])
    return ax.imshow(picture, cmap="gray", vmin=0, vmax=1, **options)


def tile(images: Array, n_columns: int) -> tuple[Array, tuple[int, int]]:
    """Arrange images in rows, with a gap between them.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, colours)
    n_columns : int

    Returns
    -------
    mosaic : ndarray of shape (rows, columns) or (rows, columns, colours)
        NaN between the images and where the last row has no image.
    steps : (float, float)
        Distance from one image to the next, down and to the right.
    """
    n, height, width, *colours = images.shape
    # the gap is an eighth of an image; images of fewer than 8 pixels are enlarged to have one
    zoom = -(-8 // min(height, width))
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    gap = min(height, width) * zoom // 8
    n_rows = -(-n // n_columns)
    mosaic = np.full((n_rows * n_columns, height * zoom + gap, width * zoom + gap, *colours), np.nan)
    mosaic[:n, : height * zoom, : width * zoom] = images
    mosaic = mosaic.reshape(n_rows, n_columns, *mosaic.shape[1:]).swapaxes(1, 2)
    mosaic = mosaic.reshape(mosaic.shape[0] * mosaic.shape[1], -1, *colours)[:-gap, :-gap]
    return mosaic, (height * zoom + gap, width * zoom + gap)


def draw_signals(
    ax: "Axes", signals: Array, n_columns: int, first: int, *, stems: bool = False
) -> "LineCollection":
    """Draw signals in rows, all on one scale, with 0 as a thin line if there are stems.

    Parameters
    ----------
    ax : matplotlib Axes
    signals : ndarray of shape (n, length)
    n_columns : int
    first : int
        As for `number_tiles`.
    stems : bool, default=False
        Whether values are lines that begin at 0, instead of points of a curve.

    Returns
    -------
    artist : matplotlib LineCollection
    """
    from matplotlib.collections import LineCollection

    n, length = signals.shape
    low, high = (min(signals.min(), 0), max(signals.max(), 0)) if stems else (signals.min(), signals.max())
    rows, columns = np.divmod(np.arange(n), n_columns)
    steps = 9.0, length * 9 / 8  # a gap is an eighth of a signal, as between tiles
    x = columns[:, np.newaxis] * steps[1] + np.arange(length)
    tops = rows[:, np.newaxis] * steps[0]
    # a larger value is further up, and the first row is at the top
    scale = 8 / ((high - low) or 1)
    y, zero = (tops - 0.5 + scale * (high - values) for values in (signals, np.zeros_like(signals)))
    curve = np.stack([x, y], axis=-1)
    if stems:
        ends = np.stack([x[:, [0, -1]], zero[:, [0, -1]]], axis=-1)
        ax.add_collection(LineCollection(list(ends), colors="0.7", linewidths=0.5))
        curve = np.stack([np.stack([x, zero], axis=-1), curve], axis=2).reshape(-1, 2, 2)
    artist = LineCollection(list(curve), linewidths=1)
    ax.add_collection(artist)
    n_rows = -(-n // n_columns)
    ax.set(xlim=(-0.5, n_columns * steps[1]), ylim=(n_rows * steps[0], -1))
    number_tiles(ax, steps, n_rows, n_columns, first)
    return artist


def number_tiles(ax: "Axes", steps: tuple[float, float], n_rows: int, n_columns: int, first: int) -> None:
    """Label the rows and columns of a mosaic with their indices.

    Parameters
    ----------
    ax : matplotlib Axes
    steps : (float, float)
        Distance from one image to the next, down and to the right.
    n_rows, n_columns : int
    first : int
        Difference between the labels of two rows: 1, or n_columns if images are numbered row by row.
    """
    for axis, step, n, by in ((ax.yaxis, steps[0], n_rows, first), (ax.xaxis, steps[1], n_columns, 1)):
        every = -(-n // 32)  # more labels would overlap
        shown = np.arange(0, n, every)
        sign = "+" if axis is ax.xaxis and first > 1 else ""
        axis.set_ticks(shown * step + (step - 1) / 2 - step / 18, [f"{sign}{k * by}" for k in shown])
        axis.set_tick_params(length=0, labelsize="small")
    ax.spines[:].set_visible(False)
