"""Files: a loaded estimator behaves as if it had never been saved; damaged or foreign files are refused."""

import copy
import json
import os
import pickle
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors
import safetensors.numpy
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skconvnet
from skconvnet import ConvNetClassifier, ConvNetRegressor, _files, load
from skconvnet.layers import (
    ELU,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2D,
    LayerNorm,
    LeakyReLU,
    LocallyConnected2D,
    MaxPool2D,
    Output,
    Parallel,
    PReLU,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
    Rescaling,
    Residual,
    Softmax,
    Standardize,
    Tanh,
    UpSample2D,
    ZeroPad2D,
)
from skconvnet.optimizers import SGD, Adam
from skconvnet.schedules import OneCycle, ReduceOnPlateau, Warmup

X = np.random.default_rng(0).random((60, 6, 5, 3))
y = np.arange(60) % 3
X[..., 0] += y.reshape(-1, 1, 1)

CONVOLUTIONS = [
    Conv2D(4, (3, 1), padding=((1, 1), (0, 0)), connections=np.eye(4, 3) + 1 > 1, name="stem"),
    BatchNorm(momentum=0.8),
    None,
    LeakyReLU(0.1),
    MaxPool2D(),
    Flatten(),
    Dense(7, activation=Tanh(), init="lecun_normal"),
    Output(bias=False),
]
OTHERS = [
    Rescaling(0.5, offset=-1),
    ZeroPad2D(((1, 0), (2, 1))),
    UpSample2D((1, 2), "bilinear"),
    Conv2DTranspose(3, 2, stride=(2, 1), output_padding=(1, 0)),
    PReLU(0.1),
    Conv2D(6, groups=3, activation=ELU(0.5)),
    LayerNorm(center=False, name="norm"),
    LocallyConnected2D(3, (2, 3), stride=2, padding="same", activation="gelu"),
    Softmax(),
    GlobalAvgPool2D(),
]
RESIDUAL = [
    Standardize(),
    Residual([Conv2D(2, padding="same"), BatchNorm(), Dropout(0.3)], name="block"),
    Residual([Dropout(0.2)], shortcut=[BatchNorm()]),
    Parallel([[Conv2D(2, 1), BatchNorm()], [Residual([Dropout(0.3)])], None, []], "max", name="merged"),
]
AUGMENTED = [
    *(Standardize(), RandomFlip(vertical=True), RandomShift((1, 0)), RandomCrop((5, 4), padding=(1, 0))),
    *(RandomRotation(5.5), RandomErasing(size=(0.1, 0.2), probability=0.3), GaussianNoise(0.2), Conv2D(2)),
]
PARAMS = {
    "default": {},
    "others": {"layers": OTHERS},
    "convolutions": {"layers": CONVOLUTIONS, "optimizer": SGD(momentum=0.9, nesterov=True)},
    "fields": {"layers": CONVOLUTIONS, "optimizer": Adam(beta_1=0.8, epsilon=1e-7), "batch_size": 7},
    "float32": {"layers": CONVOLUTIONS, "dtype": "float32", "learning_rate": np.float32(0.01)},
    "vectors": {"layers": [Dense(5)], "input_shape": None, "shuffle": False},
    "plateaus": {"learning_rate": ReduceOnPlateau(0.01, factor=0.5, patience=0, threshold=0.5)},
    "warmup": {"learning_rate": Warmup(ReduceOnPlateau(0.01, patience=0, threshold=0.5), 3)},
    "cycle": {"learning_rate": OneCycle(0.01, 6), "weight_decay": 0.01, "clip_norm": 0.1},
    "stopped": {"layers": RESIDUAL, "early_stopping": True, "scoring": "accuracy", "label_smoothing": 0.1},
    "augmented": {"layers": AUGMENTED, "dtype": "float32"},
    "warm": {"layers": RESIDUAL, "early_stopping": True, "warm_start": True, "dtype": "float32"},
    "weighted": {"class_weight": {0: 1, 1: 2.5, 2: np.float64(3)}},
    "balanced": {"class_weight": "balanced"},
}


def make_classifier(**params):
    return ConvNetClassifier(**{"max_iter": 2, "random_state": 0, **params})


def save_and_load(clf, folder):
    clf.save(folder / "model.safetensors")
    return load(folder / "model.safetensors")


def pickle_and_unpickle(clf, folder):
    return pickle.loads(pickle.dumps(clf))


def dump_and_load(clf, folder):
    joblib.dump(clf, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def forget_duration(history):
    return [{name: value for name, value in record.items() if name != "duration"} for record in history]


@pytest.fixture(params=[save_and_load, pickle_and_unpickle, dump_and_load])
def renew(request, tmp_path):
    """Return a function that writes an estimator and reads it again, in every possible way."""
    return lambda clf: request.param(clf, tmp_path)


class TestRoundTrip:
    @pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
    def test_continues_as_if_it_had_not_been_saved(self, renew, params):
        clf = make_classifier(**params)
        images = X.reshape(60, -1) if "input_shape" in params else X
        clf.fit(images, y)
        again = renew(clf)
        assert type(again) is type(clf) and again.get_params() == clf.get_params()
        assert list(map(type, again.get_params().values())) == list(map(type, clf.get_params().values()))
        np.testing.assert_array_equal(again.predict_proba(images), clf.predict_proba(images))
        assert set(vars(again)) == set(vars(clf))
        assert again.network_ is again._trainer.network
        if clf.class_weight != "balanced":
            for _ in range(2):
                clf.partial_fit(images, y)
                again.partial_fit(images, y)
            np.testing.assert_array_equal(again.network_.params, clf.network_.params)
            assert forget_duration(again.history_) == forget_duration(clf.history_)
            assert (again.t_, again.n_iter_) == (clf.t_, clf.n_iter_)
        other = clf if clf.warm_start else clone(clf)
        np.testing.assert_array_equal(
            again.fit(images, y).network_.params, other.fit(images, y).network_.params
        )

    @pytest.mark.parametrize(
        "labels",
        [
            np.array([3, -7, 5]),
            np.array([1, 2, 255], np.uint8),
            np.array(["cat", "ä", "dogs"]),
            np.array(["cat", "ä", "dogs"], dtype=object),
            np.array([0.0, 1.0, 2.0], np.float32),
            np.array([False, True, True]),
        ],
        ids=lambda labels: labels.dtype.name,
    )
    def test_labels(self, renew, labels):
        clf = make_classifier(layers=[], class_weight={labels.tolist()[1]: 2}).fit(X, labels[y])
        again = renew(clf)
        np.testing.assert_array_equal(again.predict(X), clf.predict(X))
        assert again.classes_.dtype == clf.classes_.dtype and again.predict(X).dtype == labels.dtype
        assert again.class_weight == clf.class_weight

    @pytest.mark.parametrize(
        "estimator, target",
        [
            (ConvNetClassifier(loss="binary_cross_entropy", label_smoothing=0.1), np.eye(3, dtype=int)[y]),
            (ConvNetClassifier(loss="binary_cross_entropy"), y == 1),
            (ConvNetClassifier(loss="squared_error"), y),
            (ConvNetRegressor(loss="huber"), y / 3),
            (ConvNetRegressor(), np.stack([y, X.mean(axis=(1, 2, 3))], axis=1)),
        ],
    )
    def test_other_targets(self, renew, estimator, target):
        first = clone(estimator).set_params(max_iter=2, random_state=0).fit(X, target)
        again = renew(first)
        for _ in range(2):
            np.testing.assert_array_equal(again.predict(X), first.predict(X))
            first.partial_fit(X, target), again.partial_fit(X, target)
        np.testing.assert_array_equal(again.network_.params, first.network_.params)

    def test_random_states(self, renew):
        for random_state in (None, 7, np.random.RandomState(7)):
            clf = make_classifier(layers=[], random_state=random_state).fit(X, y)
            again = renew(clf)
            if random_state is not clf._trainer.rng:
                assert again.random_state == random_state
            else:  # one generator draws both weights and orders, also after the round trip
                assert again.random_state is again._trainer.rng
            clf.partial_fit(X, y), again.partial_fit(X, y)
            np.testing.assert_array_equal(again.network_.params, clf.network_.params)
            if random_state is not None:
                clf.fit(X, y), again.fit(X, y)
                np.testing.assert_array_equal(again.network_.params, clf.network_.params)

    def test_the_second_of_two_normal_numbers_is_kept(self, renew):
        random_state = np.random.RandomState(3)
        random_state.standard_normal()  # draws two numbers and stores the second
        again = renew(make_classifier(random_state=random_state))
        assert again.random_state.standard_normal() == random_state.standard_normal()

    def test_names_of_columns(self, renew):
        frame = pd.DataFrame(X.reshape(60, -1)).rename(columns=lambda k: f"pixel {k}")
        clf = make_classifier().fit(frame, y)
        again = renew(clf)
        np.testing.assert_array_equal(again.feature_names_in_, frame.columns)
        np.testing.assert_array_equal(again.predict_proba(frame), clf.predict_proba(frame))

    def test_before_fit(self, renew):
        layers = [Conv2D(3, activation="relu"), AvgPool2D((2, 1), stride=1), Output(dense=False)]
        clf = make_classifier(layers=layers, input_shape=[4, 5])
        again = renew(clf)
        assert again.layers == layers and again.input_shape == [4, 5]
        assert vars(again) == vars(clf)

    def test_parameters_that_changed_since_fit(self, renew):
        clf = make_classifier(layers=CONVOLUTIONS).fit(X, y)
        clf.set_params(layers=[Dense(3)], optimizer="sgd", random_state=4)
        again = renew(clf)
        assert again.get_params() == clf.get_params()
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        with pytest.raises(ValueError, match="the fitted network has"):
            again.partial_fit(X, y)
        clf.fit(X, y), again.fit(X, y)
        np.testing.assert_array_equal(again.network_.params, clf.network_.params)

    def test_numbers_that_are_not_finite(self, renew):
        again = renew(make_classifier(learning_rate=float("inf"), max_iter=float("nan")))
        assert again.learning_rate == float("inf") and np.isnan(again.max_iter)


NAMESAKES = [type("Namesake", (SGD,), {}) for _ in range(2)]


class Renamed(ConvNetClassifier):
    """A class that a user derives from an estimator."""


def test_derived_classes(tmp_path):
    clf = Renamed([Dense(3)], random_state=0).fit(X, y)
    again = save_and_load(clf, tmp_path)
    assert type(again) is Renamed
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


class TestSave:
    def test_tensors_have_the_names_of_weights(self, tmp_path):
        clf = make_classifier(layers=CONVOLUTIONS).fit(X, y)
        clf.save(str(tmp_path / "model"))
        tensors = safetensors.numpy.load_file(tmp_path / "model")
        for name, weight in clf.network_.weights.items():
            np.testing.assert_array_equal(tensors[f"network_.{name}"], weight)

    def test_an_error_names_what_cannot_be_written_and_nothing_is_written(self, tmp_path):
        path = tmp_path / "model"
        for params, named in [
            ({"layers": [Dense(3), Dense(3, init=lambda *_: 0)]}, r"layers\[1\]\.init is <function"),
            ({"optimizer": SGD}, r"optimizer is <class 'skconvnet.optimizers.SGD'> of <class 'type'>"),
            ({"class_weight": {"cat": 1, "dog": print}}, r"class_weight\['dog'\] is <built-in"),
            ({"random_state": np.random.RandomState(np.random.PCG64(0))}, "random_state is RandomState"),
            ({"learning_rate": np.longdouble(1)}, "learning_rate is "),
            ({"learning_rate": np.array([1j])}, "learning_rate is "),
            ({"optimizer": NAMESAKES[0]()}, "optimizer is "),
            ({"optimizer": {1, 2}}, "optimizer is "),
        ]:
            clf = make_classifier(**params)
            with pytest.raises(TypeError, match=f"save: {named}"):
                clf.save(path)
            assert not os.listdir(tmp_path)

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_failure_leaves_the_older_file(self, tmp_path, monkeypatch, step):
        def fail(*_):
            raise OSError("No space left on device")

        path = tmp_path / "model"
        clf = make_classifier().fit(X, y)
        clf.save(path)
        before = clf.predict_proba(X)
        clf.partial_fit(X, y)
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space left"):
                clf.save(path)
        assert os.listdir(tmp_path) == ["model"]
        np.testing.assert_array_equal(load(path).predict_proba(X), before)
        clf.save(path)
        np.testing.assert_array_equal(load(path).predict_proba(X), clf.predict_proba(X))

    def test_the_file_has_usual_permissions_and_links_are_followed(self, tmp_path):
        path, link = tmp_path / "model", tmp_path / "link"
        make_classifier().save(path)
        (tmp_path / "other").touch()
        assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
        link.symlink_to(path)
        make_classifier(max_iter=9).save(link)
        assert link.is_symlink() and load(path).max_iter == 9
        with pytest.raises(IsADirectoryError):
            make_classifier().save(tmp_path)
        with pytest.raises(FileNotFoundError):
            make_classifier().save(tmp_path / "none" / "model")

    def test_without_safetensors(self, tmp_path, monkeypatch):
        make_classifier().save(tmp_path / "model")
        monkeypatch.setitem(sys.modules, "safetensors", None)
        monkeypatch.delitem(sys.modules, "safetensors.numpy")
        for call in (make_classifier().save, load):
            with pytest.raises(ImportError, match=r"pip install skconvnet\[safetensors\]"):
                call(tmp_path / "model")


class TestLoad:
    """A file that is incomplete, damaged or foreign leads to a ValueError that names the file."""

    @pytest.fixture
    def path(self, tmp_path):
        make_classifier(layers=CONVOLUTIONS, random_state=np.random.RandomState(0)).fit(X, y).save(
            tmp_path / "model"
        )
        return tmp_path / "model"

    def rewrite(self, path, change):
        """Change a file's metadata, tree and tensors, and write the matching checksum."""
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        tensors = safetensors.numpy.load_file(path)
        tree = json.loads(metadata["estimator"])
        change(metadata, tree, tensors)
        metadata["estimator"] = json.dumps(tree)
        metadata["sha256"] = _files._compute_checksum(metadata["estimator"], tensors)
        path.write_bytes(safetensors.numpy.save(tensors, metadata))

    def test_cut_short(self, path):
        whole = path.read_bytes()
        for n in [*range(20), *range(20, len(whole), 499), len(whole) - 1]:
            path.write_bytes(whole[:n])
            with pytest.raises(ValueError, match="load: .*model is not a safetensors file, or it is damaged"):
                load(path)

    def test_too_long(self, path):
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(ValueError, match="model is not a safetensors file, or it is damaged"):
            load(path)

    def test_any_damaged_bit(self, path):
        whole, rng = path.read_bytes(), np.random.RandomState(0)
        versions = whole.find(b'"skconvnet":"'), whole.find(b'"skconvnet":"') + 40
        for offset in rng.randint(0, len(whole), 300):
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << rng.randint(8)
            path.write_bytes(damaged)
            if not versions[0] <= offset < versions[1] and damaged[offset] != ord("\t"):
                with pytest.raises(ValueError, match="model"):
                    load(path)

    def test_foreign(self, path):
        for data in (pickle.dumps(make_classifier()), b"", b"\x89PNG", b"\0" * 1000):
            path.write_bytes(data)
            with pytest.raises(ValueError, match="model is not a safetensors file, or it is damaged"):
                load(path)
        for metadata in (None, {"format": "pt"}):
            path.write_bytes(safetensors.numpy.save({"weight": np.ones(3)}, metadata))
            with pytest.raises(ValueError, match="model was not written by skconvnet"):
                load(path)
        os.remove(path)
        with pytest.raises(FileNotFoundError):
            load(path)

    def test_newer_format(self, path):
        self.rewrite(path, lambda m, _, __: m.update(format=str(_files.FORMAT + 1), skconvnet="9.0"))
        with pytest.raises(ValueError, match=r"model was written by skconvnet 9.0 in format 2.*Upgrade"):
            load(path)
        self.rewrite(path, lambda m, _, __: m.update(format="new"))
        with pytest.raises(ValueError, match="its format should be a number, got 'new'"):
            load(path)

    def test_wrong_checksum(self, path):
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        tensors = safetensors.numpy.load_file(path)
        tensors["network_.output.weight"] = tensors["network_.output.weight"] + 1
        path.write_bytes(safetensors.numpy.save(tensors, metadata))
        with pytest.raises(ValueError, match="model is damaged: .* the checksum of its contents"):
            load(path)

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda m, t, a: t.update({"class": "os.system"}), "the class os.system is not known"),
            (lambda m, t, a: t.update({"class": "Trainer"}), "TypeError"),
            (lambda m, t, a: t["arguments"].update(colour=1), "unexpected keyword argument 'colour'"),
            (lambda m, t, a: t["state"].update(predict=1), "a ConvNetClassifier has no state 'predict'"),
            (lambda m, t, a: t["state"].update(max_iter=1), "a ConvNetClassifier has no state 'max_iter'"),
            (
                lambda m, t, a: t["arguments"]["layers"][1]["state"].update(momentum=5),
                "a BatchNorm has no state 'momentum'",
            ),
            (
                lambda m, t, a: t["arguments"]["layers"][1]["arguments"].update(momentum=5),
                "BatchNorm: momentum must be",
            ),
            (
                lambda m, t, a: t["state"]["_trainer"]["state"].update(network=1),
                "a Trainer has no state 'network'",
            ),
            (lambda m, t, a: t["state"]["_trainer"]["state"].update(steps=5), "AttributeError"),
            (
                lambda m, t, a: a.update({"_trainer._state": np.zeros((2, 3))}),
                r"_state of a Trainer must be float64 of shape \(2, .*\), got float64 of shape \(2, 3\)",
            ),
            (
                lambda m, t, a: a.update({"_trainer.steps": np.zeros(1, np.int32)}),
                "steps of a Trainer must be int64",
            ),
            (lambda m, t, a: a.update({"network_.output.weight": np.zeros((3, 3))}), "must have shape"),
            (lambda m, t, a: a.update({"network_.1.running_var": -np.ones(4)}), "running_var"),
            (lambda m, t, a: t["state"]["network_"]["state"].pop("stem.bias"), r"missing \['stem.bias'\]"),
            (
                lambda m, t, a: t["arguments"]["random_state"]["state"]["state"]["dict"][1].__setitem__(
                    1, 10**8
                ),
                "a RandomState has no position 100000000",
            ),
            (lambda m, t, a: a.pop("classes_"), "KeyError: 'classes_'"),
            (lambda m, t, a: a.update(more=np.ones(2)), r"with \['more'\] left over"),
            (
                lambda m, t, a: t["arguments"]["layers"][6]["arguments"].update(units=2**62),
                "ValueError",
            ),
            (lambda m, t, a: t["arguments"].update(layers={"same": "missing"}), "KeyError: 'missing'"),
            (lambda m, t, a: t["arguments"].update(layers={"thing": 1}), "KeyError: 'class'"),
            (lambda m, t, a: t["arguments"].update(verbose={"dict": [[[], 1]]}), "unhashable"),
            (lambda m, t, a: (t.clear(), a.clear(), t.update({"tuple": []})), r"tuple with \[\] left over"),
        ],
    )
    def test_contents_that_do_not_fit(self, path, change, message):
        self.rewrite(path, change)
        with pytest.raises(ValueError, match=f"model is damaged: .*{message}"):
            load(path)

    def test_deep_trees(self, path):
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        metadata["estimator"] = "[" * 100_000 + "]" * 100_000
        metadata["sha256"] = _files._compute_checksum(metadata["estimator"], {})
        path.write_bytes(safetensors.numpy.save({}, metadata))
        with pytest.raises(ValueError, match="model is damaged: RecursionError"):
            load(path)

    def test_classes_that_the_network_does_not_have(self, path):
        self.rewrite(path, lambda m, t, a: a.update(classes_=np.arange(1000)))
        clf = load(path)
        with pytest.raises(ValueError, match="target must be from 0 to 2, got 0 to 999"):
            clf.partial_fit(X, np.where(y == 1, 999, y))

    def test_runs_no_code(self, path):
        load(path)  # so that all imports are done
        events, listening = [], True

        def listen(event, _):
            if listening:
                events.append(event)

        sys.addaudithook(listen)  # it stays, because hooks cannot be removed
        load(path)
        open(path).close()  # to check that the hook works
        listening = False
        assert "open" in events
        assert not [e for e in events if e.startswith(("exec", "compile", "import", "pickle", "os."))]


class TestVersions:
    def test_another_version_warns(self):
        clf = make_classifier()
        for version, shown in [("0.0.1", "0.0.1"), (None, "unknown")]:
            state = clf.__getstate__()
            assert state.pop("_skconvnet_version") == skconvnet.__version__
            if version:
                state["_skconvnet_version"] = version
            again = ConvNetClassifier()
            message = (
                f"ConvNetClassifier was pickled by skconvnet {shown}, and this is {skconvnet.__version__}"
            )
            with pytest.warns(UserWarning, match=message):
                again.__setstate__(state)
            assert vars(again) == vars(clf)

    def test_a_newer_major_version_is_refused(self):
        major = int(skconvnet.__version__.partition(".")[0]) + 1
        state = {**make_classifier().__getstate__(), "_skconvnet_version": f"{major}.0.0"}
        again = make_classifier(max_iter=9)
        with pytest.raises(ValueError, match=rf"pickled by skconvnet {major}.0.0, .* Upgrade skconvnet"):
            again.__setstate__(state)
        assert again.max_iter == 9

    def test_the_same_version_does_not_warn_and_is_not_kept(self):
        clf = make_classifier().fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for again in (copy.copy(clf), copy.deepcopy(clf), clone(clf), pickle.loads(pickle.dumps(clf))):
                assert "_skconvnet_version" not in vars(again)

    def test_copies_train_independently(self):
        clf = make_classifier().fit(X, y)
        before = clf.predict_proba(X)
        for again in (copy.copy(clf), copy.deepcopy(clf)):
            again.partial_fit(X, y)
            assert (again.predict_proba(X) != before).any()
        np.testing.assert_array_equal(clf.predict_proba(X), before)

    def test_memory_mapped_pipeline(self, tmp_path):
        pipe = make_pipeline(StandardScaler(), make_classifier()).fit(X.reshape(60, -1), y)
        joblib.dump(pipe, tmp_path / "pipe")
        again = joblib.load(tmp_path / "pipe", mmap_mode="r")
        np.testing.assert_array_equal(
            again.predict_proba(X.reshape(60, -1)), pipe.predict_proba(X.reshape(60, -1))
        )
        again[-1].save(tmp_path / "model")
        np.testing.assert_array_equal(load(tmp_path / "model").network_.params, pipe[-1].network_.params)
