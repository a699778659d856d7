"""Reads what a client sent as JSON and as models, and makes the `errors` of a problem document of every mistake."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from infra.errors.requests import InvalidOptions, InvalidRequest
from web.requests.wording import in_words

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

EXACT = 2.0**53  # below it a float holds every integer

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], data: object, at: str = "") -> Model:
    """`data` as `model`. Raises InvalidOptions if only the values of options are wrong, else InvalidRequest.

    `at` is the JSON pointer of `data` within what the client sent.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = [_flat(found, model, at) for found in error.errors(include_url=False, include_context=True)]
        only_options = all(found["pointer"].startswith("/options/") for found in errors)
        problem = InvalidOptions if only_options else InvalidRequest
        raise problem("; ".join(_sentence(found) for found in errors), errors=errors) from None


def parse_json(text: str | bytes, pointer: str = "") -> Any:
    """`text` as JSON. Raises InvalidRequest with the place of the mistake."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once, parse_float=_number)
        require_text(value)
        return value
    except _RepeatedNameError as error:
        detail = f"the name {error.args[0]!r} is given more than once"
        raise InvalidRequest(
            f"{pointer.removeprefix('/') or 'The body'}: {detail}.", errors=[{"pointer": pointer, "detail": detail}]
        ) from None
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        detail = f"not valid JSON{where}"
        name = pointer.removeprefix("/") or "The body"
        raise InvalidRequest(f"{name} is {detail}.", errors=[{"pointer": pointer, "detail": detail}]) from None


def require_text(value: object) -> None:
    """Raises ValueError if a string within the JSON is no text: half of a character can be neither kept nor answered."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) and not one.isascii():
            one.encode()
        elif isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            left += one


def unknown_name(name: str, allowed: list[str]) -> str:
    """The message for a field that does not exist."""
    close = difflib.get_close_matches(name, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"there is no field {name!r} here{hint} Allowed: {', '.join(allowed)}"


class _RepeatedNameError(Exception):
    """A name that an object has twice: which of the values is meant?"""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _RepeatedNameError(name)
        found[name] = value
    return found


def _number(text: str) -> int | float:
    """A number with a fraction or exponent; JSON Schema takes `3.0` for an integer, too."""
    value = float(text)
    return int(value) if abs(value) < EXACT and value.is_integer() else value


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _flat(found: Any, model: type[BaseModel], at: str) -> dict[str, str]:
    pointer = at + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in found["loc"])
    if found["type"] == "extra_forbidden":
        owner = _model_at(model, found["loc"][:-1])
        return {"pointer": pointer, "detail": unknown_name(str(found["loc"][-1]), list(_fields(owner)))}
    return {"pointer": pointer, "detail": in_words(found)}


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the names that a client sends: `from` is no name of Python's."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    for step in path:
        field = _fields(model).get(str(step))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return model


def _sentence(found: dict[str, str]) -> str:
    place = found["pointer"].removeprefix("/").replace("/", ".") or "body"
    return f"{place}: {found['detail']}"
