"""Layers that change images at random: the changes, their distributions, and no change in prediction."""

import numpy as np
import pytest
import reference
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from skconvnet import ConvNetClassifier
from skconvnet._network import Network
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    GaussianNoise,
    MaxPool2D,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomShift,
    Rescaling,
    ShapeError,
    Standardize,
)
from skconvnet.losses import Objective
from skconvnet.optimizers import SGD

AUGMENTATIONS = [
    RandomFlip(),
    RandomShift(1),
    RandomRotation(),
    RandomCrop(8, padding=1),
    RandomCrop(8, padding=1, padding_mode="reflect"),
    RandomErasing(),
    GaussianNoise(),
]


def train(layers, X):
    """Return the layers' outputs in training: the gradient of the weight of a dense layer after them."""
    network = Network([*layers, Dense(len(X), bias=False)], X.shape[1:], dtype=X.dtype)
    network.initialize(np.random.RandomState(0))
    _, dparams = network.backward(X, np.eye(len(X), dtype=X.dtype))
    return dparams.reshape(len(X), *network.stages[-1].input_shape)


def make_images(n, shape=(2, 7, 6), dtype=np.float64):
    """Return n copies of an image with the pixels 1, 2, 3 ..., row by row and channel by channel."""
    return np.repeat(np.arange(1, 1 + np.prod(shape), dtype=dtype).reshape(1, *shape), n, axis=0)


def count_choices(images, choices):
    """Count the images that equal each choice; every image must equal one of them."""
    equal = np.array([(images == choice).all(axis=(1, 2, 3)) for choice in choices])
    assert (equal.sum(axis=0) == 1).all()
    return equal.sum(axis=1)


def check_uniform(counts):
    assert len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("horizontal", [True, False])
@pytest.mark.parametrize("vertical", [True, False])
def test_flip(horizontal, vertical):
    x = make_images(600)
    y = train([RandomFlip(horizontal, vertical)], x)
    choices = [x[0]]
    choices += [choice[..., ::-1] for choice in choices if horizontal]
    choices += [choice[..., ::-1, :] for choice in choices if vertical]
    check_uniform(count_choices(y, choices))


def test_reflecting_needs_a_pixel_more_than_it_mirrors():
    image = (2, 7, 6)
    assert RandomCrop((7, 6), padding=(6, 5), padding_mode="reflect").output_shape(image) == image
    with pytest.raises(ShapeError, match="an image of at least 8x1 pixels") as caught:
        RandomCrop((7, 6), padding=(7, 0), padding_mode="reflect").output_shape(image)
    assert 'padding_mode="edge"' in caught.value.remedy
    with pytest.raises(ValueError, match='padding_mode must be "edge" or "reflect", got \'wrap\''):
        RandomCrop(7, padding_mode="wrap")


def find_flips(layer, X, order, turn):
    """Return for each sample whether it was mirrored and turned upside down, in a batch of this order."""
    network = Network([layer, Dense(1, bias=False)], X.shape[1:], dtype=X.dtype)
    network.initialize(np.random.RandomState(0))
    program = network.compile(training=True)
    workspace = network.make_workspace(program, 1, 4)
    data = network.wrap_data(X, np.zeros((len(X), 1), X.dtype), np.ones(len(X)), Objective("squared_error"))
    flips = np.zeros((len(X), 2), int)
    for row in order:
        gradient = np.zeros(network.n_params, X.dtype)
        arguments = network.params, None, gradient, workspace
        program.loss(data, np.array([row]), *arguments, total=1.0, key=turn + 5, turn=turn)
        image = gradient.reshape(X.shape[1:]) * np.sign(gradient.sum())  # a multiple of the image
        flips[row] = image[0, 0, 0] > image[0, 0, -1], image[0, 0, 0] > image[0, -1, 0]
    return flips


def test_alternating_flip():
    """In every second epoch an image is the other way round, whatever its position in a batch."""
    x = make_images(300, (1, 3, 4))
    layer = RandomFlip(vertical=True, alternating=True)
    order = np.random.default_rng(0).permutation(300)
    first = find_flips(layer, x, range(300), 2 * 77)
    np.testing.assert_array_equal(find_flips(layer, x, order, 2 * 77), first)
    np.testing.assert_array_equal(find_flips(layer, x, order, 2 * 77 + 1), 1 - first)
    check_uniform(np.bincount(first @ [1, 2], minlength=4))
    assert (find_flips(layer, x, order, 2 * 78) != first).any(axis=0).all()  # another fit
    across = find_flips(RandomFlip(alternating=True), x, order, 2 * 77)
    assert across[:, 0].any() and not across[:, 1].any()


def test_epochs_alternate():
    """One step an epoch on one image, which is as it is or mirrored: the weights learn both, in turn."""
    X = np.arange(12, dtype=float).reshape(1, 1, 3, 4) / 12
    trainer = Trainer(
        Network([RandomFlip(alternating=True)], (1, 3, 4), 2, np.float64), SGD(), np.random.RandomState(3)
    )
    run_epoch = trainer.prepare(
        TrainingData(X, np.zeros(1, np.intp), np.ones(1)), StepSettings(1, 0.1, True, 1)
    )
    ascending = []
    for _ in range(6):
        before = trainer.network.weights["output.weight"].copy()
        run_epoch()
        move = (trainer.network.weights["output.weight"] - before)[0].reshape(3, 4)
        ascending.append(bool(move[0, 0] < move[0, 3]))
    assert ascending in ([True, False] * 3, [False, True] * 3)


def test_shift():
    x = make_images(900)
    y = train([RandomShift((1, 2))], x)
    padded = np.pad(x[0], ((0, 0), (1, 1), (2, 2)), mode="edge")
    check_uniform(count_choices(y, [padded[:, i : i + 7, j : j + 6] for i in range(3) for j in range(5)]))


@pytest.mark.parametrize(
    "size, padding, mode",
    [
        ((5, 3), 0, "edge"),
        (7, (1, 2), "edge"),
        ((7, 6), 1, "edge"),
        ((7, 6), 1, "reflect"),
        (6, (2, 0), "reflect"),
    ],
)
def test_crop(size, padding, mode):
    x = make_images(900)
    layer = RandomCrop(size, padding=padding, padding_mode=mode)
    y = train([layer], x)
    (height, width), (top, left) = (v if isinstance(v, tuple) else (v, v) for v in (size, padding))
    padded = np.pad(x[0], ((0, 0), (top, top), (left, left)), mode=mode)
    windows = [
        padded[:, i : i + height, j : j + width]
        for i in range(padded.shape[1] - height + 1)
        for j in range(padded.shape[2] - width + 1)
    ]
    check_uniform(count_choices(y, windows))
    network = Network([layer], x.shape[1:], dtype=x.dtype)
    for predicted in (network.forward(x[:1]), network.forward(x)):
        counts = count_choices(predicted.reshape(-1, 2, height, width), windows)
        rows, columns = 7 + 2 * top - height, 6 + 2 * left - width
        assert np.flatnonzero(counts) == [rows // 2 * (columns + 1) + columns // 2]


@pytest.mark.parametrize("degrees", [0, 10, 180])
def test_rotation(degrees):
    # a plane remains a plane near the centre, and shows the angle
    i, j = np.indices((9, 9)) - 4.0
    x = np.repeat(np.stack([i, j])[None], 400, axis=0)
    y = train([RandomRotation(degrees)], x)
    near = i**2 + j**2 <= 16
    a = np.arctan2(y[:, 1, 5, 4], y[:, 0, 5, 4])
    cosine, sine = np.cos(a)[:, None], np.sin(a)[:, None]
    np.testing.assert_allclose(y[:, 0, near], cosine * i[near] - sine * j[near], atol=1e-12)
    np.testing.assert_allclose(y[:, 1, near], sine * i[near] + cosine * j[near], atol=1e-12)
    # beyond the image, its border is repeated
    assert np.abs(y).max() <= 4
    largest = np.radians(degrees)
    assert np.abs(a).max() <= largest
    if degrees:
        assert stats.kstest(a, "uniform", (-largest, 2 * largest)).pvalue > 1e-3


def test_erasing():
    x = make_images(600, (2, 20, 16))
    y = train([RandomErasing((0.1, 0.3), probability=0.4)], x)
    erased = y[:, 0] == 0
    np.testing.assert_array_equal(y, np.where(erased[:, None], 0, x))
    some = erased[erased.any(axis=(1, 2))]
    assert stats.binomtest(len(some), 600, 0.4).pvalue > 1e-3
    rows, columns = some.any(axis=2), some.any(axis=1)
    np.testing.assert_array_equal(some, rows[:, :, None] & columns[:, None])
    for erased_lines in (rows, columns):  # contiguous, and at every position in some image
        assert (np.abs(np.diff(erased_lines.astype(int), prepend=0, append=0)).sum(axis=1) == 2).all()
        assert erased_lines.any(axis=0).all()
    # rounding to pixels moves a side by at most a half, and the longest may be cut
    area, aspect = rows.sum(1) * columns.sum(1) / 320, rows.sum(1) / columns.sum(1)
    assert 0.07 < area.min() < 0.13 and 0.25 < area.max() < 0.34
    assert 0.25 < aspect.min() < 0.45 and 2.2 < aspect.max() < 3.9
    assert stats.binomtest(int((area < 0.2).sum()), len(some), 0.5).pvalue > 1e-3


def test_erasing_all_or_nothing():
    x = make_images(40)
    np.testing.assert_array_equal(train([RandomErasing(probability=0)], x), x)
    assert (train([RandomErasing((1e-9, 1e-9), probability=1)], x) == 0).sum() == 40 * 2
    assert (train([RandomErasing((1, 1), probability=1)], x[:, :, :1, :1]) == 0).all()


def test_noise_is_normal(dtype):
    x = make_images(64, (1, 40, 50), dtype)
    noise = (train([GaussianNoise(0.5), Rescaling(2)], x) - 2 * x).ravel()
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)
    assert abs((noise**3).mean()) < 4 * np.sqrt(15 / noise.size)
    assert abs((noise**4).mean() - 3) < 4 * np.sqrt(96 / noise.size)
    # values of up to 4000 lose some digits of the noise in float32
    assert stats.kstest(noise, "norm").statistic < 1.95 / np.sqrt(noise.size)
    assert 4 < np.abs(noise).max() < 6.8
    # samples, and neighbours at some distances, are uncorrelated
    noise = noise.reshape(64, -1)
    for first, second in ((noise[1:], noise[:-1]), *((noise[:, k:], noise[:, :-k]) for k in (1, 2, 50))):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / np.sqrt(first.size)


def test_layers_and_steps_draw_different_bits():
    draws = [reference.draw_bits(key, stream, np.arange(50), 20) for key in (1, 2) for stream in (0, 1)]
    assert len(np.unique(draws)) > 3990


def test_training_equals_the_reference(isa, dtype):
    x = np.random.default_rng(0).standard_normal((37, 3, 9, 7)).astype(dtype)
    wide = x.astype(np.float64)
    mask = reference.erasing_mask(0, 0, 37, (9, 7), (0.02, 0.4), 0.3, 0.5)[:, None]
    exact = {
        RandomFlip(vertical=True): reference.random_flip(x, 0, 0, True, True),
        RandomShift((3, 1)): reference.random_window(x, 0, 0, (9, 7), range(-3, 4), range(-1, 2)),
        RandomCrop(8, padding=2): reference.random_window(x, 0, 0, (8, 8), range(-2, 4), range(-2, 2)),
        RandomErasing(): x * mask,
        RandomFlip(alternating=True): reference.random_flip(x, 0, 0, True, False),
        RandomCrop(8, padding=(8, 3), padding_mode="reflect"): reference.random_window(
            x, 0, 0, (8, 8), range(-8, 10), range(-3, 3), "reflect"
        ),
    }
    for layer, expected in exact.items():
        np.testing.assert_array_equal(train([layer], x), expected)
    eps = np.finfo(dtype).eps
    expected = reference.random_rotation(wide, 0, 0, 90)
    np.testing.assert_allclose(train([RandomRotation(90)], x), expected, rtol=0, atol=100 * eps)
    expected = wide + 2 * reference.gaussian_noise(0, 0, 37, 189).reshape(x.shape)
    np.testing.assert_allclose(train([GaussianNoise(2)], x), expected, rtol=0, atol=50 * eps)


def test_predictions_ignore_them(dtype):
    x = np.random.default_rng(0).random((40, 8, 8, 2)).astype(dtype)
    layers = [BatchNorm(), *AUGMENTATIONS, Conv2D(4, activation="relu"), MaxPool2D(), GaussianNoise()]
    network, plain = (
        Network(some, (2, 8, 8), 3, dtype)
        for some in (layers, [BatchNorm(), Conv2D(4, activation="relu"), MaxPool2D()])
    )
    network.initialize(np.random.RandomState(0))
    plain.params = network.params
    x = np.moveaxis(x, -1, 1)
    for n in (1, 40):
        np.testing.assert_array_equal(network.forward(x[:n]), plain.forward(x[:n]))
    assert network.compile_single_image().single_image


def make_classifier(layers=AUGMENTATIONS, **params):
    layers = [Rescaling(1 / 16), *layers, Conv2D(4, activation="relu", name="conv"), MaxPool2D()]
    params = {"max_iter": 3, "random_state": 0, "learning_rate": 0.01, **params}
    return ConvNetClassifier(layers, input_shape=(8, 8), **params)


class TestFit:
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300]

    def fit(self, **params):
        clf = make_classifier(**params).fit(self.X, self.y)
        return clf.network_.params

    def test_results_depend_on_the_seed_alone(self, dtype):
        params = {"dtype": np.dtype(dtype).name}
        expected = self.fit(n_threads=1, **params)
        for n_threads in (1, 2, 3):
            np.testing.assert_array_equal(self.fit(n_threads=n_threads, **params), expected)
        assert (self.fit(random_state=1, **params) != expected).any()

    @pytest.mark.parametrize("layer", AUGMENTATIONS, ids=str)
    def test_each_has_an_effect(self, layer):
        assert (self.fit(layers=[layer]) != self.fit(layers=[])).any()

    def test_epochs_differ(self):
        # with the same samples in the same order, and weights that hardly change
        params = {"shuffle": False, "learning_rate": 1e-12}
        losses = [make_classifier(**params).fit(self.X, self.y).loss_curve_]
        losses.append(make_classifier([], **params).fit(self.X, self.y).loss_curve_)
        assert np.ptp(losses[0]) > 1e-4 > np.ptp(losses[1])

    def test_cross_validation_and_search(self):
        clf = make_classifier(
            [RandomShift(1, name="shift"), RandomErasing(name="erase")], batch_size=20, max_iter=12
        )
        assert cross_val_score(clf, self.X, self.y, cv=2, error_score="raise").mean() > 0.5
        clf.set_params(layers__shift__pixels=(0, 2), layers__erase=None)
        assert clf.layers[1:3] == [RandomShift((0, 2), name="shift"), None]
        clf.fit(self.X, self.y)


def test_gradients_reach_layers_below():
    # the gradient of a filter of one weight is the sum of all pixels that the layer after it reads
    x = make_images(20, (1, 5, 4))
    for layer in (RandomFlip(), RandomShift(3), RandomCrop(3, padding=1), RandomErasing()):
        network = Network([Conv2D(1, 1, bias=False), layer], (1, 5, 4), dtype=np.float64)
        network.set_weights({"0.weight": np.full((1, 1, 1, 1), 2.0)})
        dy = np.ones((20, *network.output_shape))
        dx, dparams = network.backward(x, dy)
        assert dparams[0] == train([layer], x).sum()
        assert dx.sum() == 2 * train([layer], np.ones_like(x)).sum()


def test_standardize_after_them_learns_from_the_images_as_given():
    x, y = make_images(40, (2, 9, 7)), np.arange(40) % 2
    fits = [
        ConvNetClassifier(
            [*layers, Conv2D(2)], data_format="channels_first", max_iter=2, random_state=0, dtype="float64"
        ).fit(x, y)
        for layers in (
            [RandomFlip(vertical=True), RandomCrop(5, padding=1), Standardize()],
            [Standardize(), RandomFlip(vertical=True), RandomCrop(5, padding=1)],
            [*AUGMENTATIONS, Standardize()],
        )
    ]
    # moving whole pixels and standardising them commute
    np.testing.assert_array_equal(fits[0].network_.params, fits[1].network_.params)
    for clf, key in zip(fits, ("2", "0", str(len(AUGMENTATIONS)))):
        mean = clf.network_.weights[f"{key}.running_mean"]
        np.testing.assert_allclose(mean, x.mean(axis=(0, 2, 3)), rtol=1e-12)
