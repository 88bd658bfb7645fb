"""Conversion of estimators to ONNX models, and of ONNX models to estimators."""

import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone, is_regressor

from skconvnet._base import BaseConvNet
from skconvnet._classifier import ConvNetClassifier
from skconvnet._images import Layout
from skconvnet._network import Network
from skconvnet._onnx.graph import Graph
from skconvnet._onnx.pipeline import OnnxMixin, convert_pipeline
from skconvnet._onnx.reader import Stack, read_stack
from skconvnet._onnx.writer import DESCRIPTION, ModelGraph, import_onnx
from skconvnet._output_file import replace_file
from skconvnet._regressor import ConvNetRegressor
from skconvnet._sklearn_compat import validate_params
from skconvnet._transformer import ConvNetTransformer
from skconvnet._types import Array, Path
from skconvnet.losses import LOSSES

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def to_onnx(estimator: "BaseConvNet | ConvNetTransformer | Pipeline", path: Path) -> Any:
    """Write a fitted estimator as an ONNX model, for runtimes that do not have this package.

    The model's input "X" has the shape (n, `*input_shape_`), for any n, with the channels where the estimator
    has them, and the network's dtype. Convert other types, uint8 included, and reshape images and signals
    without a channel axis, and rows of pixels, first. The model computes in float32, also for a network of
    float64, because runtimes have no convolution of float64. Its outputs have the names that skl2onnx uses:

    - "label" of a classifier, of shape (n,): strings if the labels are text, else int64. With several labels
      per sample it is a matrix of 0 and 1, of shape (n, n_labels);
    - "probabilities" of a classifier that has `predict_proba`, of shape (n, n_classes) or (n, n_labels);
    - "variable" of a regressor, of the shape that `predict` returns, or of a transformer.

    A pipeline is converted by skl2onnx, which knows scalers and other transformers of scikit-learn. Its X is
    rows of numbers, of the shape (n, n_features). For other inputs, such as columns of text, call
    ``skl2onnx.to_onnx(pipeline, X)``: it converts the estimators of this package as well.

    Parameters
    ----------
    estimator : ConvNetClassifier, ConvNetRegressor, ConvNetTransformer or Pipeline
        Fitted. Its layers must be those of :mod:`skconvnet.layers`, or do nothing in prediction.
    path : str or path-like
        The file; it is replaced if it exists. It is written completely or not at all.

    Returns
    -------
    model : onnx.ModelProto
        What was written: opset 17.

    Raises
    ------
    ImportError
        If onnx, or for a pipeline skl2onnx, is not installed.
    TypeError
        If estimator is not one of skconvnet, a layer is not of this package, or labels are neither integers
        nor text.
    NotFittedError
        If estimator is not fitted.
    ValueError
        If a weight, or another value of a layer, is too large for float32, or the estimator has a
        `test_time_augmentation`.
    OSError
        If the file cannot be written.

    See Also
    --------
    from_onnx : Reads a model as an estimator.

    References
    ----------
    ONNX, "Open Neural Network Exchange", https://onnx.ai/onnx/operators.

    Examples
    --------
    >>> import numpy as np, os, skconvnet, tempfile
    >>> X, y = np.random.rand(40, 8, 8, 1), np.arange(40) % 2
    >>> clf = skconvnet.ConvNetClassifier(max_iter=1).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = skconvnet.to_onnx(clf, os.path.join(folder, "model.onnx"))
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    """
    graph = ModelGraph(import_onnx("to_onnx"))
    if isinstance(estimator, OnnxMixin):
        fitted = estimator._get_network()
        x = graph.add_input("X", fitted.network_.dtype, fitted.input_shape_)
        estimator._write_onnx(graph, x)
        model = graph.make_model(type(estimator).__name__)
    elif hasattr(estimator, "steps"):
        model = convert_pipeline(estimator)
    else:
        raise TypeError(
            f"to_onnx: estimator must be a fitted ConvNetClassifier, ConvNetRegressor or ConvNetTransformer, "
            f"or a Pipeline, got {estimator!r}. From a search, pass best_estimator_."
        )
    replace_file(path, [model.SerializeToString()])
    return model


def from_onnx(
    path: Path,
    estimator: BaseConvNet | None = None,
    *,
    classes: ArrayLike | None = None,
    data_format: Literal["channels_last", "channels_first"] | None = None,
) -> Any:
    """Read a network that was trained elsewhere, as a fitted estimator.

    The estimator predicts what the model computes. With `partial_fit` or `fit` its training continues, since
    `warm_start` is True; as an `init_from`, or in a :class:`ConvNetTransformer`, it serves other tasks.

    A model is a stack of layers with residual connections: convolutions, dense layers, poolings, batch and
    layer normalisation, dropout, and the activations of :mod:`skconvnet.layers`. Scales and shifts are
    supported at its start, or where they become part of a layer. Nodes that only arrange axes are followed,
    so models with the channels last are read, too. What acts in training alone, such as changes of images, is
    not in a file. Softmax or a sigmoid at the end of a classifier becomes part of the loss.

    Parameters
    ----------
    path : str or path-like
        The model, of opset 7 or later, with weights in float16, float32 or float64.
    estimator : ConvNetClassifier or ConvNetRegressor, default=None
        The kind of the estimator, and its parameters for further training; it is not changed. The file
        determines `layers`, `input_shape`, `data_format`, and `loss` if the model shows it. If the file
        leaves the size of images open, estimator must have an `input_shape`, in the file's order of axes.
        None means the estimator that `to_onnx` wrote. For other files it means a regressor if there is one
        output without a sigmoid, and no classes are given, and else a classifier.
    classes : array-like of shape (n_classes,), default=None
        The labels, in the order of the model's outputs. None means those that `to_onnx` wrote, or 0, 1, 2 and
        so on. Sigmoids of several outputs without classes are several labels per sample.
    data_format : {"channels_last", "channels_first"}, default=None
        Where X will have its channels. None means where the model's input has them: first, as PyTorch, or
        last if the model moves them to the front.

    Returns
    -------
    estimator : ConvNetClassifier or ConvNetRegressor
        Fitted, with an empty `history_`. Its network is of float64 if `dtype` is "auto" and the model's input
        is, else of float32.

    Raises
    ------
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be read.
    TypeError
        If estimator is neither None nor an estimator of this package.
    ValueError
        If the file is no valid ONNX model, its network has operators, settings or connections that layers
        here do not have, or classes or parameters of estimator do not fit the network.

    See Also
    --------
    to_onnx : Writes an estimator as a model.
    load : Reads a file that has all that training had.

    Notes
    -----
    PyTorch's exporters make batch normalisation a part of the convolution before it. To continue training
    with it, export with ``dynamo=False, training=torch.onnx.TrainingMode.PRESERVE``, after ``model.eval()``.

    References
    ----------
    ONNX, "Open Neural Network Exchange", https://onnx.ai/onnx/operators.

    Examples
    --------
    >>> import numpy as np, os, skconvnet, tempfile
    >>> X, y = np.random.rand(40, 8, 8, 1), np.arange(40) % 2
    >>> clf = skconvnet.ConvNetClassifier(max_iter=1).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.onnx")
    ...     model = skconvnet.to_onnx(clf, path)
    ...     again = skconvnet.from_onnx(path)
    >>> bool(abs(again.predict_proba(X) - clf.predict_proba(X)).max() < 1e-5)
    True
    """
    onnx = import_onnx("from_onnx")
    if not isinstance(estimator, (ConvNetClassifier, ConvNetRegressor, type(None))):
        raise TypeError(
            f"from_onnx: estimator must be a ConvNetClassifier() or ConvNetRegressor(), or None, got "
            f"{estimator!r}."
        )
    graph = Graph(onnx, path)
    known = _read_description(graph)
    if "outputs" not in known and len(graph.outputs) != 1:
        graph.fail(f"has the outputs {graph.outputs}", "Export a network of one output.")
    has_loss = "outputs" not in known and (estimator is None or not is_regressor(estimator))
    shape = None if estimator is None else estimator.input_shape
    stack = read_stack(graph, known.get("outputs", graph.outputs[0]), shape, has_loss)
    loss = known.get("loss", stack.loss)
    if estimator is None:
        is_number = stack.n_outputs == 1 and stack.loss is None and classes is None
        regresses = "mean" in known if "outputs" in known else is_number
        estimator = ConvNetRegressor() if regresses else ConvNetClassifier()
    if is_regressor(estimator) != ("mean" in known):
        loss = stack.loss  # that of the other kind of estimator
    if stack.n_outputs == 1 and not is_regressor(estimator):
        loss = "binary_cross_entropy"
    layout = Layout(data_format or stack.data_format, stack.is_signal)
    fitted: Any = clone(estimator).set_params(
        layers=stack.layers, data_format=layout.data_format, loss=loss or estimator.loss, warm_start=True
    )
    try:
        validate_params(fitted, fitted._advise)
        weights = stack.weights
        if is_regressor(fitted):
            y_shape = _learn_targets(fitted, stack, known)
        else:
            labels = known.get("labels") if classes is None else classes
            y_shape, weights = _learn_classes(fitted, stack, labels, known.get("form"))
        dtype = fitted.dtype
        if dtype == "auto":
            is_double = graph.input.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
            dtype = "float64" if is_double else "float32"
        network = Network(stack.layers, stack.input_shape, stack.n_outputs, dtype, fitted.freeze or ())
        network.set_weights(weights)
    except ValueError as error:
        raise ValueError(f"from_onnx: {graph.path}: {error}") from error
    fitted._adopt_network(network, layout, y_shape)
    if len(fitted.input_shape_) > 1:
        fitted.set_params(input_shape=fitted.input_shape_)
    return fitted


def _read_description(graph: Graph) -> dict[str, Any]:
    """Return what `to_onnx` wrote of the estimator, or nothing for a file that others wrote or changed."""
    try:
        known = json.loads(graph.metadata.get(DESCRIPTION, "{}"))
        if known.get("outputs") not in [graph.input.name, *(node.output for node in graph.nodes)]:
            return {}
        known["y_shape"] = tuple(map(int, known["y_shape"]))
        if "loss" in known:
            kind = LOSSES[known["loss"]]
            loss = kind(float(known["loss_value"])) if fields(kind) else kind()
            known["loss"] = known["loss"] if loss == kind() else loss
        if "labels" in known:
            labels = graph.onnx.numpy_helper.to_array(graph.initializers[known["labels"]])
            known["labels"] = labels.astype(str) if labels.dtype.kind in "OS" else labels
        if "mean" in known:
            known["mean"], known["scale"] = np.array(known["mean"], np.float64), float(known["scale"])
            if not (np.isfinite(known["mean"]).all() and 0 < known["scale"] < math.inf):
                raise ValueError("mean and scale of the targets must be finite")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        graph.fail(f"its metadata {DESCRIPTION!r} is damaged: {error}", "Export the estimator again.")
    return known


def _learn_targets(reg: Any, stack: Stack, known: dict[str, Any]) -> tuple[int, ...]:
    """Set the mean and the scale of a regressor's targets; return the shape of a target."""
    mean = known.get("mean", np.zeros(stack.n_outputs))
    y_shape = known["y_shape"] if "mean" in known else () if stack.n_outputs == 1 else (stack.n_outputs,)
    if mean.shape not in ((1,), (stack.n_outputs,)) or math.prod(y_shape) != stack.n_outputs:
        raise ValueError(
            f"its targets of shape {y_shape} do not fit {stack.n_outputs} outputs. Export it again."
        )
    reg._target_mean, reg._target_scale = mean, known.get("scale", 1.0)
    return y_shape


def _learn_classes(
    clf: Any, stack: Stack, labels: Any, form: str | None
) -> tuple[tuple[int, ...], dict[str, Array]]:
    """Set the classes of a classifier; return the shape of a label, and the weights for sorted classes.

    form: that of the labels, as `Objective` names it; None if the file does not say it.
    """
    n_outputs, weights = stack.n_outputs, stack.weights
    several = form == "labels" if form else clf.loss == "binary_cross_entropy" and n_outputs > 1
    if labels is None and several:
        clf.classes_, clf._form = np.arange(n_outputs), "labels"
        return (n_outputs,), weights
    shape: tuple[int, ...] = ()
    if form == "probabilities":
        clf._form, shape = form, (n_outputs,)
    n_classes = 2 if n_outputs == 1 else n_outputs
    labels = np.array(list(range(n_classes)) if labels is None else np.asarray(labels).tolist())
    clf.classes_, order = np.unique(labels, return_index=True)
    if labels.shape != (n_classes,) or len(order) < n_classes:
        raise ValueError(
            f"classes must be {n_classes} different labels, one for each of the model's "
            f"{'two classes' if n_outputs == 1 else 'outputs'}, got {labels.tolist()}."
        )
    if (order == np.arange(n_classes)).all():
        return shape, weights
    if n_outputs == 1 or "output.weight" not in weights:
        raise ValueError(
            "classes must be sorted, because the network does not end in a dense layer with a unit for each. "
            "Leave them out, and look up names[clf.predict(X)] instead."
        )
    output = {key: value[order] for key, value in weights.items() if key.startswith("output.")}
    return shape, {**weights, **output}
