"""Well-known image data sets, from files and from OpenML, in the form that the estimators take."""

import gzip
import io
import math
import os
import pickle
import zlib
from typing import Any, Literal, overload

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.utils import Bunch

from skconvnet._advice import guide_imports
from skconvnet._types import Array, Path

__all__ = ["fetch_mnist", "read_cifar10", "read_idx"]

# third byte of an IDX file: the type of its elements
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CIFAR_SHAPE = (3, 32, 32)  # as stored; a record of the binary form is a label and an image
_CIFAR_FILES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]


def read_idx(path: Path) -> Array:
    """Read an IDX file, the format of MNIST, plain or compressed with gzip.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    array : ndarray
        An array of the file's shape and type: uint8, int8, int16, int32, float32 or float64. MNIST's images
        are uint8 of shape (n, 28, 28), its labels uint8 of shape (n,).

    Raises
    ------
    OSError
        If the file cannot be read; a FileNotFoundError if there is none.
    ValueError
        If the file is not an IDX file, or is shorter or longer than its header says.

    References
    ----------
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits".

    Examples
    --------
    >>> import os, tempfile
    >>> from skconvnet.datasets import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels-idx1-ubyte")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    path = os.fspath(path)
    data = _read_file(path)
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"read_idx: {path} is cut short or damaged: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise ValueError(
            f"read_idx: {path} is not an IDX file: it starts with {data[:4].hex(' ') or 'nothing'}, expected "
            f"00 00, a type of {', '.join(f'{kind:02x}' for kind in _IDX_TYPES)}, the number of dimensions."
        )
    dtype, start = np.dtype(_IDX_TYPES[data[2]]), 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[k : k + 4], "big") for k in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(
            f"read_idx: {path} has {len(data)} bytes, expected {expected} for {data[3]} dimensions, "
            f"{shape}, of {dtype.name}. It is cut short or damaged; download it again."
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_cifar10(folder: Path) -> Bunch:
    """Read the CIFAR-10 images from the files that their authors distribute.

    Parameters
    ----------
    folder : str or path-like
        Contains data_batch_1 to data_batch_5 and test_batch: with the ending .bin, the binary version;
        without, the Python version, from which only arrays and plain values are unpickled.

    Returns
    -------
    images : Bunch
        With `X_train` of shape (50000, 32, 32, 3) and `X_test` of shape (10000, 32, 32, 3), uint8;
        `y_train` and `y_test`, int64 from 0 to 9; `target_names`, the names of the classes if the
        folder has batches.meta or batches.meta.txt, else None.

    Raises
    ------
    FileNotFoundError
        If a batch is missing.
    OSError
        If a file cannot be read.
    ValueError
        If a file is damaged or of another kind, or the training batches differ in size.

    References
    ----------
    Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Examples
    --------
    >>> from skconvnet.datasets import read_cifar10
    >>> images = read_cifar10("cifar-10-batches-bin")  # doctest: +SKIP
    >>> clf.fit(images.X_train / 255, images.y_train)  # doctest: +SKIP
    """
    folder = os.fspath(folder)
    binary = os.path.exists(os.path.join(folder, f"{_CIFAR_FILES[0]}.bin"))
    paths = [os.path.join(folder, f"{name}{'.bin' * binary}") for name in _CIFAR_FILES]
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"read_cifar10: there is no {path}; expected {', '.join(_CIFAR_FILES)}, with or without .bin."
            )
    batches = [(_read_binary_batch if binary else _read_pickled_batch)(path) for path in paths]
    for path, (_, labels) in zip(paths, batches):
        if not 0 <= labels.min() <= labels.max() <= 9:
            raise ValueError(
                f"read_cifar10: {path} has labels from {labels.min()} to {labels.max()}, expected 0 to 9."
            )
    sizes = [len(images) for images, _ in batches[:-1]]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"read_cifar10: the training batches in {folder} have {sizes} images, expected the "
            f"same number in all five. A file is cut short; download it again."
        )
    X_train, y_train = (np.concatenate(parts) for parts in zip(*batches[:-1]))
    X_test, y_test = batches[-1]
    return Bunch(
        X_train=X_train,
        y_train=y_train,
        X_test=X_test,
        y_test=y_test,
        target_names=_read_class_names(folder, binary),
    )


@overload
def fetch_mnist(*, data_home: Path | None = None, return_X_y: Literal[False] = False) -> Bunch: ...
@overload
def fetch_mnist(*, data_home: Path | None = None, return_X_y: Literal[True]) -> tuple[Array, Array]: ...
def fetch_mnist(*, data_home: Path | None = None, return_X_y: bool = False) -> Bunch | tuple[Array, Array]:
    """Fetch the MNIST images of handwritten digits from OpenML, and cache them on the disk.

    The first 60000 are the training images, the last 10000 the test images.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder in which scikit-learn keeps data; None means ``~/scikit_learn_data``.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    digits : Bunch
        With `data` of shape (70000, 28, 28), uint8 from 0 to 255; `target` of shape (70000,),
        int64 from 0 to 9; `target_names`; `DESCR`, OpenML's description.

    See Also
    --------
    sklearn.datasets.fetch_openml : The function that fetches the images, and its errors.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998).

    Examples
    --------
    >>> from skconvnet.datasets import fetch_mnist
    >>> X, y = fetch_mnist(return_X_y=True)  # doctest: +SKIP
    >>> X_train, X_test, y_train, y_test = X[:60000], X[60000:], y[:60000], y[60000:]  # doctest: +SKIP
    """
    # liac-arff, because the default needs pandas
    digits = fetch_openml("mnist_784", version=1, data_home=data_home, as_frame=False, parser="liac-arff")
    data = digits.data.astype(np.uint8).reshape(-1, 28, 28)
    target = digits.target.astype(np.int64)
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, target_names=list("0123456789"), DESCR=digits.DESCR)


def _read_file(path: str) -> bytes:
    """Return all bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def _read_binary_batch(path: str) -> tuple[Array, Array]:
    """Return images (n, 32, 32, 3) and labels (n,) from records of a label and 3 planes of 32 rows."""
    data, size = _read_file(path), 1 + math.prod(_CIFAR_SHAPE)
    if not data or len(data) % size:
        raise ValueError(
            f"read_cifar10: {path} has {len(data)} bytes, expected one or more records of {size}. It is "
            f"cut short, or of another kind."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    return _put_channels_last(records[:, 1:]), records[:, 0].astype(np.int64)


def _read_pickled_batch(path: str) -> tuple[Array, Array]:
    """Return images (n, 32, 32, 3) and labels (n,) from a pickled dict of rows and labels."""
    batch = _unpickle(path)
    rows, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or not rows.size:
        raise ValueError(f'read_cifar10: {path} has no b"data", an array of uint8.')
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError(f'read_cifar10: {path} has no b"labels", a list of int.')
    if rows.shape != (len(labels), math.prod(_CIFAR_SHAPE)):
        raise ValueError(
            f"read_cifar10: {path} has data of shape {rows.shape}, expected "
            f"({len(labels)}, {math.prod(_CIFAR_SHAPE)}), a row for each of its labels."
        )
    return _put_channels_last(rows), np.array(labels, np.int64)


def _put_channels_last(rows: Array) -> Array:
    """Turn rows of planes into images (n, 32, 32, 3)."""
    return np.ascontiguousarray(rows.reshape(-1, *_CIFAR_SHAPE).transpose(0, 2, 3, 1))


def _read_class_names(folder: str, binary: bool) -> list[str] | None:
    """Return the ten names of the file that has them; None without it."""
    path = os.path.join(folder, "batches.meta.txt" if binary else "batches.meta")
    if not os.path.exists(path):
        return None
    try:
        raw = _read_file(path).split(b"\n") if binary else _unpickle(path)[b"label_names"]
        names = [name.decode().strip() for name in raw]
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError):
        names = []
    names = [name for name in names if name]
    if len(names) != 10:
        raise ValueError(f"read_cifar10: {path} has {len(names)} names of classes, expected 10.")
    return names


def _unpickle(path: str) -> dict[Any, Any]:
    """Return the dict that a file of the Python version holds, and refuse anything else."""
    data = _read_file(path)
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged file may lead to any exception
        raise ValueError(
            f"read_cifar10: {path} is damaged or of another kind: {type(error).__name__}: {error}"
        ) from None
    if not isinstance(batch, dict):
        raise ValueError(f"read_cifar10: {path} has a {type(batch).__name__}, expected a dict.")
    return batch


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain values and arrays; a pickle that calls anything else raises."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")


guide_imports(__name__)
