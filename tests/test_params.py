"""Nested parameters: reading, setting, objects that must not change, and errors for misspelt names."""

from dataclasses import fields

import numpy as np
import pytest
from sklearn.base import clone

from skconvnet import ConvNetClassifier
from skconvnet._defaults import make_default_layers
from skconvnet._network import Network
from skconvnet.layers import Conv2D, Dense, Flatten, LeakyReLU, MaxPool2D, Parallel, ReLU, Residual
from skconvnet.optimizers import SGD, Adam


def make_classifier():
    return ConvNetClassifier(
        [
            Conv2D(8, name="stem"),
            MaxPool2D(),
            Dense(5, activation=LeakyReLU(0.2), name="drop"),
        ],
        optimizer=SGD(momentum=0.9),
    )


def test_get():
    clf = make_classifier()
    params = clf.get_params()
    assert params["layers__stem"] == clf.layers[0]
    assert params["layers__stem__filters"] == 8
    assert params["layers__1__pool_size"] == 2
    assert params["layers__drop__activation__slope"] == 0.2
    assert params["optimizer__momentum"] == 0.9
    assert set(clf.get_params(deep=False)) == {key for key in params if "__" not in key}


@pytest.mark.parametrize("layers", [-1, "helloworld", np.ones(3), {}, [], [3], [None], None])
def test_get_works_with_wrong_layers(layers):
    clf = ConvNetClassifier(layers)
    assert clf.get_params()["layers"] is layers
    repr(clf)


def test_only_layers_have_parameters_of_their_own():
    conv = Conv2D(2, (1, 3), padding=((0, 1), (2, 0)), connections=[[1, 0], [1, 1]], name="conv")
    own = {f.name for f in fields(conv)}
    params = ConvNetClassifier([conv]).get_params()
    assert {key for key in params if key.startswith("layers__conv__")} == {
        f"layers__conv__{name}" for name in own
    }


def test_set_replaces_values_and_does_not_change_the_users_list():
    clf = make_classifier()
    layers, stem = clf.layers, clf.layers[0]
    assert clf.set_params(layers__stem__filters=np.int64(32), layers__1__pool_size=3) is clf
    assert layers[0] is stem and stem.filters == 8
    assert clf.layers == [Conv2D(32, name="stem"), MaxPool2D(3), layers[2]]
    clf.set_params(layers__drop__activation__slope=0.5, optimizer__nesterov=True)
    assert clf.layers[2].activation == LeakyReLU(0.5)
    assert clf.optimizer == SGD(momentum=0.9, nesterov=True)


def test_order_of_setting():
    clf = make_classifier()
    clf.set_params(
        layers__stem__filters=4,
        layers=[Conv2D(2, 5, name="stem"), Dense(3)],
        layers__1=Dense(9),
        layers__1__bias=False,
    )
    assert clf.layers == [Conv2D(4, 5, name="stem"), Dense(9, bias=False)]


def test_none_leaves_a_layer_out_and_positions_stay():
    clf = make_classifier().set_params(layers__stem=None)
    assert clf.layers[0] is None and "layers__1__pool_size" in clf.get_params()
    X = np.random.default_rng(0).random((20, 6, 6))
    clf.set_params(max_iter=1).fit(X, np.arange(20) % 2)
    assert list(clf.network_.weights) == [
        "drop.weight",
        "drop.bias",
        "output.weight",
        "output.bias",
    ]


def test_a_replaced_layer_keeps_its_name():
    clf = make_classifier().set_params(layers__stem=Conv2D(3, 5), layers__stem__filters=6)
    assert clf.layers[0] == Conv2D(6, 5, name="stem")


def test_a_name_stands_for_its_optimizer():
    assert ConvNetClassifier().set_params(optimizer__beta_1=0.5).optimizer == Adam(beta_1=0.5)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"layers__stem__fliters": 3}, r"stem has no 'fliters'\. Did you mean 'filters'\? Valid: "),
        (
            {"layers__stm__filters": 3},
            r"layers has no 'stm'\. Did you mean 'stem'\? Valid: 1, drop, stem\.",
        ),
        ({"layers__": None}, r"layers has no ''\. Valid: 1, drop, stem\."),
        ({"layers__7": None}, r"layers has no '7'\. Valid: 1, drop, stem\."),
        ({"layers__0__filters": 3}, r"the layer at position 0 has a name\. Use layers__stem\."),
        ({"layers__stem__filters__x": 3}, "filters is 8, which has no such fields"),
        ({"layers__stem__filters": 0}, "filters must be an int of at least 1, got 0"),
        ({"optimizer__momentun": 0.5}, r"Did you mean 'momentum'\?"),
        ({"dtype__x": 1}, "dtype is 'auto', which has no such fields"),
        (
            {"layrs": None},
            r"Invalid parameter 'layrs' for .* ConvNetClassifier\. .* 'layers'\? Valid: average",
        ),
        ({"layrs__stem": None}, r"Invalid parameter 'layrs__stem' .* Did you mean 'layers__stem'\?"),
        ({"stem__filters": 3}, r"'stem__filters' .* Did you mean 'layers__stem__filters'\?"),
        ({"layer__stem__filters": 3}, r"Did you mean 'layers__stem__filters'\?"),
        ({"activation": None}, r"Did you mean 'layers__stem__activation' or 'layers__drop__activation'\?"),
        ({"lr": 0.1}, r"Did you mean 'learning_rate'\?"),
        ({"zzz": 0.1}, r"'zzz' for estimator ConvNetClassifier\. Valid: average, batch_size, "),
        (
            {"optimizer__beta_1": 0.5},
            r"optimizer is SGD\(momentum=0.9\), whose fields are .*; beta_1 is one of Adam, AdamW, Lion\.",
        ),
    ],
    ids=str,
)
def test_misspelling(params, message):
    with pytest.raises(ValueError, match=message):
        make_classifier().set_params(**params)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 8, 8),
        (1, 28, 28),
        (3, 32, 32),
        (3, 65, 64),
        (3, 96, 100),
        (3, 224, 224),
        (3, 512, 512),
        (1, 1, 500),
        (12, 3, 20),
        (1, 512, 8),
        (4, 5, 5),
        (1, 1, 1),
    ],
    ids=str,
)
def test_default_layers_fit_any_image(shape):
    network = Network(make_default_layers(shape), shape, 10)
    assert network.n_parameters < 1_000_000
    last = next(stage for stage in network.stages if isinstance(stage.layer, Flatten))
    assert max(last.input_shape[1:]) <= 8
    size = [-(-n // s) for n, s in zip(shape[1:], np.broadcast_to(network.stages[0].layer.stride, 2))]
    assert max(size) <= 64 and all(32 < n <= 64 for n, whole in zip(size, shape[1:]) if whole > 64)


def test_default_layers():
    convolutions = [Conv2D(n, padding="same", activation="relu") for n in (32, 64)]
    middle = [convolutions[0], MaxPool2D(), convolutions[1], MaxPool2D()]
    end = [Flatten(), Dense(128, activation="relu")]
    for shape in ((1, 8, 8), (1, 28, 28), (3, 32, 32)):
        assert make_default_layers(shape) == [*middle, *end]
    assert make_default_layers((3, 64, 64)) == [*middle, convolutions[1], MaxPool2D(), *end]
    stem = Conv2D(32, (15, 3), stride=(8, 1), padding="same", activation="relu")
    narrow = [stem, MaxPool2D((2, 1)), convolutions[1], MaxPool2D((2, 1)), convolutions[1], MaxPool2D((2, 1))]
    assert make_default_layers((1, 500, 3)) == [*narrow, *end]
    assert make_default_layers((64,)) == [Dense(100, activation="relu")]


def test_default_layers_have_no_fields():
    with pytest.raises(ValueError, match="layers is None. Set it to a value with fields first"):
        ConvNetClassifier().set_params(layers__0__filters=3)


def test_clone():
    clf = make_classifier()
    other = clone(clf)
    assert other.layers == clf.layers and other.layers is not clf.layers
    assert other.optimizer == clf.optimizer


def test_layers_within_branches():
    mixed = Parallel(
        [[Conv2D(4, 1), ReLU(name="act")], [Residual([Conv2D(3, name="deep")], [])], []], name="mixed"
    )
    clf = ConvNetClassifier([mixed, Dense(5)])
    params = clf.get_params()
    assert params["layers__mixed__merge"] == "concat"
    assert params["layers__mixed__branches__0__0__filters"] == 4
    assert params["layers__mixed__branches__0__act"] == ReLU(name="act")
    assert params["layers__mixed__branches__1__0__layers__deep__kernel_size"] == 3
    assert params["layers__mixed__branches__2"] == ()
    clf.set_params(
        layers__mixed__merge="max",
        layers__mixed__branches__0__0__filters=7,
        layers__mixed__branches__1__0__layers__deep__filters=9,
        layers__mixed__branches__2=None,
    )
    deep = Residual([Conv2D(9, name="deep")], [])
    assert clf.layers[0] == Parallel([[Conv2D(7, 1), ReLU(name="act")], [deep], None], "max", name="mixed")
    assert mixed.branches[0][0].filters == 4
    clf.set_params(layers__mixed__branches__1=[Dense(2)], layers__mixed__branches__0__act=None)
    assert clf.layers[0].branches == ((Conv2D(7, 1), None), (Dense(2),), None)
    for name, message in [
        ("3__0__filters", r"branches has no '3'\. Valid: 0, 1, 2"),
        ("0__5__filters", r"branches__0 has no '5'\. Valid: 0, 1"),
        ("2__0__filters", "branches__2 is None"),
        ("1__0__filters", "0 has no 'filters'"),
    ]:
        with pytest.raises(ValueError, match=message):
            clf.set_params(**{f"layers__mixed__branches__{name}": 3})
