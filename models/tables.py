"""Frozen tables read from TOML and JSON: pydantic validates each key, and every mistake becomes a sentence with its path.

A table is a dataclass. Its keys' types hold where it is read; its rules (`rule`) hold there and wherever it is made.
"""

import dataclasses
import difflib
import functools
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from models.errors import ModelError

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
SHOWN = 80  # characters of a value in a message
T = TypeVar("T")
Path = tuple[int | str, ...]
Rule = Callable[[Any], Iterator[str]]

# The types of keys, with their bounds. A float may be written as a whole number, and is never NaN or infinite.
Text = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
Integer = Annotated[int, Field(strict=True)]  # true and false are none
Float = Annotated[float, Field(strict=True)]
Count = Annotated[Integer, Field(ge=1)]
Whole = Annotated[Integer, Field(ge=0)]  # of things there may be none of, and seeds
Positive = Annotated[Float, Field(gt=0)]
NotNegative = Annotated[Float, Field(ge=0)]
Fraction = Annotated[Float, Field(ge=0, le=1)]  # and probabilities
FractionBelowOne = Annotated[Float, Field(ge=0, lt=1)]  # decays, dropout, smoothing: all of it would leave nothing
Cosine = Annotated[Float, Field(ge=-1, le=1)]

# What pydantic's kinds of error are called here; `{value}` is what was read, the other names are pydantic's.
SENTENCES = {
    "missing": "is missing",
    "int_type": "must be a whole number, not {value}",
    "int_from_float": "must be a whole number, not {value}",
    "float_type": "must be a number, not {value}",
    "finite_number": "must be a finite number, not {value}",
    "bool_type": "must be true or false, not {value}",
    "string_type": "must be text, not {value}",
    "string_too_short": "must be text that is not empty",
    "tuple_type": "must be a list, not {value}",
    "dict_type": "must be a table, not {value}",
    "mapping_type": "must be a table, not {value}",
    "dataclass_type": "must be a table, not {value}",
    "greater_than": "must be above {gt:g}, not {value}",
    "greater_than_equal": "must be {ge:g} or more, not {value}",
    "less_than": "must be below {lt:g}, not {value}",
    "less_than_equal": "must be {le:g} or less, not {value}",
    "multiple_of": "must be a multiple of {multiple_of:g}, not {value}",
    "too_short": "must have {min_length} or more entries, not {actual_length}",
    "too_long": "must have {max_length} or fewer entries, not {actual_length}",
    "value_error": "{error}",
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """One mistake: `stages[1].batch: must be 1 or more, not 0`."""

    path: Path
    sentence: str

    def __str__(self) -> str:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")
        return f"{place}: {self.sentence}" if place else self.sentence


class TableError(ModelError, ValueError):
    """A table can't be used: all its mistakes, one a line. A ValueError, so that pydantic collects it with the others."""

    def __init__(self, detail: str, code: str | None = None, faults: tuple[Fault, ...] = ()) -> None:
        ModelError.__init__(self, detail, code)
        self.faults = faults or (Fault((), detail),)

    @classmethod
    def of(cls, faults: tuple[Fault, ...], where: str = "") -> typing.Self:
        """The error for these mistakes, of the file `where`."""
        start = f"{where}: " if where else ""
        if len(faults) == 1:
            return cls(f"{start}{faults[0]}", faults=faults)
        lines = "".join(f"\n  {fault}" for fault in faults)
        return cls(f"{start}{len(faults)} mistakes:{lines}", faults=faults)


def rule(*keys: str) -> Callable[[Rule], Rule]:
    """Marks a method that yields a sentence for each way in which `keys` don't fit together; the first key is blamed.

    It runs where all of them could be read, whatever else is wrong, and may use no other keys.
    """

    def mark(method: Rule) -> Rule:
        method.__dict__["rule_keys"] = keys
        return method

    return mark


def known(*values: str) -> AfterValidator:
    """Of a text that has one of a few values: `Annotated[str, known("v1", "v2")]`."""

    def check(value: str) -> str:
        if value not in values:
            listed = ", ".join(map(repr, values))
            raise ValueError(f"must be one of {listed}, not {_shown(value)}{_meant(value, values)}")
        return value

    return AfterValidator(check)


def frozen_table(kind: type[T], error: type[TableError]) -> type[T]:
    """`kind` as a frozen dataclass that `read_table` reads and that raises `error` where it is made against its rules."""

    def post_init(self: Any) -> None:
        if faults := tuple(fault for keys, method in _rules(kind) for fault in _broken(self, keys, method)):
            raise error.of(faults)

    def core(cls: type[T], source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Any:
            try:
                return inner(value)
            except ValidationError as caught:
                faults = [fault for detail in caught.errors(include_url=False) for fault in _faults(cls, detail)]
                if isinstance(value, dict):
                    faults += _faults_of_the_rest(cls, value, {str(fault.path[0]) for fault in faults if fault.path})
                # Rules run twice where the keys are right and a rule is not.
                raise error.of(tuple(dict.fromkeys(faults))) from None

        return core_schema.no_info_wrap_validator_function(validate, handler(source))

    for name, value in (
        ("__pydantic_config__", CONFIG),
        ("__post_init__", post_init),
        ("__get_pydantic_core_schema__", classmethod(core)),
    ):
        setattr(kind, name, value)
    return dataclasses.dataclass(frozen=True)(kind)


def read_table(kind: type[T], data: object) -> T:
    """`kind` from plain values. Raises TableError, of the type that `kind` raises, with all mistakes."""
    try:
        table: T = _adapter(typing.cast(Any, kind)).validate_python(data)
    except ValidationError as caught:
        raise caught.errors(include_url=False)[0]["ctx"]["error"] from None
    return table


@functools.cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _rules(kind: type) -> Iterator[tuple[tuple[str, ...], Rule]]:
    for method in vars(kind).values():
        if keys := getattr(method, "rule_keys", ()):
            yield keys, method


def _broken(table: Any, keys: tuple[str, ...], method: Rule) -> Iterator[Fault]:
    return (Fault((keys[0],), sentence) for sentence in method(table))


def _faults_of_the_rest(kind: type, table: dict[str, Any], wrong: set[str]) -> Iterator[Fault]:
    """Of the rules whose keys could be read, while others could not."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind, include_extras=True)
    unknown = [str(key) for key in table if key not in fields]
    meant = {name for key in unknown for name in difflib.get_close_matches(key, fields, n=1)}
    for keys, method in _rules(kind):
        # What seems to be missing may be what is misspelt: that one mistake is not reported as two.
        if wrong.intersection(keys) or meant.intersection(keys).difference(table):
            continue
        part: Any = object.__new__(kind)
        for key in keys:
            if key in table:
                value = TypeAdapter(hints[key]).validate_python(table[key])
            elif (factory := fields[key].default_factory) is not dataclasses.MISSING:
                value = factory()
            else:
                value = fields[key].default
            object.__setattr__(part, key, value)
        yield from _broken(part, keys, method)


def _faults(kind: type, detail: ErrorDetails) -> Iterator[Fault]:
    context, path, value = detail.get("ctx", {}), detail["loc"], detail["input"]
    inner = context.get("error")
    if isinstance(inner, TableError):  # of a table in this one
        yield from (Fault(path + fault.path, fault.sentence) for fault in inner.faults)
    elif detail["type"] == "unexpected_keyword_argument":
        keys = [field.name for field in dataclasses.fields(kind)]
        yield Fault(path, f"is an unknown key{_meant(str(path[-1]), keys) or '; known: ' + ', '.join(keys)}")
    elif detail["type"] == "missing" and isinstance(path[-1], int):  # of a list of fixed length
        yield Fault(path[:-1], f"has too few entries: {_shown(value)}")
    else:
        sentence = SENTENCES.get(detail["type"], "is not what was expected: {value}")
        yield Fault(path, sentence.format(**context, value=_shown(value)))


def _meant(name: str, candidates: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):  # as TOML and JSON write them
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:  # a whole number of too many digits
        return "a number that long"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
