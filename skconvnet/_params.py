"""Nested parameters: ``layers__stem__filters``, ``optimizer__momentum``.

Layers, optimizers and schedules are immutable, so setting a field replaces the object by a changed copy.
Lists of layers that a user passed in are never changed.
"""

from dataclasses import fields, replace
from typing import Any, Self

from skconvnet._advice import hint, short_repr, suggest
from skconvnet._values import Value
from skconvnet.layers.sequence import name_members
from skconvnet.optimizers import OPTIMIZERS, Optimizer, resolve_optimizer


class NestedParamsMixin:
    """Makes the fields of an estimator's layers, optimizer and schedule accessible as its parameters."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the layers and the fields of layers, optimizer and schedule too, as
            ``layers__<name or position>``, ``layers__<name or position>__<field>``,
            ``optimizer__<field>`` and ``learning_rate__<field>``.

        Returns
        -------
        params : dict
        """
        params: dict[str, Any] = super().get_params(deep=deep)  # type: ignore[misc]
        if deep:
            for name, value in list(params.items()):
                params.update(_list_fields(name, value))
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator.

        Parameters
        ----------
        **params : dict
            Whole parameters are set first, then whole layers, then fields.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If there is no such parameter, layer or field, or its value is not valid.
        """
        own = super().get_params(deep=False)  # type: ignore[misc]
        whole, nested = {}, {}
        for name, value in params.items():
            root, separator, path = name.partition("__")
            if separator and root in own and not hasattr(own[root], "set_params"):
                nested.setdefault(root, {})[path] = value
            elif root in own:
                whole[name] = value
            else:
                known = self.get_params()
                below = [repr(path) for path in known if path.endswith(f"__{name}")]
                meant = f" Did you mean {' or '.join(below[:3])}?" if below else hint(name, known)
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}.{meant} Valid: "
                    f"{', '.join(sorted(own))}."
                )
        super().set_params(**whole)  # type: ignore[misc]
        for root, changes in nested.items():
            setattr(self, root, _change(root, getattr(self, root), changes))
        return self


def _list_fields(name: str, value: Any) -> dict[str, Any]:
    """Return the layers and fields below a parameter by full name; none below objects not of skconvnet."""
    found = {}
    if isinstance(value, Value):
        for f in fields(value):
            found[f"{name}__{f.name}"] = getattr(value, f.name)
            found.update(_list_fields(f"{name}__{f.name}", getattr(value, f.name)))
    elif isinstance(value, (list, tuple)):
        try:
            named = name_members(value)
        except (TypeError, ValueError):
            return {}  # fit reports what is wrong with it
        for key, layer in named:
            found[f"{name}__{key}"] = layer
            found.update(_list_fields(f"{name}__{key}", layer))
    return found


def _change(name: str, value: Any, changes: dict[str, Any]) -> Any:
    """Return a copy of a value or of a list of layers, with the changes {path: value} made."""
    if isinstance(value, str) and value in OPTIMIZERS:
        value = resolve_optimizer(value)
    if isinstance(value, Value):
        known = {f.name: getattr(value, f.name) for f in fields(value)}
        for key in (path.partition("__")[0] for path in changes):
            others = [cls.__name__ for cls in OPTIMIZERS.values() if key in cls.__dataclass_fields__]
            if isinstance(value, Optimizer) and key not in known and others:
                raise ValueError(
                    f"Cannot set {name}__{key}: {name} is {value!r}, whose fields are {', '.join(known)}; "
                    f"{key} is one of {', '.join(others)}."
                )
        return replace(value, **_regroup(name, known, changes))
    if isinstance(value, (list, tuple)):
        named = dict(name_members(value))
        for key in (path.partition("__")[0] for path in changes):
            if key not in named and key.isdecimal() and int(key) < len(value):
                raise ValueError(
                    f"Cannot set {name}__{key}: the layer at position {key} has a name. Use "
                    f"{name}__{value[int(key)].name}."
                )
        changed = _regroup(name, named, changes)
        return [changed.get(key, layer) for key, layer in named.items()]
    first = next(iter(changes))
    if value is None:
        raise ValueError(f"Cannot set {name}__{first}: {name} is None. Set it to a value with fields first.")
    raise ValueError(f"Cannot set {name}__{first}: {name} is {short_repr(value)}, which has no such fields.")


def _regroup(name: str, known: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changed members of {key: member}: whole members first, then the fields below them."""
    changed, below = {}, {}
    for path, value in changes.items():
        key, _, rest = path.partition("__")
        if key not in known:
            raise ValueError(f"Cannot set {name}__{path}: {name} has no {key!r}. {suggest(key, known)}")
        if rest:
            below.setdefault(key, {})[rest] = value
        else:
            changed[key] = _keep_name(key, known[key], value)
    for key, rest in below.items():
        changed[key] = _change(f"{name}__{key}", changed.get(key, known[key]), rest)
    return changed


def _keep_name(key: str, old: Any, new: Any) -> Any:
    """Return the new layer, with the old one's name if it has none, so that searches still find it."""
    if getattr(old, "name", None) == key and getattr(new, "name", key) is None:
        return replace(new, name=key)
    return new
