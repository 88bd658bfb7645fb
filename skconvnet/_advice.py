"""Advice: what to write instead of a name, an argument or a word that is not known here."""

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, NoReturn, Self, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

# What Keras, PyTorch and scikit-learn's MLPs call a thing, by its name here, or by what to say of it. A name
# counts where it is valid.
SYNONYMS = {
    "filters": "out_channels filters_out n_filters out_features units",
    "kernel_size": "kernel size pool_size",
    "pool_size": "kernel_size size kernel",
    "stride": "strides",
    "dilation": "dilation_rate",
    "bias": "use_bias fit_intercept",
    "init": "kernel_initializer weight_init",
    "rate": "p dropout",
    "units": "out_features n_units n_hidden filters",
    "degrees": "factor angle",
    "epsilon": "eps",
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
    "arctan": "atan",
    "channels_first": "nchw chw",
    "channels_last": "nhwc hwc",
    "cross_entropy": "log_loss categorical_crossentropy sparse_categorical_crossentropy ce nll",
    "binary_cross_entropy": "bce binary_crossentropy",
    "squared_error": "mse mean_squared_error l2",
    "absolute_error": "mae mean_absolute_error l1",
    "It is found from the data: leave it out.": "in_channels in_features num_features input_dim input_shape",
    "Set learning_rate of the estimator.": "lr learning_rate learning_rate_init",
    "Set weight_decay of the estimator.": "weight_decay",
    "Set them by set_callbacks(...).": "callbacks",
    "Give fit X_val=... and y_val=....": "validation_data eval_set",
    "It runs on the CPU: leave it out.": "device",
    "SiLU (swish) is not here; GELU is near it.": "swish silu",
}

# What other libraries call public things, by where they are here, or by what to say of them.
ELSEWHERE = {
    "skconvnet.layers.MaxPool2D": "MaxPooling2D",
    "skconvnet.layers.AvgPool2D": "AveragePooling2D",
    "skconvnet.layers.GlobalAvgPool2D": "GlobalAveragePooling2D AdaptiveAvgPool2d",
    "skconvnet.layers.GlobalMaxPool2D": "GlobalMaxPooling2D AdaptiveMaxPool2d",
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
    "skconvnet.schedules.OneCycle": "OneCycleLR",
    "skconvnet.schedules.ReduceOnPlateau": "ReduceLROnPlateau",
    "skconvnet.datasets.fetch_mnist": "load_mnist mnist",
    "skconvnet.datasets.read_cifar10": "load_cifar10 cifar10",
    "skconvnet.plotting.LearningCurveDisplay": "plot_learning_curve plot_learning_curves plot_history",
    "skconvnet.architectures.lenet5": "lenet",
    "ConvNetClassifier and ConvNetRegressor take their layers in a list.": "Sequential Model Module",
}


def guide_imports(module: str) -> None:
    """Make a module say of names that it does not have where they are, or what they are here."""

    def explain(name: str) -> NoReturn:
        raise explain_import(module, name, sys.modules[module].__all__)

    vars(sys.modules[module])["__getattr__"] = explain  # written out, it would have mypy know every name


def explain_import(module: str, name: str, known: Iterable[str]) -> Exception:
    """Give the error of a name that a module does not have, given those that it has.

    It is an ImportError where it is known what was meant, since `from ... import` keeps the text of no other;
    but not for words such as "relu", which pickle looks for in all modules if it is a function without one.
    """
    if not name.startswith("_"):
        fold = str if name.islower() else str.lower
        rooms = [module, *(f"skconvnet.{room}" for room in ("layers", "optimizers", "schedules"))]
        public = [f"{room}.{own}" for room in rooms for own in getattr(sys.modules.get(room), "__all__", ())]
        for place, words in (*dict.fromkeys(public, "").items(), *ELSEWHERE.items()):
            room, _, own = place.rpartition(".")
            if fold(name) in fold(f"{own} {words}").split():
                remedy = place if " " in place else f"Write: from {room} import {own}."
                return ImportError(f"{module} has no {name}. {remedy}", name=name)
    return AttributeError(f"module {module!r} has no attribute {name!r}.{hint(name, known)}")


class StrictInit:
    """Says of arguments that a class does not take what to write instead."""

    # What is said of too many positional arguments, the first of these that can be: {first} is the first of
    # them, {named} a call with keywords where they are due, in the order of Keras, {rest} one without the
    # first, as PyTorch's layers take what comes in, {example} one with the first keyword. There is no {rest}
    # unless all are ints, and a call that the class refuses in turn is not there to be said.
    _excess: ClassVar[tuple[str, ...]] = ("takes {takes} by position: write {named}.",)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        signature = inspect.signature(cls.__init__)
        try:
            signature.bind_partial(None, *args, **kwargs)
        except TypeError as error:
            own = list(signature.parameters.values())[1:]
            raise TypeError(cls._explain(own, args, kwargs) or f"{cls.__name__}: {error}.") from None
        return super().__new__(cls)

    @classmethod
    def _explain(cls, own: list[inspect.Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Say what is wrong with arguments, given the parameters that there are; nothing if unknown."""
        names, owner = [p.name for p in own], cls.__name__
        for name in kwargs:
            if name not in names:
                return f"{owner} got an unexpected keyword argument {name!r}. {suggest(name, names)}"
        leading = [p.name for p in own if p.kind is not p.KEYWORD_ONLY]
        if len(args) <= len(leading):
            return ""
        if leading and all(isinstance(value, StrictInit) for value in args):
            return ask_for_list(owner, leading[0], args)
        others = [name for name in names if name not in leading and name != "name"]
        said = {
            "takes": " and ".join(leading) or "nothing",
            "first": repr(args[0]),
            "example": _write_call(owner, (), {p.name: p.default for p in own[:1]}),
        }
        orders = {"named": args, "rest": args[1:]} if all(type(v) is int for v in args) else {"named": args}
        for way, values in orders.items():
            with suppress(TypeError, ValueError):
                said[way] = _write_call(owner, *cls._assign(len(leading), others, values, kwargs))
        for excess in (*cls._excess, *StrictInit._excess):
            with suppress(KeyError):
                return f"{owner} {excess.format(**said)}"
        return f"{owner} takes {said['takes']} by position."

    @classmethod
    def _assign(
        cls, n: int, others: list[str], values: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Give n values by position and, as far as there are fields, others to the first that takes them."""
        positional, named = values[:n], dict(kwargs)
        cls(*positional, **named)
        for value in values[n : n + len(others)]:
            for name in others:
                if name not in named:
                    with suppress(TypeError, ValueError):
                        cls(*positional, **named, **{name: value})
                        named[name] = value
                        break
            else:
                raise ValueError(f"{cls.__name__} does not take {value!r}.")
        return positional, named


def _write_call(owner: str, positional: Sequence[Any], named: dict[str, Any]) -> str:
    """Write a call as in a program."""
    shown = [*map(short_repr, positional), *(f"{name}={short_repr(value)}" for name, value in named.items())]
    return f"{owner}({', '.join(shown)})"


def ask_for_list(owner: str, what: str, values: Iterable[Any]) -> str:
    """Say how to give in a list what was given side by side."""
    return f"{owner} takes its {what} in one list: write {owner}({list(values)!r})."


def check_keywords(method: Method) -> Method:
    """Make an estimator's method say of arguments that it does not take what to write instead."""
    signature = inspect.signature(method)
    own = [name for name in signature.parameters if name != "self"]

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        kind = type(self).__name__
        owner = f"{kind}.{method.__name__}"
        for name in kwargs:
            if name not in own:
                params = inspect.signature(type(self)).parameters
                meant, message = guess(name, [*own, *params]), suggest(name, own)
                if meant in params:
                    message = f"It is a parameter of the estimator: {kind}({meant}=...). {list_words(own)}"
                raise TypeError(f"{owner} got an unexpected keyword argument {name!r}. {message}")
        try:
            signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{owner}: {error}.") from None
        return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]


def check_function(owner: str, what: str, function: Any, arguments: str, remedy: str = "") -> None:
    """Require a function of so many arguments, "X, rng"; what is compiled may not say how many it has."""
    # the signature of an object lacks the first argument of a __call__ that is a staticmethod
    called = function if isinstance(function, type) or inspect.isroutine(function) else function.__call__
    try:
        inspect.signature(called).bind(*arguments.split(", "))
    except ValueError:
        return
    except TypeError as error:
        raise TypeError(
            f"{owner}: {what} must be a function({arguments}), got {function!r}: {error}.{remedy}"
        ) from None


def short_repr(value: object) -> str:
    """Write a value as its repr, without the middle of a long one, for messages."""
    text = repr(value)
    return text if len(text) <= 200 else " ".join(f"{text[:140]} ... {text[-40:]}".split())


def suggest(word: object, known: Iterable[str]) -> str:
    """Say which known word was probably meant, and list them all."""
    known = list(known)
    return f"{hint(word, known)} {list_words(known)}".lstrip()


def list_words(known: Iterable[str]) -> str:
    """List the known words in their order."""
    return f"Valid: {', '.join(sorted(known))}."


def hint(word: object, known: Iterable[str]) -> str:
    """Say which known word was probably meant, or what to do instead."""
    if isinstance(word, type) and issubclass(word, StrictInit):
        return f" {word.__name__} is a class: write it with parentheses, {word.__name__}()."
    meant = guess(word, known)
    return f" {meant}" if " " in meant else f" Did you mean {meant!r}?" if meant else ""


def guess(word: object, known: Iterable[str]) -> str:
    """Give the known word that was probably meant, as another library's may mean one or as it is close.

    Give what to say of the word where no known one is meant, and nothing if there is neither.
    """
    names = {name.lower(): name for name in known}
    text = (word.__name__ if isinstance(word, type) else str(word)).lower()
    if text in names:
        return names[text]
    for meant, synonyms in SYNONYMS.items():
        if text in synonyms.split() and (meant in names or " " in meant):
            return meant
    close = difflib.get_close_matches(text, names, n=1)
    return names[close[0]] if close else ""
