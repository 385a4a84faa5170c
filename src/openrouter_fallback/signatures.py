"""Constructors with signatures for editors: the arguments are declared once, for type checkers and for `inspect`.

A constructor that checks its own arguments takes `**given`, which hides the argument names from editors.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial, wraps
from types import MethodType
from typing import Any, Self, TypeVar, cast

from .errors import ConfigError
from .sealed import bare
from .suggest import no_attribute

Method = TypeVar("Method", bound=Callable[..., Any])
Init = TypeVar("Init", bound=Callable[..., None])


def declares(construct: Callable[..., None]) -> Callable[[Init], Init]:
    """A decorator: the decorated method only declares the signature, and `construct` runs in its place.

    `construct` receives only the arguments that the caller gave, none of the declared defaults.
    """

    def decorate(declared: Init) -> Init:
        @wraps(declared)
        def init(self: object, *args: object, **given: object) -> None:
            outer = sys.exception()
            try:
                construct(self, *args, **given)
            except ConfigError as error:
                del args, given
                raise bare(error, outer)  # noqa: B904 - the same error

        return cast("Init", init)

    return decorate


def call_itself(method: Method) -> Method:
    """A decorator for `client.chat`: an unknown attribute, such as `completions`, raises an error with advice."""
    return cast("Method", _CallItself(method))


class _CallItself:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object, owner: type) -> Any:
        return self._function if instance is None else _BoundCall(self._function, instance)


class _BoundCall(partial[Any]):
    """A bound method with helpful errors for unknown attributes. A `partial` is made and called as fast as a method."""

    __slots__ = ()

    @property
    def _method(self) -> MethodType:
        return MethodType(self.func, self.args[0])

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._method)

    def __getattr__(self, name: str) -> Any:
        method = self._method
        if hasattr(method, name):
            return getattr(method, name)
        raise no_attribute("client.chat", "client.chat", name, ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BoundCall) and self._method == other._method

    def __hash__(self) -> int:
        return hash(self._method)

    def __reduce__(self) -> Any:
        return self._method.__reduce__()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return repr(self._method)


class DeclaredSignature:
    """The `__signature__` of a pydantic class with deferred build, which shows its base's until the first instance."""

    def __get__(self, instance: object, owner: Any) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        signature = inspect.signature(owner.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])
