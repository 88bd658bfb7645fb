"""Transfer of weights from a fitted estimator to a new network."""

from typing import Any

from sklearn.frozen import FrozenEstimator

from skconvnet._network import Network
from skconvnet._warnings import warn


def unwrap_frozen(estimator: Any) -> Any:
    """Return the estimator within scikit-learn's FrozenEstimator, or the estimator itself.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    estimator : estimator
    """
    return unwrap_frozen(estimator.estimator) if isinstance(estimator, FrozenEstimator) else estimator


def transfer_weights(source: Network, target: Network, same_outputs: bool) -> None:
    """Set the weights of a new network to those of a trained one, for all layers of the same key.

    Parameters
    ----------
    source, target : Network
        The trained and the new one.
    same_outputs : bool
        Whether the outputs of both have the same meaning, so that the output layer is transferred too.

    Raises
    ------
    ValueError
        If no layer can be transferred, if layers of the same key differ in shape, or if the source has no
        weights for a frozen layer.

    Warns
    -----
    UserWarning
        If the source has no weights for some layers, while some of its own layers are not used.
    """
    weights, transferred = source.weights, {}
    for key, part in target.weights.items():
        is_output = key.startswith("output.")
        if key not in weights or (is_output and not same_outputs):
            continue
        if weights[key].shape == part.shape:
            transferred[key] = weights[key]
        elif not is_output:
            raise ValueError(
                f"init_from: {key!r} has shape {weights[key].shape} there and {part.shape} here. Layers "
                f"that differ need keys that differ: give one of them another name."
            )
    inner = [key for key in transferred if not key.startswith("output.")]
    if not inner:
        raise ValueError(
            f"init_from: there is nothing to transfer. Its network has {list(weights)}, and the new network "
            f"has {list(target.weights)}. Layers must agree in name or position."
        )
    matched = {key.partition(".")[0] for key in inner}
    new = [s for s in target.stages[:-1] if s.offsets and s.key not in matched]
    unused = [s.label for s in source.stages[:-1] if s.offsets and s.key not in matched]
    frozen = [stage.label for stage in new if stage.frozen]
    if frozen:
        raise ValueError(
            f"init_from: it has no weights for {', '.join(frozen)}, which freeze names. It has weights for "
            f"{', '.join(sorted(matched))}. Layers must agree in name or position."
        )
    if new and unused:
        unmatched = ", ".join(stage.label for stage in new)
        warn(
            f"init_from: it has no weights for {unmatched}, which are newly initialized, and its "
            f"{', '.join(unused)} are not used. Give matching layers the same name in both networks, or the "
            f"same position."
        )
    target.set_weights({**target.weights, **transferred})
