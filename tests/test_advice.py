"""Arguments that values and estimators refuse, and what they say to write instead."""

import copy
import inspect
import pickle
from dataclasses import replace

import numpy as np
import pytest
import sklearn
from sklearn.base import clone

from skconvnet import ConvNetClassifier, ConvNetRegressor, optimizers
from skconvnet.architectures import lenet5
from skconvnet.layers import (
    Augment,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    LocallyConnected2D,
    MaxPool2D,
    Output,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
    ReLU,
    Residual,
)
from skconvnet.optimizers import SGD, Adam, Optimizer
from skconvnet.schedules import CosineDecay, OneCycle, ReduceOnPlateau, Schedule


@pytest.mark.parametrize("name", sorted(set(optimizers.OPTIMIZERS.values()), key=lambda c: c.__name__))
def test_an_optimizer_takes_no_learning_rate(name):
    message = (
        rf"{name.__name__} takes no learning rate: set ConvNetClassifier\(learning_rate=0.001\); its own"
    )
    with pytest.raises(TypeError, match=message):
        name(1e-3)
    with pytest.raises(
        TypeError, match=r"keyword argument 'lr'\. Set learning_rate of the estimator\. Valid"
    ):
        name(lr=1e-3)


@pytest.mark.parametrize(
    ("kind", "arguments", "meant"),
    [
        (Conv2D, {"out_channels": 8}, "filters"),
        (Conv2D, {"kernel": 3}, "kernel_size"),
        (Conv2D, {"strides": 2}, "stride"),
        (Conv2D, {"dilation_rate": 2}, "dilation"),
        (Conv2D, {"activaton": "relu"}, "activation"),
        (MaxPool2D, {"kernel_size": 2}, "pool_size"),
        (MaxPool2D, {"size": 2}, "pool_size"),
        (Dense, {"out_features": 2}, "units"),
        (Dense, {"use_bias": True}, "bias"),
        (Dense, {"kernel_initializer": "zeros"}, "init"),
        (Dropout, {"p": 0.5}, "rate"),
        (BatchNorm, {"eps": 1e-3}, "epsilon"),
        (RandomRotation, {"factor": 0.1}, "degrees"),
        (Adam, {"eps": 1e-8}, "epsilon"),
        (Adam, {"beta1": 0.9}, "beta_1"),
        (CosineDecay, {"lr": 0.1}, "initial_learning_rate"),
        (OneCycle, {"max_lr": 0.1}, "max_learning_rate"),
        (ReduceOnPlateau, {"learning_rate": 0.1}, "initial_learning_rate"),
        (ConvNetClassifier, {"lr": 0.1}, "learning_rate"),
        (ConvNetClassifier, {"learning_rate_init": 0.1}, "learning_rate"),
        (ConvNetRegressor, {"epochs": 3}, "max_iter"),
        (ConvNetRegressor, {"alpha": 3}, "weight_decay"),
        (ConvNetClassifier, {"solver": "adam"}, "optimizer"),
        (ConvNetClassifier, {"hidden_layer_sizes": (100,)}, "layers"),
        (ConvNetClassifier, {"module": None}, "layers"),
        (ConvNetClassifier, {"n_jobs": 2}, "n_threads"),
        (ConvNetClassifier, {"validation_split": 0.1}, "validation_fraction"),
        (ConvNetClassifier, {"patience": 3}, "n_iter_no_change"),
        (ConvNetClassifier, {"criterion": "mse"}, "loss"),
        (ConvNetClassifier, {"metrics": ["accuracy"]}, "scoring"),
    ],
)
def test_a_wrong_keyword_gets_the_right_one(kind, arguments, meant):
    (wrong,) = arguments
    message = (
        rf"{kind.__name__} got an unexpected keyword argument '{wrong}'\. Did you mean '{meant}'\? Valid: "
    )
    with pytest.raises(TypeError, match=message):
        kind(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2D(8, in_channels=3), "It is found from the data: leave it out"),
        (lambda: Dense(8, input_shape=(3,)), "It is found from the data: leave it out"),
        (lambda: Dense(8, colour=3), r"'colour'\. Valid: activation, bias, init, name, units\.$"),
        (lambda: Adam(weight_decay=0.1), "Set weight_decay of the estimator"),
        (lambda: ConvNetClassifier(callbacks=[]), r"set_callbacks\(\.\.\.\)"),
        (lambda: ConvNetRegressor(device="cpu"), "It runs on the CPU: leave it out"),
        (
            lambda: Conv2D(8, 3, 2),
            r"^Conv2D takes filters and kernel_size by position: write Conv2D\(8, 3, stride=2\), or, if the first "
            r"are channels in and out as in PyTorch, Conv2D\(3, 2\)\.$",
        ),
        (lambda: Conv2D(1, 8, 3, 2, 1), r"in PyTorch, Conv2D\(8, 3, stride=2, padding=1\)\.$"),
        (
            lambda: Conv2D(1, 8, 3, padding=1),
            r"padding=1, stride=3\), or, .* in PyTorch, Conv2D\(8, 3, padding=1\)\.$",
        ),
        (lambda: Conv2D(64, 8, 0), r"write Conv2D\(64, 8, padding=0\)\.$"),
        (lambda: Conv2D(0, 8, 3), r"Conv2D finds its channels from the data: write Conv2D\(8, 3\)\.$"),
        (lambda: Conv2D(8, (3, 3), "same"), r"position: write Conv2D\(8, \(3, 3\), padding='same'\)\.$"),
        (
            lambda: Conv2D(8, (3, 3), (2, 2), "same"),
            r"write Conv2D\(8, \(3, 3\), stride=\(2, 2\), padding='same'\)\.$",
        ),
        (lambda: Conv2D(8, 3, "relu"), r"write Conv2D\(8, 3, activation='relu'\)\.$"),
        (lambda: Conv2D(8, 3, "foo"), r"Conv2D takes filters and kernel_size by position\.$"),
        (
            lambda: Dense(10, "relu"),
            r"Dense takes units by position: write Dense\(10, activation='relu'\)\.$",
        ),
        (lambda: LocallyConnected2D(1, 8, 3), r"PyTorch, LocallyConnected2D\(8, 3\)"),
        (lambda: Dense(64, 128), r"Dense finds its inputs from the data: write Dense\(128\)"),
        (lambda: MaxPool2D((2, 2), 2, "same"), r"write MaxPool2D\(\(2, 2\), stride=2, padding='same'\)\.$"),
        (lambda: ConvNetClassifier([Dense(3)], (8, 8)), r"\(\[Dense\(units=3\)\], input_shape=\(8, 8\)\)"),
        (lambda: BatchNorm(8), r"write BatchNorm\(\)"),
        (lambda: LayerNorm(8), r"write LayerNorm\(\)"),
        (lambda: MaxPool2D(3, 2), r"MaxPool2D takes pool_size by position: write MaxPool2D\(3, stride=2\)"),
        (lambda: RandomCrop(8, 4), r"write RandomCrop\(8, padding=4\)"),
        (lambda: ReLU(3), r"ReLU takes nothing by position: write ReLU\(\)"),
        (lambda: Output(10), r"^Output takes no units, as y says how many there are: write Output\(\)\.$"),
        (lambda: Dropout(0.2, 2), r"^Dropout takes rate by position: write Dropout\(0\.2\)\.$"),
        (lambda: Dropout(2, 2), r"^Dropout takes rate by position\.$"),
        (lambda: RandomErasing(3, 3, 1), r"^RandomErasing takes size and probability by position\.$"),
        (lambda: Dense(64, "relu"), r"^Dense takes units .*: write Dense\(64, activation='relu'\)\.$"),
        (lambda: Dense("a", "b"), r"^Dense takes units by position\.$"),
        (lambda: Conv2D(), "missing 1 required positional argument: 'filters'"),
        (lambda: Conv2D(3, filters=3), "Conv2D: multiple values for argument 'filters'"),
        (
            lambda: ConvNetClassifier(Conv2D(8), MaxPool2D()),
            r"in one list: write ConvNetClassifier\(\[Conv2D\(filters=8\), MaxPool2D\(\)\]\)",
        ),
        (
            lambda: Residual(Conv2D(3), ReLU()),
            r"^Residual takes its layers in one list: write Residual\(\[Conv2D\(filters=3\), ReLU\(\)\]\)\.$",
        ),
        (lambda: Residual(ReLU()), r"Residual takes its layers in one list: write Residual\(\[ReLU\(\)\]\)"),
        (lambda: Augment(lambda X: X), r"Augment: function must be a function\(X, rng\)"),
        (
            lambda: Dense(8, init=lambda shape, rng: np.zeros(shape)),
            r"Dense: init must be a function\(shape, fan_in, fan_out, rng\), got <f.*: too many positional",
        ),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(2, activation="ReLU"), r"Did you mean 'relu'\?"),
        (lambda: Dense(2, activation="LeakyReLU"), r"Did you mean 'leaky_relu'\?"),
        (lambda: Dense(2, activation="linear"), r"Did you mean 'identity'\?"),
        (lambda: Dense(2, activation="logistic"), r"Did you mean 'sigmoid'\?"),
        (
            lambda: Dense(2, activation="swish"),
            r"'swish'\. SiLU \(swish\) is not here; GELU is near it\. Valid: arctan, ",
        ),
        (lambda: Dense(2, activation=ReLU), r"ReLU is a class: write it with parentheses, ReLU\(\)"),
        (lambda: RandomFlip("horizontal"), r"write RandomFlip\(\) or RandomFlip\(horizontal=True\)"),
        (lambda: Conv2D(2, padding="SAME"), r"[Gg]ot 'SAME'\. Did you mean 'same'\?"),
        (lambda: MaxPool2D(2, padding="Valid"), r"[Gg]ot 'Valid'\. Did you mean 'valid'\?"),
        (lambda: Residual([ReLU()], ReLU()), r'"auto" or a list of layers, got ReLU\(\)'),
        (
            lambda: Dense(2, init="glorot"),
            r"unknown init 'glorot'\. Did you mean 'glorot_.*'\? Valid: he_normal",
        ),
        (lambda: RandomShift(0.1), "It is in pixels, not a fraction of the image"),
    ],
)
def test_values_that_are_close(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"optimizer": Adam}, r"Adam is a class: write it with parentheses, Adam\(\)"),
        ({"optimizer": "AdamW"}, r"\{'adadelta', .*'sgd'\}.*Did you mean 'adamw'\?"),
        ({"loss": "mse"}, r"\{'absolute_error', .*Did you mean 'squared_error'\?"),
        ({"loss": "log_loss"}, "Did you mean 'cross_entropy'"),
        ({"loss": "categorical_crossentropy"}, "Did you mean 'cross_entropy'"),
        ({"loss": "bce"}, "Did you mean 'binary_cross_entropy'"),
        ({"dtype": np.float32}, r"Did you mean 'float32'\?"),
        ({"n_threads": -1}, "None means one for each physical core that the process may use"),
        ({"layers": Conv2D(8)}, r"Wrap it in a list: \[Conv2D\(filters=8\)\]"),
        ({"layers": lenet5}, r"Call it: lenet5\(\)"),
        ({"layers": "lenet5"}, r"[Gg]ot 'lenet5' instead\. Call it: skconvnet\.architectures\.lenet5\(\)\.$"),
        ({"layers": "LeNet"}, r"[Gg]ot 'LeNet' instead\. Call it: skconvnet\.architectures\.lenet5\(\)\.$"),
        ({"layers": "dense"}, r"[Gg]ot 'dense' instead\.$"),
        ({"learning_rate": "adaptive"}, r"Give a number, or a schedule such as ReduceOnPlateau\(0\.001\)"),
        ({"learning_rate": ReduceOnPlateau}, "ReduceOnPlateau is a class: write it with parentheses"),
        ({"input_shape": 8}, r"Write \(8, 8\)\.$"),
        ({"layers": ["relu"]}, r"layers\[0\] must be a layer or None, got 'relu' \(write ReLU\(\)\)"),
        ({"layers": [("stem", Conv2D(8))]}, r"\(write Conv2D\(filters=8, name='stem'\)\)"),
        ({"layers": ["passthrough"]}, r"\(write None\)"),
        ({"layers": [[Conv2D(8), ReLU()]]}, r"write its layers flat, \[\*stack, \.\.\.\]"),
        ({"data_format": "NCHW"}, r"Did you mean 'channels_first'\?"),
        ({"data_format": "NHWC"}, r"Did you mean 'channels_last'\?"),
        (
            {"learning_rate": lambda epoch: 0.1},
            r"StepDecay.*extends Schedule and defines rates\(self, t, memory",
        ),
        ({"init_from": {"0.weight": np.ones(3)}}, r"go into network_\.set_weights\(weights\)"),
    ],
)
def test_parameters_that_are_close(params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ConvNetClassifier(**params).fit(np.ones((4, 6, 6)), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 3}, r" It is a parameter of the estimator: ConvNetClassifier\(max_iter=\.\.\.\)\. "),
        ({"batch_size": 3}, r" .*: ConvNetClassifier\(batch_size=\.\.\.\)\. "),
        ({"verbose": 1}, r" .*: ConvNetClassifier\(verbose=\.\.\.\)\. "),
        ({"class_weight": {}}, r" .*: ConvNetClassifier\(class_weight=\.\.\.\)\. "),
        ({"input_shape": (8, 8)}, r" .*: ConvNetClassifier\(input_shape=\.\.\.\)\. "),
        ({"validation_split": 0.1}, r" .*: ConvNetClassifier\(validation_fraction=\.\.\.\)\. "),
        ({"validation_data": ()}, r" Give fit X_val=\.\.\. and y_val=\.\.\.\. "),
        ({"eval_set": []}, r" Give fit X_val=\.\.\. and y_val=\.\.\.\. "),
        ({"sample_weights": 1}, r" Did you mean 'sample_weight'\? "),
        ({"callbacks": []}, r" Set them by set_callbacks\(\.\.\.\)\. "),
        ({"colour": 3}, " "),
    ],
)
def test_what_fit_does_not_take(given, message):
    (name,) = given
    start = rf"^ConvNetClassifier\.fit got an unexpected keyword argument {name!r}\."
    with pytest.raises(TypeError, match=rf"{start}{message}Valid: X, X_val, .*, y, y_val\.$"):
        ConvNetClassifier().fit([[1.0]], [0], **given)


def test_too_few_and_too_many_arguments_of_fit():
    with pytest.raises(TypeError, match=r"^ConvNetRegressor\.fit: missing a required argument: 'y'\.$"):
        ConvNetRegressor().fit([[1.0]])
    with pytest.raises(TypeError, match=r"^ConvNetRegressor\.fit: too many positional arguments\.$"):
        ConvNetRegressor().fit([[1.0]], [0], None, [[1.0]])


def test_fit_has_the_signature_that_metadata_are_routed_by():
    assert list(inspect.signature(ConvNetClassifier.fit).parameters)[:3] == ["self", "X", "y"]
    with sklearn.config_context(enable_metadata_routing=True):
        clf = ConvNetClassifier().set_fit_request(sample_weight=True, X_val=True, y_val="other")
        asked = clf.get_metadata_routing().fit.requests
    assert asked == {"sample_weight": True, "X_val": True, "y_val": "other", "sample_weight_val": None}


def test_a_metric_is_no_scorer():
    message = r"^ConvNetClassifier: scoring must be a function\(estimator, X, y\), .*: too many .*make_scorer"
    X, y = np.ones((4, 6, 6)), [0, 1, 0, 1]
    with pytest.raises(TypeError, match=message):
        ConvNetClassifier(scoring=lambda y_true, y_pred: 1.0).fit(X, y, X_val=X, y_val=y)


def test_a_scorer_that_there_is_not():
    message = (
        r"^ConvNetClassifier: there is no scoring 'acuracy'\. Did you mean 'accuracy'\? "
        r"sklearn\.metrics\.get_scorer_names\(\) lists all\.$"
    )
    X, y = np.ones((4, 6, 6)), [0, 1, 0, 1]
    with pytest.raises(ValueError, match=message):
        ConvNetClassifier(scoring="acuracy").fit(X, y, X_val=X, y_val=y)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: Conv2D(8, 3, init=np.zeros((8, 4, 3, 3))), "unknown init .* or a callable"),
        (lambda: ConvNetClassifier(lenet5()).fit(np.ones((4, 8, 8)), [0, 1, 0, 1]), "needs .* 5x5 pixels"),
        (
            lambda: ConvNetClassifier(init_from={"w": np.ones((8, 8, 3, 3))}).fit(
                np.ones((4, 8, 8)), [0, 1] * 2
            ),
            r"got .* network_\.set_weights",
        ),
    ],
)
def test_long_values_are_shown_without_their_middle(use, message):
    with pytest.raises(ValueError, match=message) as caught:
        use()
    assert " ... " in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learning_rate": type("Fast", (Schedule,), {})()}, r"Fast must define rates\(self, t, memory\)"),
        ({"optimizer": type("Fast", (Optimizer,), {})()}, r"Fast must define formula\(self\)"),
        ({"layers": [type("Square", (Layer,), {})()]}, r"Square must define lower.*Augment\(function\)"),
    ],
)
def test_classes_that_do_not_define_what_they_must(params, message):
    with pytest.raises(NotImplementedError, match=message):
        ConvNetClassifier(**params).fit(np.ones((4, 6, 6)), [0, 1, 0, 1])


def test_what_makes_objects_without_arguments_still_does():
    for value in (Conv2D(8, 5, name="stem"), SGD(momentum=0.9), CosineDecay(0.1, decay_steps=3)):
        assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == replace(value) == value
    clf = ConvNetClassifier([Dense(3)], max_iter=3)
    for other in (clone(clf), copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        assert other.get_params() == clf.get_params()
