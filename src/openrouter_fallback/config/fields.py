"""The value types of a configuration: read-only containers, and the validators of single fields."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    SerializerFunctionWrapHandler,
    StrictStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapSerializer,
    WrapValidator,
)
from pydantic.types import Strict
from pydantic_core import PydanticKnownError

from ..failures.kinds import FailureKind
from ..source import Path, Source
from ..suggest import did_you_mean
from .headers import headers_problem
from .problems import Place, explain, listed, refuse, report, show, where

MAX_DEPTH = 40
MEMORY: Literal["memory"] = "memory"
QUANTILES = ("p50", "p95", "p99")
AUTO = "auto"

_RESERVED_PARAMS = ("model", "messages", "stream")
_NOT_OVERRIDABLE = (FailureKind.CANCELLED, FailureKind.LOCAL)
OVERRIDABLE = [str(kind) for kind in FailureKind if kind not in _NOT_OVERRIDABLE]

K = TypeVar("K")
V = TypeVar("V")


def _read_only(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError("the configuration is read-only")


class FrozenDict(dict[K, V]):
    """A read-only dict. Equals a plain dict, and can be copied and pickled (a mappingproxy cannot)."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _read_only
    clear = pop = popitem = setdefault = update = _read_only

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __deepcopy__(self, memo: object) -> Self:
        return self


class SealedHeaders(FrozenDict[str, SecretStr]):
    """Headers whose values may be secrets. The values print as masks, and a pickle holds only the masks."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ({name: SecretStr(str(value)) for name, value in self.items()},)

    def __copy__(self) -> Self:
        return self

    @property
    def masked(self) -> list[str]:
        """The names of headers whose values a dump or a pickle replaced by the mask."""
        return [name for name, value in self.items() if value.get_secret_value() == str(SecretStr("x"))]


class AutoTiers(FrozenDict[str, tuple[str, ...]]):
    """`cost_tiers: auto`: no lists of models. The tiers are derived from prices."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AutoTiers)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "auto"


class FrozenList(list[V]):
    """A read-only list. Equals a plain list, and can be copied and pickled."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _read_only
    append = extend = insert = remove = pop = clear = sort = reverse = _read_only

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Frozen(BaseModel):
    """An immutable pydantic model. One `ConfigError` lists all mistakes in its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    _by_position: ClassVar[str | None] = None

    def __init__(self, /, *args: object, **data: object) -> None:
        if args:
            name = self._by_position
            if name is None or len(args) > 1 or name in data:
                raise TypeError(f"{type(self).__name__} takes {f'{name} once' if name else 'nothing'} by position")
            data = {name: args[0], **data}
        try:
            self.__pydantic_validator__.validate_python(data, self_instance=self)
        except ValidationError as error:
            found = explain(error, self._place, {})
        else:
            return
        # Raised outside the except block and without the arguments: they may hold a key.
        del args, data
        raise report(Source(type(self).__name__), found)

    # Tells pydantic to build nested models without this method, so that their errors keep their path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def _place(cls, path: Path) -> Place:
        field = cls.model_fields.get(str(path[0])) if path else None
        return Place(list(cls.model_fields), (field and field.description) or "")


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded as UTF-8, which means without lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _frozen_json(value: object, path: tuple[str | int, ...]) -> JsonValue:
    if len(path) > MAX_DEPTH:
        raise refuse(f"nested more than {MAX_DEPTH} levels deep.")
    match value:
        case None | bool():
            return value
        case str() if is_unicode(value):
            return value
        case int() if -(2**63) <= value < 2**64:
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise refuse(f"found the key {show(key)} in {where(path)}; allowed is a string: quote it.")
            return FrozenDict({key: _frozen_json(one, (*path, key)) for key, one in value.items()})
        case list() | tuple():
            return FrozenList(_frozen_json(one, (*path, index)) for index, one in enumerate(value))
    raise refuse(
        f"found {show(value, path)} at {where(path)}; allowed is what JSON can hold (numbers finite, dates quoted)."
    )


def _params(value: object) -> JsonValue:
    if not isinstance(value, Mapping):
        raise refuse(f"found {show(value)}; allowed is a mapping of request parameters, as in {{temperature: 0.2}}.")
    for key in _RESERVED_PARAMS:
        if key in value:
            raise refuse(f"found the parameter {key!r}, which the call itself sets; remove it.")
    return _frozen_json(value, ("params",))


def _kind(kind: object) -> object:
    if isinstance(kind, str) and kind not in OVERRIDABLE:
        what = f"{show(str(kind))} cannot be overridden" if kind in _NOT_OVERRIDABLE else f"unknown kind {show(kind)}"
        raise refuse(f"{what}.{did_you_mean(kind, OVERRIDABLE)} Allowed are {listed(OVERRIDABLE)}.")
    return kind


def _model_id(value: str) -> str:
    if not value or not value.isprintable() or " " in value:
        raise refuse(f"found {show(value)}; allowed is a model id without white space, as in 'openai/gpt-5.1'.")
    return value


def _base_url(value: str) -> str:
    if "@" in value:
        raise refuse(
            "found a URL with credentials in it; name the variable that holds the key in `api_key_env` instead."
        )
    if "?" in value or "#" in value:
        raise refuse("found a URL with a query or fragment; allowed is scheme, host and path, as in 'https://host/v1'.")
    try:
        url = urlsplit(value)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good or " " in value or not value.isprintable():
        raise refuse(f"found {show(value)}; allowed is an http or https URL, as in 'https://host/v1'.")
    base = value.rstrip("/")
    if base.endswith("/chat/completions"):
        raise refuse("found a URL with /chat/completions at its end; give the part before that.")
    return base


def _health_store(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text == MEMORY:
        return MEMORY
    try:
        url = urlsplit(text) if isinstance(text, str) else None
        good = url is not None and (
            bool(url.hostname) and url.port != 0 if url.scheme in ("redis", "rediss") else url.scheme == "unix"
        )
    except ValueError:
        good = False
    if not good or not isinstance(text, str) or " " in text or not text.isprintable():
        # The message does not show the value, which may hold a password.
        raise refuse("found something else; allowed is memory, or a URL as in 'rediss://host:6379/0'.")
    return SecretStr(text)


def without_password(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    options = "&".join(one for one in parts.query.split("&") if "password" not in one.lower())
    return parts._replace(netloc=f"{user}@{host}" if user else host, query=options).geturl()


def _env_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise refuse(
            "found '***'; allowed is the name of an environment variable as OPENROUTER_API_KEY, not the key itself."
        )
    return value


def _headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    problem = headers_problem(headers)
    if problem is not None:
        raise refuse(f"{problem}.")
    kept = SealedHeaders(headers)
    if kept.masked:
        raise refuse(f"the value of the header {kept.masked[0]!r} is masked, as dumps hold it; give it again.")
    return kept


def _names(value: object) -> object:
    if value in ([], ()):
        raise refuse("found an empty list; allowed is at least one entry.")
    return tuple(value) if isinstance(value, list) else value


def _tiers(value: object, validate: ValidatorFunctionWrapHandler) -> Mapping[str, tuple[str, ...]]:
    if value == AUTO:
        return AutoTiers()
    if isinstance(value, str):
        allowed = f"allowed is 'auto', or a list of models for each tier.{did_you_mean(value, [AUTO])}"
        raise refuse(f"found {show(value)}; {allowed}")
    return FrozenDict(validate(value))


def _dumped(tiers: object, dump: SerializerFunctionWrapHandler) -> object:
    return AUTO if isinstance(tiers, AutoTiers) else dump(tiers)


Seconds = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]


def _dollars(value: object) -> object:
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            amount = Decimal(str(value))
            if amount.is_finite() and amount > 0:
                return amount
    raise refuse(f"found {show(value)}; allowed is an amount of USD above 0, as in 0.05.")


Dollars = Annotated[
    Decimal,
    PlainValidator(_dollars),
    # Without this serializer pydantic warns: it expects a Decimal in the string that it made.
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0}),
]
Share = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]


def _delay(value: object, seconds: ValidatorFunctionWrapHandler) -> object:
    """Seconds or a quantile. A union type would report one mistake twice."""
    if isinstance(value, str) and value not in QUANTILES:
        raise PydanticKnownError("literal_error", {"expected": "'p50', 'p95', 'p99' or a number of seconds"})
    return value if isinstance(value, str) else seconds(value)


if TYPE_CHECKING:
    Delay = float | Literal["p50", "p95", "p99"]
else:
    Delay = Annotated[
        Seconds,
        WrapValidator(_delay),
        WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"enum": list(QUANTILES)}]}),
    ]
ModelId = Annotated[StrictStr, AfterValidator(_model_id)]
BaseUrl = Annotated[StrictStr, AfterValidator(_base_url)]
EnvName = Annotated[StrictStr, AfterValidator(_env_name)]
HealthStoreUrl = Annotated[
    Literal["memory"] | SecretStr,
    PlainValidator(_health_store),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^(memory$|rediss?://|unix://)"}),
]
Headers = Annotated[
    Mapping[StrictStr, SecretStr],
    AfterValidator(_headers),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
_NAMES_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
Names = Annotated[
    tuple[StrictStr, ...],
    Strict(),
    BeforeValidator(_names),
    WithJsonSchema(_NAMES_SCHEMA),
]
CostTiers = Annotated[
    Mapping[StrictStr, Names],
    WrapValidator(_tiers),
    WrapSerializer(_dumped),
    WithJsonSchema({"anyOf": [{"const": AUTO}, {"type": "object", "additionalProperties": _NAMES_SCHEMA}]}),
]
Params = Annotated[Mapping[str, JsonValue], PlainValidator(_params), WithJsonSchema({"type": "object"})]
Kind = Annotated[FailureKind, BeforeValidator(_kind), WithJsonSchema({"type": "string", "enum": OVERRIDABLE})]
Verdict = Literal["next", "raise", "retry"]
