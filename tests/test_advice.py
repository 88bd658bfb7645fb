"""Arguments that values and estimators refuse, and the advice in the errors."""

import copy
import inspect
import pickle
from dataclasses import replace

import numpy as np
import pytest
import sklearn
from sklearn.base import clone

from skconvnet import ConvNetClassifier, ConvNetRegressor, layers
from skconvnet.architectures import lenet5
from skconvnet.layers import Augment, Conv2D, Dense, Layer, MaxPool2D, Output, ReLU, Residual
from skconvnet.optimizers import SGD, Adam, Optimizer
from skconvnet.schedules import CosineDecay, OneCycle, ReduceOnPlateau, Schedule

X, Y = np.ones((4, 6, 6)), [0, 1, 0, 1]


# Keywords of Keras, PyTorch and MLPClassifier, and misspelt ones, by the keyword that is meant.
@pytest.mark.parametrize(
    ("kind", "keywords"),
    [
        (Conv2D, "out_channels=filters kernel=kernel_size strides=stride dilation_rate=dilation"),
        (Conv2D, "activaton=activation"),
        (MaxPool2D, "kernel_size=pool_size size=pool_size strides=stride"),
        (Dense, "out_features=units use_bias=bias kernel_initializer=init"),
        (layers.Dropout, "p=rate"),
        (layers.BatchNorm, "eps=epsilon"),
        (layers.LeakyReLU, "negative_slope=slope"),
        (layers.RandomRotation, "factor=degrees"),
        (Adam, "eps=epsilon beta1=beta_1"),
        (CosineDecay, "lr=initial_learning_rate"),
        (OneCycle, "max_lr=max_learning_rate"),
        (ReduceOnPlateau, "learning_rate=initial_learning_rate"),
        (ConvNetClassifier, "lr=learning_rate learning_rate_init=learning_rate hidden_layer_sizes=layers"),
        (ConvNetRegressor, "epochs=max_iter alpha=weight_decay n_jobs=n_threads max_itr=max_iter"),
    ],
)
def test_unknown_keywords(kind, keywords):
    for wrong, meant in (pair.split("=") for pair in keywords.split()):
        names = ", ".join(sorted(inspect.signature(kind).parameters))
        with pytest.raises(TypeError) as caught:
            kind(**{wrong: 1})
        start = f"{kind.__name__} got an unexpected keyword argument '{wrong}'. Did you mean '{meant}'?"
        assert str(caught.value) == f"{start} Valid: {names}."


# Each call with a part of its error.
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2D(8, in_channels=3), "It is found from the data: leave it out. Valid: "),
        (
            lambda: Dense(8, colour=3),
            "'colour'. Valid: activation, bias, init, learning_rate_factor, name, units.",
        ),
        (lambda: Adam(lr=0.1), "Set learning_rate of the estimator. Valid: "),
        (lambda: Adam(weight_decay=0.1), "Set weight_decay of the estimator. "),
        (lambda: ConvNetClassifier(callbacks=[]), "Set them by set_callbacks(...). "),
        (lambda: ConvNetRegressor(device="cpu"), "It runs on the CPU: leave it out. "),
        (
            lambda: Dense(9, "relu"),
            "Dense: too many positional arguments, 2 instead of 1 (units). Write others as name=..., ",
        ),
        (
            lambda: Adam(0.1),
            "arguments, 1 instead of 0. Write others as beta_1=..., beta_2=..., epsilon=....",
        ),
        (lambda: Conv2D(1, 8, 3), "3 instead of 2 (filters, kernel_size). Write others as "),
        (
            lambda: ConvNetClassifier([Dense(3)], (8, 8)),
            "2 instead of 1 (layers). Write others as input_shape=..., ",
        ),
        (lambda: Conv2D(), "missing 1 required positional argument: 'filters'"),
        (lambda: Conv2D(3, filters=3), "Conv2D: multiple values for argument 'filters'."),
        (lambda: ConvNetClassifier(Dense(8), ReLU()), "write ConvNetClassifier([Dense(units=8), ReLU()])."),
        (lambda: Residual(Conv2D(3), ReLU()), "in one list: write Residual([Conv2D(filters=3), ReLU()])."),
        (lambda: Residual(ReLU()), "Residual takes its layers in one list: write Residual([ReLU()])."),
        (lambda: Augment(lambda X: X), "Augment: function must be a function(X, rng), got <f"),
        (
            lambda: Dense(8, init=lambda shape: 0),
            "Dense: init must be a function(shape, fan_in, fan_out, rng)",
        ),
        (lambda: ConvNetRegressor().fit([[1.0]]), "ConvNetRegressor.fit: missing a required argument: 'y'."),
        (
            lambda: ConvNetRegressor().fit(X, Y, None, X),
            "fit: too many positional arguments, 4 instead of 3 (X, y, ",
        ),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(TypeError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(2, activation="LeakyReLU"), "Did you mean 'leaky_relu'?"),
        (lambda: Dense(2, activation="linear"), "Did you mean 'identity'?"),
        (lambda: Dense(2, activation="logistic"), "Did you mean 'sigmoid'?"),
        (lambda: Dense(2, activation="swish"), "Did you mean 'silu'?"),
        (lambda: Dense(2, activation=ReLU), "ReLU is a class: write it with parentheses, ReLU()"),
        (lambda: layers.RandomFlip("horizontal"), "write RandomFlip() or RandomFlip(horizontal=True)"),
        (lambda: Conv2D(2, padding="SAME"), "got 'SAME'. Did you mean 'same'?"),
        (lambda: Residual([ReLU()], ReLU()), '"auto" or a list of layers, got ReLU()'),
        (lambda: Dense(2, init="glorot"), "unknown init 'glorot'. Did you mean 'glorot_"),
        (lambda: layers.RandomShift(0.1), "It is in pixels"),
    ],
)
def test_values_that_are_close(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"optimizer": Adam}, "Adam is a class: write it with parentheses, Adam()"),
        ({"optimizer": "AdamW"}, "Did you mean 'adamw'?"),
        ({"loss": "mse"}, "Did you mean 'squared_error'?"),
        ({"loss": "categorical_crossentropy"}, "Did you mean 'cross_entropy'?"),
        ({"loss": "bce"}, "Did you mean 'binary_cross_entropy'?"),
        ({"dtype": np.float32}, "Did you mean 'float32'?"),
        ({"data_format": "NCHW"}, "Did you mean 'channels_first'?"),
        ({"n_threads": -1}, "None means one for each physical core that the process may use"),
        ({"layers": Conv2D(8)}, "Wrap it in a list: [Conv2D(filters=8)]"),
        ({"layers": lenet5}, "Call it: lenet5()"),
        ({"layers": "LeNet"}, "ot 'LeNet' instead. Call it: skconvnet.architectures.lenet5()."),
        ({"layers": ["relu"]}, "layers[0] must be a layer or None, got 'relu' (write ReLU())"),
        ({"layers": [("stem", Conv2D(8))]}, "(write Conv2D(filters=8, name='stem'))"),
        ({"layers": ["passthrough"]}, "(write None)"),
        ({"layers": [[Conv2D(8), ReLU()]]}, "write its layers flat, [*stack, ...]"),
        ({"learning_rate": "adaptive"}, "or a schedule such as ReduceOnPlateau(0.001)"),
        ({"learning_rate": ReduceOnPlateau}, "ReduceOnPlateau is a class: write it with parentheses"),
        ({"learning_rate": lambda epoch: 0.1}, "extends Schedule and defines rates(self, t, memory"),
        ({"input_shape": 8}, "Write (8, 8), or (8,) for signals."),
        ({"init_from": {"w": X}}, "network_.set_weights(weights)"),
        ({"learning_rate": type("Fast", (Schedule,), {})()}, "Fast must define rates(self, t, memory)"),
        ({"optimizer": type("Fast", (Optimizer,), {})()}, "Fast must define formula(self)"),
        ({"layers": [type("Square", (Layer,), {})()]}, "Square must define lower"),
    ],
)
def test_parameters_that_are_close(params, message):
    with pytest.raises((ValueError, TypeError, NotImplementedError)) as caught:
        ConvNetClassifier(**params).fit(X, Y)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("epochs", " It is a parameter of the estimator: ConvNetClassifier(max_iter=...)."),
        ("batch_size", " It is a parameter of the estimator: ConvNetClassifier(batch_size=...)."),
        (
            "validation_split",
            " It is a parameter of the estimator: ConvNetClassifier(validation_fraction=...).",
        ),
        ("validation_data", " Give fit X_val=... and y_val=...."),
        ("sample_weights", " Did you mean 'sample_weight'?"),
        ("callbacks", " Set them by set_callbacks(...)."),
        ("colour", ""),
    ],
)
def test_unknown_keywords_of_fit(name, advice):
    with pytest.raises(TypeError) as caught:
        ConvNetClassifier().fit([[1.0]], [0], **{name: 3})
    start = f"ConvNetClassifier.fit got an unexpected keyword argument {name!r}.{advice} Valid: X, X_val, "
    assert str(caught.value).startswith(start)


def test_fit_has_the_signature_that_metadata_are_routed_by():
    assert list(inspect.signature(ConvNetClassifier.fit).parameters)[:3] == ["self", "X", "y"]
    with sklearn.config_context(enable_metadata_routing=True):
        clf = ConvNetClassifier().set_fit_request(sample_weight=True, X_val=True, y_val="other")
        requests = clf.get_metadata_routing().fit.requests
    assert requests == {"sample_weight": True, "X_val": True, "y_val": "other", "sample_weight_val": None}


@pytest.mark.parametrize(
    ("scoring", "error", "message"),
    [
        (
            lambda y_true, y_pred: 1.0,
            TypeError,
            r"scoring must be a function\(estimator, X, y\), .*make_scorer",
        ),
        ("acuracy", ValueError, "there is no scoring 'acuracy'. Did you mean 'accuracy'.* lists all"),
    ],
)
def test_scorers(scoring, error, message):
    with pytest.raises(error, match=f"^ConvNetClassifier: {message}"):
        ConvNetClassifier(scoring=scoring).fit(X, Y, X_val=X, y_val=Y)


@pytest.mark.parametrize(
    "use", [lambda X: Conv2D(8, init=X), lambda X: ConvNetClassifier(init_from={"w": X}).fit(X, Y)]
)
def test_long_values_are_shown_without_their_middle(use):
    with pytest.raises(ValueError, match=r" \.\.\. ") as caught:
        use(np.ones((4, 9, 9)))
    assert len(str(caught.value)) < 500


def test_what_makes_objects_without_arguments_still_does():
    for value in (Conv2D(8, 5, name="stem"), Output(), SGD(momentum=0.9), CosineDecay(0.1, decay_steps=3)):
        assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == replace(value) == value
    clf = ConvNetClassifier([Dense(3)], max_iter=3)
    for other in (clone(clf), copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        assert other.get_params() == clf.get_params()
