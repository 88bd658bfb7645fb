"""Dropout."""

from dataclasses import dataclass

from skconvnet._lowering.calls import DropoutCall
from skconvnet._lowering.memory import Tensor
from skconvnet._lowering.plan import Plan
from skconvnet._values import check_numbers
from skconvnet.layers.base import Layer


@dataclass(repr=False, eq=False)
class Dropout(Layer):
    """Set values to zero at random in training, and do nothing in prediction.

    In training each value becomes 0 with probability rate and x / (1 - rate) otherwise, so that its
    expectation stays the same ("inverted" dropout).

    Parameters
    ----------
    rate : float, default=0.5
        The fraction dropped, at least 0 and below 1.
    name : str, default=None
        Makes the layer searchable by name.

    Raises
    ------
    ValueError
        If rate is out of range.

    Notes
    -----
    Masks depend on the estimator's `random_state`, the step, the position of a sample in its mini-batch
    and the index of an element in the sample alone: they are the same for any number of threads.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: a simple way to prevent
    neural networks from overfitting", JMLR 15, 2014, section 10.

    Examples
    --------
    >>> from skconvnet.layers import Dense, Dropout
    >>> layers = [Dense(100, activation="relu"), Dropout(0.2)]
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, rate="[0, 1)")

    def lower(self, plan: Plan, x: Tensor, offsets: dict[str, int]) -> Tensor:
        if not plan.training:
            return x
        y = plan.add_like(x)
        plan.add_call(DropoutCall(x, y, float(self.rate), plan.allocate_stream()))
        return y
