"""Estimators in files: safetensors files without code, and pickles that record the package's version.

A saved estimator is a tree in JSON. Plain values represent themselves; a JSON object is one of

    {"tuple": [...]}, {"dict": [[key, value], ...]}, {"dtype": "<f4"},
    {"tensor": name}                            a numeric array, in the file's tensors
    {"items": [...], "dtype": ..., "shape": []} an array of text or objects, or a NumPy scalar
    {"class": ..., "arguments": {...}, "state": {...}}
    {"same": path}                              the object that was built at that path before

An object is rebuilt by its constructor, which checks its arguments, and then gets its state. New attributes
of a class are therefore saved without further code, as long as each constructor argument is kept in an
attribute of the same name.
"""

import hashlib
import inspect
import json
import os
from typing import Any, NoReturn

import numpy as np
from sklearn.frozen import FrozenEstimator

from skconvnet._network import Network
from skconvnet._output_file import replace_file
from skconvnet._sklearn_compat import ATTACHED
from skconvnet._training import Trainer
from skconvnet._types import Array, Path
from skconvnet._values import Value
from skconvnet._versions import __version__
from skconvnet._warnings import warn

FORMAT = 1


class FileMixin:
    """Adds `save` to an estimator, and records the package's version in its pickles."""

    def save(self, path: Path | bytes) -> None:
        """Write the whole estimator to one safetensors file, without pickle.

        The file has parameters, weights, running statistics, classes, history, and what is needed to resume
        training: the optimizer's state, the number of steps taken, and the random generator's state. The file
        is written completely or not at all; an older file stays if something fails, even if the process is
        killed. Equal estimators have files of equal bytes. Read it with `skconvnet.load`, or its tensors with
        any reader of safetensors. What `set_callbacks` and the `set_..._request` methods attached to the
        estimator is not in the file.

        Parameters
        ----------
        path : str, bytes or path-like
            The file; if it exists, it is replaced, and its permissions are kept.

        Raises
        ------
        ImportError
            If safetensors is not installed.
        TypeError
            If a parameter or an attribute cannot be written, such as a callable `init` of a layer or the
            function of `Augment`.
        OSError
            If the file cannot be written, is read-only, or is a folder, a device or a pipe.
        """
        safetensors = import_safetensors()
        writer = _Writer()
        tree = json.dumps(writer.describe(self, ""))
        metadata = {
            "skconvnet": __version__,
            "format": str(FORMAT),
            "estimator": tree,
            "sha256": _compute_checksum(tree, writer.tensors),
        }
        replace_file(path, _sort_header(safetensors.numpy.save(writer.tensors, metadata)))

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {**state, "_skconvnet_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop("_skconvnet_version", "unknown")
        if _find_major(version) > _find_major(__version__):
            raise ValueError(
                f"{type(self).__name__} was pickled by skconvnet {version}, which {__version__} cannot read. "
                f"Upgrade skconvnet, or fit the estimator again."
            )
        if version != __version__:
            warn(
                f"{type(self).__name__} was pickled by skconvnet {version}, and this is {__version__}: it "
                f"may not work, or its results may differ. Use the version that pickled it, or fit it again."
            )
        super().__setstate__(state)  # type: ignore[misc]


def load(path: Path | bytes) -> Any:
    """Read an estimator that its `save` wrote.

    No code from the file is run. The file can only name classes of this package, scikit-learn's
    FrozenEstimator around them, and classes derived from them that are imported already; their constructors
    check their arguments.

    Parameters
    ----------
    path : str, bytes or path-like

    Returns
    -------
    estimator : estimator
        Of the class that was saved. Its predictions are bitwise identical to those of the saved estimator,
        and `partial_fit` resumes training as if the estimator had never been saved.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If the file was not written by skconvnet, is damaged, or was written in a newer format.

    Examples
    --------
    >>> import numpy as np, os, skconvnet, tempfile
    >>> X, y = np.random.rand(40, 8, 8), np.arange(40) % 2
    >>> clf = skconvnet.ConvNetClassifier(max_iter=1).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     clf.save(path)
    ...     again = skconvnet.load(path)
    >>> bool((again.predict_proba(X) == clf.predict_proba(X)).all())
    True
    """
    safetensors = import_safetensors()
    path = os.fsdecode(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            check_format(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"load: {path} is not a safetensors file, or it is damaged: {error}. Give a file that the save "
            f"method of an estimator wrote."
        ) from None
    try:
        tree = metadata["estimator"]
        if metadata["sha256"] != _compute_checksum(tree, tensors):
            raise ValueError("the checksum of its contents is not the one that was written")
        reader = _Reader(tensors)
        estimator = reader.build(json.loads(tree), "")
        if not isinstance(estimator, FileMixin) or reader.tensors:
            raise ValueError(f"{type(estimator).__name__} with {sorted(reader.tensors)} left over")
    except Exception as error:  # a damaged file can lead to errors of many types
        raise ValueError(f"load: {path} is damaged: {type(error).__name__}: {error}") from error
    return estimator


def check_format(path: str, metadata: dict[str, str]) -> None:
    """Refuse a file that is not skconvnet's, or whose format is newer than this version."""
    if "skconvnet" not in metadata:
        raise ValueError(
            f"load: {path} was not written by skconvnet. Give a file that the save method of an estimator "
            f"wrote."
        )
    number = metadata.get("format", "")
    if not number.isdecimal():
        raise ValueError(f"load: {path} is damaged: its format should be a number, got {number!r}.")
    if int(number) > FORMAT:
        raise ValueError(
            f"load: {path} was written by skconvnet {metadata['skconvnet']} in format {number}, and "
            f"this is {__version__}, which reads formats up to {FORMAT}. Upgrade skconvnet."
        )


def _compute_checksum(tree: str, tensors: dict[str, Array]) -> str:
    """Return a SHA-256 of all that is saved: tree, and names, types, shapes and values of the tensors."""
    total = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype.name} {tensors[name].shape}".encode())
        total.update(np.ascontiguousarray(tensors[name]).data)
    return total.hexdigest()


def _find_major(version: str) -> int:
    """Return the first number of a version, 0 if there is none."""
    number = version.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _sort_header(data: bytes) -> tuple[bytes, memoryview]:
    """Return a file of safetensors as its header, whose order is always the same, and the rest.

    A header is JSON, padded to a multiple of 8 bytes, after its size.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header, memoryview(data)[end:]


def import_safetensors() -> Any:
    """Return the package safetensors, or raise an ImportError that says how to install it."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Saving and loading need the package safetensors: pip install skconvnet[safetensors]"
        ) from error
    return safetensors


# Classes whose objects are rebuilt by their constructor, as are those of subclasses.
_BUILT = (FileMixin, Value, Network, Trainer, np.random.RandomState, FrozenEstimator)


def _list_classes() -> dict[str, type]:
    """Return the classes that a file may name, by name: those of the package, and those derived from them."""
    found, waiting = {}, list(_BUILT)
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        own = cls.__module__.partition(".")[0] in ("skconvnet", "numpy", "sklearn")
        # if a class was defined several times, the last definition
        found.setdefault(cls.__name__ if own else f"{cls.__module__}.{cls.__qualname__}", cls)
    return found


def _split_state(instance: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the constructor's arguments and the state that was set later, each by name."""
    if isinstance(instance, np.random.RandomState):
        return {}, instance.get_state(legacy=False)
    attributes = {name: value for name, value in vars(instance).items() if name not in ATTACHED}
    names = list(inspect.signature(type(instance).__init__).parameters)[1:]  # without self
    arguments = {name: attributes.pop(name if name in attributes else f"_{name}") for name in names}
    if isinstance(instance, Value):
        return arguments, {}
    return arguments, dict(instance.weights) if isinstance(instance, Network) else attributes


def _rebuild(cls: Any, arguments: dict[str, Any], state: dict[str, Any]) -> Any:
    """Construct an object and set its state; raise a ValueError if it cannot have this state."""
    instance = cls(**arguments)
    if isinstance(instance, np.random.RandomState):
        if not 0 <= state["state"]["pos"] <= 624:  # NumPy uses the position unchecked
            raise ValueError(f"a RandomState has no position {state['state']['pos']}")
        instance.set_state(state)
    elif isinstance(instance, Network):
        instance.set_weights(state)
    else:
        _, initial = _split_state(instance)
        for name, value in state.items():
            # fitting adds attributes to an estimator; all other objects have theirs from the start
            known = name not in vars(instance) if isinstance(instance, FileMixin) else name in initial
            if not known or callable(getattr(cls, name, None)):
                raise ValueError(f"a {cls.__name__} has no state {name!r}")
            expected = initial.get(name)
            if isinstance(expected, np.ndarray) and (
                value.shape != expected.shape or value.dtype != expected.dtype
            ):
                raise ValueError(
                    f"{name} of a {cls.__name__} must be {expected.dtype} of shape {expected.shape}, got "
                    f"{value.dtype} of shape {value.shape}"
                )
        vars(instance).update(state)
    return instance


class _Writer:
    """Describes an estimator in JSON, and collects its arrays."""

    def __init__(self) -> None:
        self.tensors = {}
        self._names = {cls: name for name, cls in _list_classes().items()}
        self._paths = {}  # id of an object that was described: its path

    def describe(self, value: Any, path: str) -> Any:
        """Return the JSON of a value, or raise a TypeError that names its path."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is list:
            return [self.describe(item, f"{path}[{k}]") for k, item in enumerate(value)]
        if type(value) is tuple:
            return {"tuple": self.describe(list(value), path)}
        if type(value) is dict:
            pairs = [(self.describe(key, path), key, item) for key, item in value.items()]
            return {"dict": [[key, self.describe(item, f"{path}[{name!r}]")] for key, name, item in pairs]}
        if isinstance(value, np.dtype) and value.kind in "biufU":
            return {"dtype": value.str}
        if isinstance(value, (np.ndarray, np.generic)):
            return self._describe_array(np.asarray(value), path)
        if id(value) in self._paths:
            return {"same": self._paths[id(value)]}
        if type(value) in self._names:
            self._paths[id(value)] = path
            arguments, state = _split_state(value)
            if state.get("bit_generator", "MT19937") != "MT19937":
                self._refuse(value, path)
            public = sorted(state, key=lambda name: name.startswith("_"))
            return {
                "class": self._names[type(value)],
                "arguments": {n: self.describe(arguments[n], _join(path, n)) for n in arguments},
                "state": {n: self.describe(state[n], _join(path, n)) for n in public},
            }
        return self._refuse(value, path)

    def _describe_array(self, array: Array, path: str) -> Any:
        """Return the JSON of an array; numbers become a tensor, other types and scalars stay in the JSON."""
        if array.dtype.kind not in "biufUO" or (array.dtype.itemsize > 8 and array.dtype.kind == "f"):
            self._refuse(array, path)
        if array.ndim and array.dtype.kind in "biuf":
            self.tensors[path] = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
            return {"tensor": path}
        items = self.describe(array.ravel().tolist(), path)
        return {"items": items, "dtype": array.dtype.str, "shape": list(array.shape)}

    def _refuse(self, value: Any, path: str) -> NoReturn:
        raise TypeError(
            f"save: {path} is {value!r} of {type(value)}, which a file without code cannot hold. Use "
            f"numbers, text, arrays and objects of skconvnet, or pickle the estimator."
        )


class _Reader:
    """Builds what a `_Writer` described; removes the arrays that it uses from the tensors."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self.tensors = tensors
        self._classes = _list_classes()
        self._built = {}  # path: the object that was built there

    def build(self, tree: Any, path: str) -> Any:
        """Return the value that a JSON tree describes."""
        if isinstance(tree, list):
            return [self.build(item, f"{path}[{k}]") for k, item in enumerate(tree)]
        if not isinstance(tree, dict):
            return tree
        if "tuple" in tree:
            return tuple(self.build(tree["tuple"], path))
        if "dict" in tree:
            pairs = [(self.build(key, path), item) for key, item in tree["dict"]]
            return {key: self.build(item, f"{path}[{key!r}]") for key, item in pairs}
        if "tensor" in tree:
            return np.array(self.tensors.pop(tree["tensor"]))  # a copy, which is writable
        if "items" in tree:
            array = np.empty(len(tree["items"]), tree["dtype"])
            for k, item in enumerate(tree["items"]):
                array[k] = self.build(item, path)
            return array.reshape(tree["shape"])[()]  # a NumPy scalar if there is no dimension
        if "dtype" in tree:
            return np.dtype(tree["dtype"])
        if "same" in tree:
            return self._built[tree["same"]]
        if tree["class"] not in self._classes:
            raise ValueError(
                f"the class {tree['class']} is not known; if it is your own, import its module first"
            )
        arguments, state = (
            {name: self.build(item, _join(path, name)) for name, item in tree[part].items()}
            for part in ("arguments", "state")
        )
        self._built[path] = _rebuild(self._classes[tree["class"]], arguments, state)
        return self._built[path]


def _join(path: str, name: str) -> str:
    """Return the path of an attribute of the object at a path."""
    return f"{path}.{name}" if path else name
