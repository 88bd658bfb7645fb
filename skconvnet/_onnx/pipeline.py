"""Estimators within pipelines: what skl2onnx looks for, and the conversion of pipelines that have them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from skconvnet._onnx.writer import OPSET, ModelGraph, import_onnx

# The name of X within the graph of one step.
INPUT = "X"


class OnnxMixin:
    """Adds to an estimator the methods by which skl2onnx converts estimators that it does not know."""

    def _write_onnx(self, graph: ModelGraph, x: str) -> None:
        """Write the fitted estimator, from X of shape (n, `*input_shape_`) to its outputs."""
        raise NotImplementedError

    def _get_network(self) -> Any:
        """Return the fitted estimator that has the network: this one, or one within it."""
        raise NotImplementedError

    def onnx_parser(self) -> Callable[..., Any]:
        """Return the function by which skl2onnx finds the names and types of the outputs.

        Returns
        -------
        parse : callable (scope, inputs) -> list of (str, data type)
        """

        self._allow_options()

        def parse(scope: Any = None, inputs: Any = None) -> list[Any]:
            return list(zip([name for name, *_ in self._make_graph().outputs], self._list_types()))

        return parse

    def _allow_options(self) -> None:
        """Make skl2onnx accept ``options={"zipmap": False}``, as for the classifiers that it knows."""
        import skl2onnx

        alias = f"Skconvnet{type(self).__name__}"

        def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
            operator = scope.declare_local_operator(alias, model)
            operator.inputs = inputs
            for name, kind in model.onnx_parser()():
                operator.outputs.append(scope.declare_local_variable(name, kind))
            return operator.outputs

        skl2onnx.update_registered_converter(
            type(self),
            alias,
            lambda operator: operator.raw_operator.onnx_shape_calculator()(operator),
            lambda scope, operator, container: operator.raw_operator.onnx_converter()(
                scope, operator, container
            ),
            parser=parse,
            options={"zipmap": [False]},
        )

    def onnx_shape_calculator(self) -> Callable[..., Any]:
        """Return the function by which skl2onnx sets the types and shapes of the outputs.

        Returns
        -------
        calculate_shapes : callable (operator) -> None
        """

        def calculate_shapes(operator: Any) -> None:
            for variable, kind in zip(operator.outputs, self._list_types()):
                variable.type = kind

        return calculate_shapes

    def onnx_converter(self) -> Callable[..., Any]:
        """Return the function by which skl2onnx adds the estimator to a model.

        Returns
        -------
        convert : callable (scope, operator, container) -> None

        Raises
        ------
        ValueError
            The function raises it if the target opset is below 17.
        """

        def convert(scope: Any, operator: Any, container: Any) -> None:
            if container.target_opset < OPSET:
                raise ValueError(
                    f"{type(self).__name__} needs opset {OPSET}, got target_opset={container.target_opset}. "
                    f"Leave target_opset out, or raise it."
                )
            onnx, graph = import_onnx("to_onnx"), self._make_graph()
            names = dict(zip([name for name, *_ in graph.outputs], [v.full_name for v in operator.outputs]))
            names[INPUT] = _join_inputs(scope, operator, container)
            for name, array in graph.arrays.items():
                names[name] = scope.get_unique_variable_name(name)
                tensor = onnx.numpy_helper.from_array(array)
                values = (
                    [str(label).encode() for label in array.flat] if array.dtype == object else array.ravel()
                )
                container.add_initializer(names[name], tensor.data_type, array.shape, list(values))
            for node in graph.nodes:
                for name in node.output:
                    names.setdefault(name, scope.get_unique_variable_name(name))
                container.add_node(
                    node.op_type,
                    [names[name] for name in node.input],
                    [names[name] for name in node.output],
                    name=scope.get_unique_operator_name(node.op_type),
                    **{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
                )

        return convert

    def _make_graph(self) -> ModelGraph:
        """Return the nodes of the estimator, for X of any shape."""
        graph = ModelGraph(import_onnx("to_onnx"))
        x, shape = INPUT, self._get_network().input_shape_
        if len(shape) > 1:
            x = graph.add("Reshape", x, (-1, *shape))
        self._write_onnx(graph, x)
        return graph

    def _list_types(self) -> list[Any]:
        """Return the types of the outputs, as skl2onnx has them."""
        from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

        kinds = {"f": FloatTensorType, "i": Int64TensorType, "O": StringTensorType}
        return [kinds[np.dtype(dtype).kind]([None, *shape]) for _, dtype, shape in self._make_graph().outputs]


def _join_inputs(scope: Any, operator: Any, container: Any) -> str:
    """Return the name of X as one tensor of float32; skl2onnx may give its columns one by one."""
    columns = []
    for variable in operator.inputs:
        columns.append(scope.get_unique_variable_name("column"))
        container.add_node("Cast", [variable.full_name], [columns[-1]], to=1)  # TensorProto.FLOAT
    if len(columns) == 1:
        return columns[0]
    joined = scope.get_unique_variable_name("columns")
    container.add_node("Concat", columns, [joined], axis=1)
    return joined


def convert_pipeline(pipeline: Any) -> Any:
    """Convert a fitted pipeline of real numbers by skl2onnx.

    Parameters
    ----------
    pipeline : Pipeline
        At least one of its steps is an estimator of this package.

    Returns
    -------
    model : onnx.ModelProto

    Raises
    ------
    ImportError
        If skl2onnx is not installed.
    TypeError
        If no step is an estimator of this package.
    """
    import_onnx("to_onnx")
    try:
        import skl2onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as error:
        raise ImportError(
            "to_onnx needs the package skl2onnx for a pipeline: pip install skconvnet[skl2onnx]"
        ) from error
    pipeline = type(pipeline)([pair for pair in pipeline.steps if pair[1] not in (None, "passthrough")])
    steps = [step for _, step in pipeline.steps]
    own = next((step for step in steps if hasattr(step, "onnx_converter")), None)
    if own is None:
        raise TypeError(
            f"to_onnx: a pipeline must have a step of skconvnet, got {pipeline!r}. For others, use "
            f"skl2onnx.to_onnx."
        )
    fitted = own._get_network()
    shape = fitted.input_shape_ if own is steps[0] else (pipeline.n_features_in_,)
    kind = DoubleTensorType if fitted.network_.dtype == np.float64 else FloatTensorType
    return skl2onnx.convert_sklearn(
        pipeline,
        type(pipeline).__name__,
        [(INPUT, kind([None, *shape]))],
        target_opset=OPSET,
        options={id(pipeline): {"zipmap": False}} if is_classifier(pipeline) else None,
    )
