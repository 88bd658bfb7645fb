"""Learning curves."""

from collections.abc import Sequence
from typing import Never, Self

import numpy as np
from sklearn.base import is_classifier

from skconvnet._base import BaseConvNet
from skconvnet._types import Record
from skconvnet.plotting.base import Display, Panels


class LearningCurveDisplay(Display):
    """Loss and score of each epoch, in training and validation, side by side.

    Parameters
    ----------
    history : list of dict
        An estimator's `history_`: one dict per epoch, with "epoch" and any of "train_loss", "train_score",
        "valid_loss" and "valid_score"; those that are present are drawn.
    best_iter : int, default=None
        Epoch to mark, the one that the weights come from; None for no mark.
    loss_name : str, default="loss"
        Label of the losses.
    score_name : str, default="score"
        Label of the scores.

    Attributes
    ----------
    ax_ : Axes
        The whole plot, or the first of two axes that were given.
    axes_ : ndarray of Axes of shape (2,)
        The axes of the losses and of the scores.
    figure_ : Figure
    lines_ : list of Line2D
        Training loss, validation loss, training score and validation score, in this order, as far as
        history has them.
    best_lines_ : list of Line2D
        One in each axes, at the marked epoch; empty if none is marked.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores over the number of training samples.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skconvnet import ConvNetClassifier
    >>> from skconvnet.plotting import LearningCurveDisplay
    >>> X, y = np.random.default_rng(0).random((40, 8, 8)), np.arange(40) % 2
    >>> clf = ConvNetClassifier(max_iter=2, random_state=0).fit(X, y)
    >>> display = LearningCurveDisplay.from_estimator(clf)
    >>> plt.close("all")
    """

    def __init__(
        self,
        history: Sequence[Record],
        *,
        best_iter: int | None = None,
        loss_name: str = "loss",
        score_name: str = "score",
    ) -> None:
        self.history = history
        self.best_iter = best_iter
        self.loss_name = loss_name
        self.score_name = score_name

    @classmethod
    def from_estimator(cls, estimator: BaseConvNet, *data: Never, ax: "Panels | None" = None) -> Self:
        """Draw the learning curves of an estimator.

        Training records the accuracy or R². If `scoring` is another metric, only the scores of validation
        are drawn.

        Parameters
        ----------
        estimator : ConvNetClassifier or ConvNetRegressor
            Fitted. Its best epoch is marked if it stopped early.
        *data
            Must be empty; scikit-learn's display of the same name takes X and y here, and fits.
        ax : Axes or sequence of Axes, default=None
            One axes, which is divided, or two, for losses and scores; None makes a figure.

        Returns
        -------
        display : LearningCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If estimator is not one of this package, or data are given.
        NotFittedError
            If it is not fitted.
        ValueError
            If no epoch was trained to its end.
        """
        cls._check(estimator)
        if data:
            raise TypeError(
                f"{cls.__name__}.from_estimator takes no data: it draws history_ of a fitted estimator. For "
                f"the score against training size use sklearn.model_selection.LearningCurveDisplay."
            )
        if not estimator.history_:
            raise ValueError(
                f"{cls.__name__}.from_estimator: no epoch was trained to its end, so there is nothing to "
                f"draw. Fit the estimator again."
            )
        history, scoring = estimator.history_, estimator.scoring
        metric, score_name = ("accuracy", "accuracy") if is_classifier(estimator) else ("r2", "R²")
        validated = any(np.isfinite(record.get("valid_score", np.nan)) for record in history)
        if validated and scoring not in (None, metric):
            score_name = scoring if isinstance(scoring, str) else "score"
            history = [{k: v for k, v in record.items() if k != "train_score"} for record in history]
        display = cls(
            history,
            best_iter=estimator.best_iter_ if estimator.early_stopping else None,
            loss_name=estimator._trainer.loss.name.replace("_", " "),
            score_name=score_name,
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: "Panels | None" = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : Axes or sequence of Axes, default=None
            One axes, which is divided, or two, for losses and scores; None makes a figure.

        Returns
        -------
        display : LearningCurveDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ax is neither one nor two axes.
        """
        axes = self._take_axes(ax, [(0, 0.42), (0.58, 0.42)], figsize=(9, 3.6))
        from matplotlib.ticker import MaxNLocator

        epochs = [record["epoch"] for record in self.history]
        self.lines_, self.best_lines_ = [], []
        for panel, what, label in ((axes[0], "loss", self.loss_name), (axes[1], "score", self.score_name)):
            for kind, legend, color in (("train", "training", "C0"), ("valid", "validation", "C1")):
                values = [record.get(f"{kind}_{what}", np.nan) for record in self.history]
                if np.isfinite(values).any():
                    marker = "." if len(epochs) <= 30 else ""
                    self.lines_ += panel.plot(epochs, values, color, marker=marker, label=legend)
            if self.best_iter is not None:
                legend = f"best epoch, {self.best_iter}"
                self.best_lines_.append(
                    panel.axvline(self.best_iter, color="0.4", linestyle="--", linewidth=1, label=legend)
                )
            panel.set(xlabel="epoch", ylabel=label, title=what.capitalize())
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            panel.grid(alpha=0.3)
            panel.legend()
        return self
