"""Image data sets: files that are read, and errors of truncated, foreign and hostile ones."""

import gzip
import os
import pickle
import struct

import numpy as np
import pytest
from sklearn.utils import Bunch

from skconvnet import ConvNetClassifier, datasets
from skconvnet.datasets import fetch_mnist, read_cifar10, read_idx

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}


def make_idx(array, kind=0x08):
    """Return an IDX file by its specification."""
    head = bytes([0, 0, kind, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return head + array.astype(f">{IDX_TYPES[kind]}").tobytes()


class TestReadIdx:
    array = np.arange(24).reshape(2, 3, 4)

    @pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
    @pytest.mark.parametrize("kind", IDX_TYPES)
    def test_types(self, tmp_path, kind, compress):
        path = tmp_path / "images"
        path.write_bytes(compress(make_idx(self.array, kind)))
        read = read_idx(path)
        np.testing.assert_array_equal(read, self.array)
        assert read.dtype == IDX_TYPES[kind] and read.dtype.isnative and read.flags.writeable

    @pytest.mark.parametrize("shape", [(), (5,), (0, 28, 28), (1, 2, 3, 4, 5)])
    def test_dimensions(self, tmp_path, shape):
        path = tmp_path / "images"
        path.write_bytes(make_idx(np.ones(shape)))
        assert read_idx(str(path)).shape == shape

    def test_every_cut_is_told(self, tmp_path):
        path = tmp_path / "images"
        for whole in (make_idx(self.array), gzip.compress(make_idx(self.array))):
            for n in range(len(whole)):
                path.write_bytes(whole[:n])
                with pytest.raises(ValueError, match=r"read_idx: .*images"):
                    read_idx(path)

    def test_too_long(self, tmp_path):
        path = tmp_path / "images"
        path.write_bytes(make_idx(self.array) + b"\0")
        with pytest.raises(ValueError, match=r"has 41 bytes, expected 40 for 3 dimensions, \(2, 3, 4\)"):
            read_idx(path)

    def test_wrong_count(self, tmp_path):
        path = tmp_path / "images"
        path.write_bytes(make_idx(self.array).replace(struct.pack(">I", 2), b"\xff" * 4, 1))
        with pytest.raises(ValueError, match="cut short or damaged"):
            read_idx(path)

    @pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", b"\0\0\x0a\1\0\0\0\0", b"\0\1\x08\0"])
    def test_foreign(self, tmp_path, data):
        path = tmp_path / "images"
        path.write_bytes(data)
        with pytest.raises(ValueError, match="images is not an IDX file: it starts with"):
            read_idx(path)

    def test_damaged_gzip(self, tmp_path):
        path = tmp_path / "images"
        whole = bytearray(gzip.compress(make_idx(self.array)))
        whole[-8] ^= 1  # the checksum
        path.write_bytes(whole)
        with pytest.raises(ValueError, match="cut short or damaged: CRC"):
            read_idx(path)

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_idx(tmp_path / "images")


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its str, and NumPy's modules by their names of that time."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, data):
        self.write(b"T" + struct.pack("<i", len(data)) + data)

    dispatch[bytes] = save_bytes

    def save_text(self, text):
        self.save_bytes(text.encode())

    dispatch[str] = save_text

    def save_global(self, thing, name=None):
        names = {"_reconstruct": "numpy.core.multiarray", "ndarray": "numpy"}
        name = name or thing.__name__
        self.write(f"c{names.get(name, thing.__module__)}\n{name}\n".encode())

    dispatch[type] = save_global
    dispatch[type(np.empty)] = save_global


def make_batch(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, n)


BATCHES = {
    **{f"data_batch_{k}": make_batch(4, k) for k in range(1, 6)},
    "test_batch": make_batch(3, 9),
}


def write_binary(folder):
    for name, (images, labels) in BATCHES.items():
        records = [bytes([y]) + x.transpose(2, 0, 1).tobytes() for x, y in zip(images, labels)]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")


def write_python_2(folder):
    for name, (images, labels) in BATCHES.items():
        rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        with open(folder / name, "wb") as file:
            Python2Pickler(file, protocol=2).dump(
                {b"batch_label": b"batch", b"labels": labels.tolist(), b"data": rows}
            )
    with open(folder / "batches.meta", "wb") as file:
        Python2Pickler(file, protocol=2).dump({b"label_names": [name.encode() for name in NAMES]})


def write_python_3(folder):
    for name, (images, labels) in BATCHES.items():
        rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))
        (folder / name).write_bytes(pickle.dumps({b"labels": labels.tolist(), b"data": rows}, protocol=4))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [n.encode() for n in NAMES]}))


class TestReadCifar10:
    @pytest.mark.parametrize("write", [write_binary, write_python_2, write_python_3])
    def test_all_forms(self, tmp_path, write):
        write(tmp_path)
        read = read_cifar10(tmp_path)
        train = [BATCHES[f"data_batch_{k}"] for k in range(1, 6)]
        np.testing.assert_array_equal(read.X_train, np.concatenate([x for x, _ in train]))
        np.testing.assert_array_equal(read.y_train, np.concatenate([y for _, y in train]))
        np.testing.assert_array_equal(read.X_test, BATCHES["test_batch"][0])
        np.testing.assert_array_equal(read.y_test, BATCHES["test_batch"][1])
        assert read.X_train.dtype == read.X_test.dtype == np.uint8
        assert read.y_train.dtype == read.y_test.dtype == np.int64
        assert read.target_names == NAMES
        ConvNetClassifier(max_iter=1).fit(read.X_train, read.y_train)

    @pytest.mark.parametrize(
        "write, meta", [(write_binary, "batches.meta.txt"), (write_python_2, "batches.meta")]
    )
    def test_class_names(self, tmp_path, write, meta):
        write(tmp_path)
        (tmp_path / meta).write_bytes(pickle.dumps({b"label_names": [b"cat"]}))
        with pytest.raises(ValueError, match=f"{meta} has .* names of classes, expected 10"):
            read_cifar10(tmp_path)
        os.remove(tmp_path / meta)
        assert read_cifar10(tmp_path).target_names is None

    @pytest.mark.parametrize(
        "write, name", [(write_binary, "data_batch_3.bin"), (write_python_2, "test_batch")]
    )
    def test_missing(self, tmp_path, write, name):
        write(tmp_path)
        os.remove(tmp_path / name)
        with pytest.raises(FileNotFoundError, match=f"there is no .*{name}; expected"):
            read_cifar10(tmp_path)

    @pytest.mark.parametrize(
        "write, name", [(write_binary, "data_batch_3.bin"), (write_python_2, "test_batch")]
    )
    def test_unreadable(self, tmp_path, write, name):
        write(tmp_path)
        os.remove(tmp_path / name)
        os.mkdir(tmp_path / name)  # a permission would not stop root from reading
        with pytest.raises(OSError, match=name):
            read_cifar10(tmp_path)

    @pytest.mark.parametrize("n", [0, 1, 3072, 4 * 3073 - 1, 4 * 3073 + 1])
    def test_binary_of_wrong_length(self, tmp_path, n):
        write_binary(tmp_path)
        path = tmp_path / "test_batch.bin"
        path.write_bytes(bytes(n))
        with pytest.raises(ValueError, match=rf"test_batch.bin has {n} bytes, expected one or more"):
            read_cifar10(tmp_path)

    def test_batch_cut_between_records(self, tmp_path):
        write_binary(tmp_path)
        path = tmp_path / "data_batch_2.bin"
        path.write_bytes(path.read_bytes()[: 3 * 3073])
        with pytest.raises(ValueError, match=r"have \[4, 3, 4, 4, 4\] images"):
            read_cifar10(tmp_path)

    def test_foreign_binary(self, tmp_path):
        write_binary(tmp_path)
        (tmp_path / "data_batch_2.bin").write_bytes(b"\x20" * 4 * 3073)
        with pytest.raises(ValueError, match=r"data_batch_2.bin has labels from 32 to 32"):
            read_cifar10(tmp_path)

    def test_pickle_cut_short(self, tmp_path):
        write_python_2(tmp_path)
        path = tmp_path / "data_batch_1"
        whole = path.read_bytes()
        for n in [*range(200), len(whole) // 2, len(whole) - 1]:
            path.write_bytes(whole[:n])
            with pytest.raises(ValueError, match="data_batch_1 is damaged or of another kind"):
                read_cifar10(tmp_path)

    @pytest.mark.parametrize(
        "batch, message",
        [
            ([1], "has a list, expected a dict"),
            ({b"labels": [1]}, 'has no b"data"'),
            ({b"data": np.zeros((4, 3072)), b"labels": [1] * 4}, 'has no b"data", an array of uint8'),
            ({b"data": np.zeros((4, 3072), np.uint8)}, 'has no b"labels"'),
            (
                {b"data": np.zeros((4, 3072), np.uint8), b"labels": ["cat"] * 4},
                'has no b"labels", a list of int',
            ),
            ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [1] * 3}, "a row for each of its labels"),
            (
                {b"data": np.zeros((4, 28), np.uint8), b"labels": [1] * 4},
                r"shape \(4, 28\), expected \(4, 3072\)",
            ),
        ],
    )
    def test_foreign_pickle(self, tmp_path, batch, message):
        write_python_2(tmp_path)
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=4))
        with pytest.raises(ValueError, match=message):
            read_cifar10(tmp_path)

    def test_a_pickle_cannot_call(self, tmp_path):
        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "done"),)

        write_python_2(tmp_path)
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Hostile()}))
        with pytest.raises(ValueError, match="asks for posix.mkdir, which no batch of images needs"):
            read_cifar10(tmp_path)
        assert not (tmp_path / "done").exists()


def test_fetch_mnist(monkeypatch):
    images = np.arange(3 * 784).reshape(3, 28, 28) % 256

    def fetch_openml(name, *, version, data_home, as_frame, parser):
        assert (name, version, data_home, as_frame, parser) == ("mnist_784", 1, "here", False, "liac-arff")
        target = np.array(["5", "0", "4"], dtype=object)
        return Bunch(data=images.reshape(3, 784).astype(np.float64), target=target, DESCR="digits")

    monkeypatch.setattr(datasets, "fetch_openml", fetch_openml)
    digits = fetch_mnist(data_home="here")
    np.testing.assert_array_equal(digits.data, images)
    np.testing.assert_array_equal(digits.target, [5, 0, 4])
    assert digits.data.dtype == np.uint8 and digits.target.dtype == np.int64
    assert digits.target_names[5] == "5" and digits.DESCR == "digits"
    X, y = fetch_mnist(data_home="here", return_X_y=True)
    np.testing.assert_array_equal(X, digits.data)
    np.testing.assert_array_equal(y, digits.target)
