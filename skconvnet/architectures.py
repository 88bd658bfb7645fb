"""Networks from the literature, as lists of layers without the output layer.

Use them as in ``ConvNetClassifier(architectures.lenet5()).fit(images, y)``; each docstring says which
images the network is for.
"""

from collections.abc import Sequence

import numpy as np

from skconvnet.layers import (
    GELU,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    LeakyReLU,
    MaxPool1D,
    MaxPool2D,
    Output,
    Parallel,
    RandomCrop,
    RandomFlip,
    ReLU,
    Residual,
    Standardize,
)
from skconvnet.layers.base import Layer

__all__ = [
    "annt_cifar10",
    "annt_mnist",
    "cifar_record",
    "fcn",
    "inception",
    "inception_time",
    "kajda_mnist",
    "lenet5",
    "mobilenet",
    "numpy_cnn",
    "resnet",
    "resnet1d",
    "squeezenet",
    "vgg",
]

# Which of the 6 maps each of the 16 filters of LeNet-5's second convolution sees: the 16 columns of
# Table I in LeCun et al. 1998, as rows.
_LENET_MARKS = """
xxx... .xxx.. ..xxx. ...xxx x...xx xx...x xxxx.. .xxxx.
..xxxx x..xxx xx..xx xxx..x xx.xx. .xx.xx x.xx.x xxxxxx
"""
LENET_CONNECTIONS = np.array([[mark == "x" for mark in row] for row in _LENET_MARKS.split()])
LENET_CONNECTIONS.flags.writeable = False

# network: (channels, height, width) of the images that it was made for; (channels, 1, length) of signals,
# which may have any length
INPUT_SHAPES = {
    "annt_cifar10": (3, 32, 32),
    "annt_mnist": (1, 32, 32),
    "cifar_record": (3, 32, 32),
    "fcn": (1, 1, 150),
    "inception": (3, 32, 32),
    "inception_time": (1, 1, 150),
    "kajda_mnist": (1, 28, 28),
    "lenet5": (1, 32, 32),
    "mobilenet": (3, 32, 32),
    "numpy_cnn": (1, 28, 28),
    "resnet": (3, 32, 32),
    "resnet1d": (1, 1, 150),
    "squeezenet": (3, 32, 32),
    "vgg": (3, 32, 32),
}


def lenet5(*, full: bool = False) -> list[Layer]:
    """Make LeNet-5, for 32x32 images of one channel.

    Parameters
    ----------
    full : bool, default=False
        Let every filter of the second convolution see all 6 maps, instead of the paper's table of
        60 connections.

    Returns
    -------
    layers : list of layer
        With an output layer of 10 classes, 60,806 parameters (61,706 if full).

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998); with ReLU and maximum pooling, as it is mostly built today.

    Examples
    --------
    >>> from skconvnet import ConvNetClassifier, architectures
    >>> clf = ConvNetClassifier(architectures.lenet5(), input_shape=(32, 32))
    >>> len(architectures.lenet5())
    7
    """
    return [
        Conv2D(6, 5, activation="relu"),
        MaxPool2D(2),
        Conv2D(16, 5, connections=None if full else LENET_CONNECTIONS, activation="relu"),
        MaxPool2D(2),
        Conv2D(120, 5, activation="relu"),
        Flatten(),
        Dense(84, activation="relu"),
    ]


def annt_mnist(*, full: bool = False) -> list[Layer]:
    """Make the MNIST network of the article on the ANNT library, for 32x32 images of one channel.

    Parameters
    ----------
    full : bool, default=False
        Let every filter of the second convolution see all 6 maps, instead of LeNet-5's table.

    Returns
    -------
    layers : list of layer
        With an output layer of 10 classes, 51,002 parameters (51,902 if full).

    References
    ----------
    Kirillov, "ANNT: Convolutional neural networks", CodeProject 2018.

    Examples
    --------
    >>> from skconvnet.architectures import annt_mnist
    >>> annt_mnist()[0]
    Conv2D(filters=6, kernel_size=5, activation='relu')
    """
    return [
        Conv2D(6, 5, activation="relu"),
        AvgPool2D(2),
        Conv2D(16, 5, connections=None if full else LENET_CONNECTIONS, activation="relu"),
        AvgPool2D(2),
        Conv2D(120, 5, activation="relu"),
    ]


def annt_cifar10() -> list[Layer]:
    """Make the CIFAR-10 network of the article on the ANNT library, for 32x32 images of three channels.

    Returns
    -------
    layers : list of layer
        With an output layer of 10 classes, 145,578 parameters; its batch normalisation has none.

    References
    ----------
    Kirillov, "ANNT: Convolutional neural networks", CodeProject 2018. There, all 64 features of the
    dense layer share one mean and variance; here each has its own.

    Examples
    --------
    >>> from skconvnet.architectures import annt_cifar10
    >>> annt_cifar10()[-1]
    BatchNorm(scale=False, center=False)
    """
    layers = []
    for filters in (32, 32, 64):
        layers += [
            Conv2D(filters, 5, padding="same", activation="relu"),
            MaxPool2D(2),
            BatchNorm(scale=False, center=False),
        ]
    return [*layers, Flatten(), Dense(64, activation="relu"), BatchNorm(scale=False, center=False)]


def cifar_record() -> list[Layer]:
    """Make a network that learns CIFAR-10 in a few epochs, with the changes of its training images.

    It is meant for ``optimizer=Muon(momentum=0.6, normalize=True, iterations=3, other=SGD(momentum=0.85,
    nesterov=True))`` at a learning rate that falls from 0.05 to 0, large mini-batches, ``weight_decay=0.2``
    and ``label_smoothing=0.2``; `benchmarks/train_cifar10.py` trains it so. The factors of its layers'
    learning rates are for these settings.

    Returns
    -------
    layers : list of layer
        With an output layer of 10 classes, 1,971,640 parameters.

    References
    ----------
    Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498 (2024), in its later form with
    Muon, whose learning rates for a sum over 2,000 samples are here those of a mean.

    Examples
    --------
    >>> from skconvnet.architectures import cifar_record
    >>> cifar_record()[1]
    RandomFlip(alternating=True)
    """
    bias = 2120.0

    def normalize() -> Layer:
        return BatchNorm(momentum=0.6, scale=False, learning_rate_factor=(1, bias))

    def convolve(filters: int, channels: int) -> Layer:
        # Muon's step at 0.05 times this factor makes singular values 0.24
        factor = 0.24 / (0.05 * 0.2 * max(filters, 9 * channels) ** 0.5)
        return Conv2D(filters, padding="same", bias=False, init="dirac", learning_rate_factor=factor)

    layers = [
        Standardize(),
        RandomFlip(alternating=True),
        RandomCrop(32, padding=2, padding_mode="reflect"),
        Conv2D(24, 2, init="whiten", learning_rate_factor=(0, bias)),
        GELU(),
    ]
    for channels, filters in ((24, 64), (64, 256), (256, 256)):
        layers += [convolve(filters, channels), MaxPool2D(2), normalize(), GELU()]
        layers += [convolve(filters, filters), normalize(), GELU()]
    return [*layers, MaxPool2D(3), Flatten(), Output(bias=False, learning_rate_factor=0.4)]


def numpy_cnn() -> list[Layer]:
    """Make the network of Numpy-CNN, for 28x28 images of one channel.

    Returns
    -------
    layers : list of layer
        With an output layer of 10 classes, 105,634 parameters.

    References
    ----------
    Escontrela, "Numpy-CNN", 2018.

    Examples
    --------
    >>> from skconvnet.architectures import numpy_cnn
    >>> numpy_cnn()[-1]
    Dense(units=128, activation='relu')
    """
    return [
        Conv2D(8, 5, activation="relu"),
        Conv2D(8, 5, activation="relu"),
        MaxPool2D(2),
        Flatten(),
        Dense(128, activation="relu"),
    ]


def kajda_mnist() -> list[Layer]:
    """Make the MNIST network of a report on a modular NumPy CNN, for 28x28 images of one channel.

    Returns
    -------
    layers : list of layer
        With an output layer of 10 classes, 3,864 parameters.

    References
    ----------
    Kajda, "Constructing a CNN from ground up", University of Oslo.

    Examples
    --------
    >>> from skconvnet.architectures import kajda_mnist
    >>> kajda_mnist()[-1]
    Dense(units=20, activation=LeakyReLU(slope=0.001))
    """
    slight = LeakyReLU(0.001)
    return [
        Conv2D(1, 2, stride=3, padding="same", bias=False, activation=slight),
        Flatten(),
        Dense(30, activation=slight),
        Dense(20, activation=slight),
    ]


def vgg(*, filters: Sequence[int] = (64, 128, 256), units: int = 256) -> list[Layer]:
    """Make a network in the manner of VGG, with batch normalisation, for 32x32 images.

    Parameters
    ----------
    filters : tuple of int, default=(64, 128, 256)
        The filters of each stage, which is twice a 3x3 convolution, batch normalisation and ReLU, then
        maximum pooling over 2x2 pixels.
    units : int, default=256
        The units of the dense layer.

    Returns
    -------
    layers : list of layer
        By default, for three channels and with an output layer of 10 classes, 2,197,706 parameters.

    References
    ----------
    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
    ICLR 2015; shallower, and normalised as in Ioffe and Szegedy, ICML 2015.

    Examples
    --------
    >>> from skconvnet.architectures import vgg
    >>> len(vgg(filters=(32, 64), units=128))
    16
    """
    layers = []
    for n in filters:
        for _ in range(2):
            layers += [Conv2D(n, 3, padding="same", bias=False), BatchNorm(), ReLU()]
        layers.append(MaxPool2D(2))
    return [*layers, Flatten(), Dense(units, activation="relu")]


def resnet(*, blocks: int = 3, filters: Sequence[int] = (16, 32, 64)) -> list[Layer]:
    """Make a residual network for small images, of 6 * blocks + 2 layers with weights.

    Parameters
    ----------
    blocks : int, default=3
        Number of residual connections in each stage; each has two 3x3 convolutions with batch normalisation.
    filters : tuple of int, default=(16, 32, 64)
        The filters of each stage; all stages but the first halve the image.

    Returns
    -------
    layers : list of layer
        By default, for three channels and with an output layer of 10 classes, 272,474 parameters.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2;
    with projections where the shape changes.

    Examples
    --------
    >>> from skconvnet.architectures import resnet
    >>> resnet(blocks=1)[-1]
    GlobalAvgPool2D()
    """

    def convolve(n: int, kernel_size: int, stride: int = 1) -> list[Layer]:
        return [Conv2D(n, kernel_size, stride=stride, padding="same", bias=False), BatchNorm()]

    layers = [*convolve(filters[0], 3), ReLU()]
    for stage, n in enumerate(filters):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            branch = [*convolve(n, 3, stride), ReLU(), *convolve(n, 3)]
            layers += [Residual(branch, convolve(n, 1, stride) if stride == 2 else "auto"), ReLU()]
    return [*layers, GlobalAvgPool2D()]


def inception() -> list[Layer]:
    """Make a small network of Inception modules, for images of 28x28 to 32x32 pixels.

    Returns
    -------
    layers : list of layer
        For three channels and with an output layer of 10 classes, 1,649,402 parameters.

    References
    ----------
    Zhang, Bengio, Hardt, Recht and Vinyals, "Understanding deep learning requires rethinking generalization",
    ICLR 2017, figure 3; after Szegedy et al., "Going deeper with convolutions", CVPR 2015.

    Examples
    --------
    >>> from skconvnet.architectures import inception
    >>> inception()[0]
    Conv2D(filters=96, padding='same', bias=False)
    """

    def convolve(filters: int, kernel_size: int, stride: int = 1) -> list[Layer]:
        conv = Conv2D(filters, kernel_size, stride=stride, padding="same", bias=False)
        return [conv, BatchNorm(scale=False), ReLU()]

    # filters of 1x1 and of 3x3 pixels; a module of 3x3 filters alone halves the image
    stages = (
        ((32, 32), (32, 48), (0, 80)),
        ((112, 48), (96, 64), (80, 80), (48, 96), (0, 96)),
        ((176, 160), (176, 160)),
    )
    layers = convolve(96, 3)
    for narrow, wide in (module for stage in stages for module in stage):
        if narrow:
            layers.append(Parallel([convolve(narrow, 1), convolve(wide, 3)]))
        else:
            layers.append(Parallel([convolve(wide, 3, 2), [MaxPool2D(3, stride=2, padding="same")]]))
    return [*layers, GlobalAvgPool2D()]


def squeezenet(*, filters: Sequence[int] = (16, 32, 48, 64)) -> list[Layer]:
    """Make SqueezeNet, for small images.

    Parameters
    ----------
    filters : sequence of int, default=(16, 32, 48, 64)
        The squeezing filters of each pair of modules; a module has four times that number of expanding
        filters of 1x1 pixels, and again of 3x3.

    Returns
    -------
    layers : list of layer
        By default, for three channels and with an output layer of 10 classes, 727,626 parameters.

    References
    ----------
    Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    arXiv:1602.07360 (2016), in its version 1.1; the first convolution has no stride, poolings are those of
    2x2 pixels, and the average over the image comes before the output layer.

    Examples
    --------
    >>> from skconvnet.architectures import squeezenet
    >>> squeezenet()[2].output_shape((64, 16, 16))
    (16, 16, 16)
    """
    layers: list[Layer] = [Conv2D(64, padding="same", activation="relu"), MaxPool2D()]
    for k, n in enumerate(filters):
        for _ in range(2):
            expand: list[list[Layer]] = [
                [Conv2D(4 * n, 1, activation="relu")],
                [Conv2D(4 * n, padding="same", activation="relu")],
            ]
            layers += [Conv2D(n, 1, activation="relu"), Parallel(expand)]
        if k < 2:
            layers.append(MaxPool2D())
    return [*layers, Dropout(), GlobalAvgPool2D()]


def mobilenet(*, width: float = 1.0) -> list[Layer]:
    """Make MobileNet, for small images.

    Parameters
    ----------
    width : float, default=1.0
        Factor of the number of filters of every layer.

    Returns
    -------
    layers : list of layer
        By default, for three channels and with an output layer of 10 classes, 3,217,226 parameters.

    Raises
    ------
    ValueError
        If width leaves a layer without filters.

    References
    ----------
    Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications",
    arXiv:1704.04861 (2017), table 1; the first convolution has no stride.

    Examples
    --------
    >>> from skconvnet.architectures import mobilenet
    >>> mobilenet(width=0.25)[3]
    Conv2D(filters=8, padding='same', bias=False, groups=8)
    """
    sizes = [int(width * n) for n in (32, 64, 128, 128, 256, 256, *6 * (512,), 1024, 1024)]
    strides = (1, 2, 1, 2, 1, 2, *5 * (1,), 2, 1)
    layers: list[Layer] = [Conv2D(sizes[0], padding="same", bias=False), BatchNorm(), ReLU()]
    for n_in, n_out, stride in zip(sizes, sizes[1:], strides):
        depthwise = Conv2D(n_in, stride=stride, padding="same", bias=False, groups=n_in)
        layers += [depthwise, BatchNorm(), ReLU()]
        layers += [Conv2D(n_out, 1, bias=False), BatchNorm(), ReLU()]
    return [*layers, GlobalAvgPool2D()]


def _convolve1d(filters: int, kernel_size: int) -> list[Layer]:
    """Return a convolution that keeps the length, and batch normalisation."""
    return [Conv1D(filters, kernel_size, padding="same", bias=False), BatchNorm()]


def fcn() -> list[Layer]:
    """Make the fully convolutional network for signals.

    Returns
    -------
    layers : list of layer
        For signals of one channel and two classes 264,450 parameters with the output layer, for any length.

    References
    ----------
    Wang, Yan and Oates, "Time series classification from scratch with deep neural networks: a strong
    baseline", IJCNN 2017, section II.B.

    Examples
    --------
    >>> from skconvnet.architectures import fcn
    >>> fcn()[0]
    Conv1D(filters=128, kernel_size=8, padding='same', bias=False)
    """
    layers: list[Layer] = []
    for filters, kernel_size in ((128, 8), (256, 5), (128, 3)):
        layers += [*_convolve1d(filters, kernel_size), ReLU()]
    return [*layers, GlobalAvgPool1D()]


def resnet1d(*, filters: Sequence[int] = (64, 128, 128)) -> list[Layer]:
    """Make the residual network for signals.

    Parameters
    ----------
    filters : sequence of int, default=(64, 128, 128)
        Filters of each of the residual blocks, which have three convolutions of 8, 5 and 3 values.

    Returns
    -------
    layers : list of layer
        For signals of one channel and two classes 503,106 parameters with the output layer, for any length.

    References
    ----------
    Wang, Yan and Oates, "Time series classification from scratch with deep neural networks: a strong
    baseline", IJCNN 2017, section II.C, with the shortcuts of Fawaz et al., "Deep learning for time series
    classification: a review", 2019: batch normalisation, after a convolution if the number of channels
    changes.

    Examples
    --------
    >>> from skconvnet.architectures import resnet1d
    >>> len(resnet1d())
    7
    """
    layers: list[Layer] = []
    for k, n in enumerate(filters):
        branch = [
            *_convolve1d(n, 8),
            ReLU(),
            *_convolve1d(n, 5),
            ReLU(),
            *_convolve1d(n, 3),
        ]
        projects = k == 0 or n != filters[k - 1]
        shortcut = _convolve1d(n, 1) if projects else [BatchNorm()]
        layers += [Residual(branch, shortcut=shortcut), ReLU()]
    return [*layers, GlobalAvgPool1D()]


def inception_time(*, channels: int = 1, depth: int = 6, filters: int = 32) -> list[Layer]:
    """Make one of the networks of InceptionTime, for signals.

    InceptionTime is five of them with different initial weights: ``VotingClassifier`` with ``voting="soft"``
    averages their probabilities.

    Parameters
    ----------
    channels : int, default=1
        The channels of the signals; if they are several, the first module has a bottleneck, too.
    depth : int, default=6
        The number of modules; a residual connection spans three of them.
    filters : int, default=32
        The filters of each convolution; a module has four times that number of channels.

    Returns
    -------
    layers : list of layer
        For signals of one channel and two classes 420,450 parameters with the output layer, for any length.

    References
    ----------
    Fawaz et al., "InceptionTime: finding AlexNet for time series classification", Data Mining and Knowledge
    Discovery 34 (2020), figures 1 and 2.

    Examples
    --------
    >>> from skconvnet.architectures import inception_time
    >>> inception_time()[0].output_shape((1, 1, 150))
    (128, 1, 150)
    """

    def convolve(kernel_size: int) -> Layer:
        return Conv1D(filters, kernel_size, padding="same", bias=False)

    def make_module(bottleneck: bool) -> list[Layer]:
        branches: list[list[Layer]] = [[convolve(kernel_size)] for kernel_size in (40, 20, 10)]
        if bottleneck:
            branches = [[convolve(1), Parallel(branches)]]
        branches.append([MaxPool1D(3, stride=1, padding="same"), convolve(1)])
        return [Parallel(branches), BatchNorm(), ReLU()]

    layers: list[Layer] = []
    for first in range(0, depth, 3):
        modules = [make_module(k > 0 or channels > 1) for k in range(first, min(first + 3, depth))]
        branch = [layer for module in modules for layer in module]
        layers += [Residual(branch, _convolve1d(4 * filters, 1)), ReLU()] if len(modules) == 3 else branch
    return [*layers, GlobalAvgPool1D()]
