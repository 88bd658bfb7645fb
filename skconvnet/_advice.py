"""Advice: what to write instead of an unknown name, argument or word."""

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn, Self, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

# What Keras, PyTorch and scikit-learn's MLPs call a thing, by its name here: a word, which counts where it is
# valid, or a public name with its module. A sentence is the advice itself. Near misses need no row.
SYNONYMS = {
    "filters": "out_channels filters_out n_filters out_features units",
    "kernel_size": "kernel size pool_size",
    "pool_size": "kernel_size size kernel",
    "init": "kernel_initializer weight_init",
    "rate": "p dropout",
    "units": "out_features n_units n_hidden filters",
    "degrees": "factor angle",
    "slope": "negative_slope alpha",
    "initial_learning_rate": "lr learning_rate learning_rate_init eta",
    "max_learning_rate": "lr max_lr learning_rate learning_rate_init eta",
    "learning_rate": "lr learning_rate_init eta",
    "max_iter": "epochs max_epochs n_epochs nb_epoch",
    "weight_decay": "alpha l2",
    "optimizer": "solver",
    "layers": "hidden_layer_sizes module model network",
    "n_threads": "n_jobs",
    "validation_fraction": "validation_split",
    "n_iter_no_change": "patience",
    "loss": "criterion objective",
    "scoring": "metrics",
    "identity": "linear none",
    "sigmoid": "logistic",
    "channels_first": "nchw chw",
    "channels_last": "nhwc hwc",
    "cross_entropy": "log_loss categorical_crossentropy sparse_categorical_crossentropy ce nll",
    "binary_cross_entropy": "bce binary_crossentropy",
    "squared_error": "mse mean_squared_error l2",
    "absolute_error": "mae mean_absolute_error l1",
    "quantile": "pinball pinball_loss quantile_loss",
    "poisson": "poisson_nll poisson_nll_loss poisson_deviance",
    "cosine": "cosine_similarity cosine_distance",
    "focal": "focal_loss sigmoid_focal_loss categorical_focal_crossentropy binary_focal_crossentropy",
    "skconvnet.losses.CrossEntropy": "CrossEntropyLoss CategoricalCrossentropy SparseCategoricalCrossentropy",
    "skconvnet.losses.BinaryCrossEntropy": "BCEWithLogitsLoss BCELoss BinaryCrossentropy",
    "skconvnet.losses.SquaredError": "MSELoss MeanSquaredError",
    "skconvnet.losses.AbsoluteError": "L1Loss MeanAbsoluteError",
    "skconvnet.losses.Huber": "HuberLoss SmoothL1Loss",
    "skconvnet.losses.Poisson": "PoissonNLLLoss PoissonLoss",
    "skconvnet.losses.Cosine": "CosineSimilarity CosineEmbeddingLoss",
    "skconvnet.losses.Focal": "FocalLoss CategoricalFocalCrossentropy",
    "skconvnet.layers.MaxPool2D": "MaxPooling2D",
    "skconvnet.layers.AvgPool2D": "AveragePooling2D",
    "skconvnet.layers.GlobalAvgPool2D": "GlobalAveragePooling2D AdaptiveAvgPool2d",
    "skconvnet.layers.GlobalMaxPool2D": "GlobalMaxPooling2D AdaptiveMaxPool2d",
    "skconvnet.layers.MaxPool1D": "MaxPooling1D",
    "skconvnet.layers.AvgPool1D": "AveragePooling1D",
    "skconvnet.layers.GlobalAvgPool1D": "GlobalAveragePooling1D AdaptiveAvgPool1d",
    "skconvnet.layers.GlobalMaxPool1D": "GlobalMaxPooling1D AdaptiveMaxPool1d",
    "skconvnet.layers.BatchNorm": "BatchNormalization BatchNorm1d BatchNorm2d",
    "skconvnet.layers.LayerNorm": "LayerNormalization",
    "skconvnet.layers.Dense": "Linear",
    "skconvnet.layers.Standardize": "Normalization",
    "skconvnet.layers.ZeroPad2D": "ZeroPadding2D",
    "skconvnet.layers.RandomShift": "RandomTranslation",
    "skconvnet.optimizers.Adam": "adam",
    "skconvnet.optimizers.SGD": "sgd",
    "skconvnet.schedules.StepDecay": "StepLR",
    "skconvnet.schedules.ExponentialDecay": "ExponentialLR",
    "skconvnet.schedules.CosineDecay": "CosineAnnealingLR",
    "skconvnet.schedules.LinearDecay": "LinearLR PolynomialDecay",
    "skconvnet.schedules.OneCycle": "OneCycleLR",
    "skconvnet.schedules.ReduceOnPlateau": "ReduceLROnPlateau",
    "skconvnet.datasets.fetch_mnist": "load_mnist mnist",
    "skconvnet.datasets.read_cifar10": "load_cifar10 cifar10",
    "skconvnet.plotting.LearningCurveDisplay": "plot_learning_curve plot_learning_curves plot_history",
    "skconvnet.architectures.lenet5": "lenet",
    "ConvNetClassifier and ConvNetRegressor take their layers in a list.": "Sequential Model Module",
    "It is found from the data: leave it out.": "in_channels in_features num_features input_dim input_shape",
    "Set learning_rate of the estimator.": "lr learning_rate learning_rate_init",
    "Set weight_decay of the estimator.": "weight_decay",
    "Set them by set_callbacks(...).": "callbacks",
    "Give fit X_val=... and y_val=....": "validation_data eval_set",
    "It runs on the CPU: leave it out.": "device",
    "silu": "swish",
    "hardswish": "hard_swish hardswish6",
    "skconvnet.layers.SiLU": "Swish",
    "concat": "concatenate cat",
    "add": "sum",
    "multiply": "mul product prod",
    "average": "mean avg",
    "max": "maximum",
    "skconvnet.layers.Parallel": "Concatenate Concat Multiply Average Maximum Branches ModuleList",
    "skconvnet.layers.Residual": "Add",
    "skconvnet.layers.Conv2DTranspose": "ConvTranspose2d Deconv2D Deconvolution2D",
    "skconvnet.layers.UpSample2D": "UpSampling2D Upsample",
    "interpolation": "mode",
    "bilinear": "linear",
}


def guide_imports(module: str) -> None:
    """Make a module say of a name that it does not have where the name is, or what it is called here."""

    def explain(name: str) -> NoReturn:
        raise explain_import(module, name, sys.modules[module].__all__)

    vars(sys.modules[module])["__getattr__"] = explain  # if it were written, mypy would accept every name


def explain_import(module: str, name: str, known: Iterable[str]) -> Exception:
    """Return the error for a name that a module does not have, given the names that it has.

    It is an ImportError if the meaning is known, because `from ... import` hides the text of other errors. A
    lower-case name must be in the table: pickle looks for functions such as "relu" in all modules.
    """
    modules = (module, *(f"skconvnet.{name}" for name in ("layers", "losses", "optimizers", "schedules")))
    public = [f"{home}.{own}" for home in modules for own in getattr(sys.modules.get(home), "__all__", ())]
    fold = str if name.islower() else str.lower
    for target, words in {**dict.fromkeys(public, ""), **SYNONYMS}.items():
        home, _, own = target.rpartition(".")
        is_sentence = " " in target
        if home and fold(name) in fold(f"{own} {words}").split() and not (is_sentence and name.islower()):
            remedy = target if is_sentence else f"Write: from {home} import {own}."
            return ImportError(f"{module} has no {name}. {remedy}", name=name)
    return AttributeError(f"module {module!r} has no attribute {name!r}.{hint(name, known)}")


class StrictInit:
    """Rejects constructor arguments that the class does not take, and suggests the right one."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        signature = inspect.signature(cls.__init__)
        try:
            signature.bind_partial(None, *args, **kwargs)
        except TypeError as error:
            raise TypeError(explain_call(cls.__name__, signature, args, kwargs, error)) from None
        return super().__new__(cls)


def check_keywords(method: Method) -> Method:
    """Make an estimator's method reject arguments that it does not take, and suggest the right one."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            signature.bind(self, *args, **kwargs)
        except TypeError as error:
            owner = f"{type(self).__name__}.{method.__name__}"
            params = inspect.signature(type(self).__init__).parameters
            raise TypeError(explain_call(owner, signature, args, kwargs, error, params)) from None
        return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]


def explain_call(
    owner: str,
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: Iterable[str],
    error: TypeError,
    params: Collection[str] = (),
) -> str:
    """Say what is wrong with the arguments of a call; params are the estimator's, for one of its methods."""
    own = list(signature.parameters.values())[1:]
    names, leading = [p.name for p in own], [p.name for p in own if p.kind is not p.KEYWORD_ONLY]
    for name in kwargs:
        if name not in names:
            meant = guess(name, [*names, *params])
            constructor = f"It is a parameter of the estimator: {owner.partition('.')[0]}({meant}=...)."
            advice = suggest(name, names, constructor if meant in params else "")
            return f"{owner} got an unexpected keyword argument {name!r}. {advice}"
    if len(args) <= len(leading):
        return f"{owner}: {error}."
    if leading[:1] == ["layers"] and all(isinstance(value, StrictInit) for value in args):
        return ask_for_list(owner, "layers", args)
    taken = f"{len(leading)} ({', '.join(leading)})" if leading else "0"
    others = ", ".join(f"{name}=..." for name in names if name not in leading)
    return (
        f"{owner}: too many positional arguments, {len(args)} instead of {taken}. Write others as {others}."
    )


def ask_for_list(owner: str, what: str, values: Iterable[Any]) -> str:
    """Say how to give in a list what was given side by side."""
    return f"{owner} takes its {what} in one list: write {owner}({list(values)!r})."


def short_repr(value: object) -> str:
    """Return the repr of a value for a message, without the middle of a long one."""
    text = repr(value)
    return text if len(text) <= 200 else " ".join(f"{text[:140]} ... {text[-40:]}".split())


def suggest(word: object, known: Iterable[str], advice: str = "") -> str:
    """Return the advice, or else a hint, and a list of the known words."""
    known = sorted(known)
    return f"{advice or hint(word, known)} Valid: {', '.join(known)}.".lstrip()


def hint(word: object, known: Iterable[str]) -> str:
    """Return a sentence that says which known word was probably meant, or what to do instead."""
    if isinstance(word, type) and issubclass(word, StrictInit):
        return f" {word.__name__} is a class: write it with parentheses, {word.__name__}()."
    meant = guess(word, known)
    return f" {meant}" if " " in meant else f" Did you mean {meant!r}?" if meant else ""


def guess(word: object, known: Iterable[str]) -> str:
    """Return the known word that a synonym means or that is close, a sentence of advice, or nothing."""
    names = {name.lower(): name for name in known}
    text = (word.__name__ if isinstance(word, type) else str(word)).lower()
    if text in names:
        return names[text]
    for meant, synonyms in SYNONYMS.items():
        if text in synonyms.split() and (meant in names or " " in meant):
            return meant
    close = difflib.get_close_matches(text, names, n=1)
    return names[close[0]] if close else ""
