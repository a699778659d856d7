"""The complaints about what a client sent, in plain words: what is expected there, and what came instead.

Pydantic's own words are for programmers ("list should have at least 4 items after validation"). What is not listed here
keeps them, or has the words of a validator of our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OBJECT = "this must be a JSON object"
LIST = "this must be a list (a JSON array)"
TEXT = "this must be a text (a JSON string)"
WHOLE = "this must be a whole number"
NUMBER = "this must be a number"
TRUTH = "this must be true or false"
TIME = "this must be a time as ISO 8601 has it, with its zone, such as 2026-01-31T12:00:00Z"
WORDS: Mapping[str, str] = {
    "missing": "this field is required",
    "model_type": OBJECT,
    "dict_type": OBJECT,
    "list_type": LIST,
    "string_type": TEXT,
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_parsing_size": WHOLE,
    "int_from_float": WHOLE,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": NUMBER,
    "bool_type": TRUTH,
    "bool_parsing": TRUTH,
    "datetime_type": TIME,
    "datetime_parsing": TIME,
    "datetime_from_date_parsing": TIME,
    "datetime_object_invalid": TIME,
    "timezone_aware": TIME,
    "greater_than_equal": "this must be at least {ge}",
    "greater_than": "this must be more than {gt}",
    "less_than_equal": "this must be at most {le}",
    "less_than": "this must be less than {lt}",
    "literal_error": "this must be {expected}",
    "enum": "this must be {expected}",
    "string_too_long": "this may have at most {max_length} characters",
}


def in_words(found: Mapping[str, Any]) -> str:
    """One of pydantic's errors (`ValidationError.errors()`, with its context) as a sentence without its full stop."""
    kind, context = str(found["type"]), found.get("ctx", {})
    if kind in WORDS:
        return WORDS[kind].format_map(context)
    if kind == "string_too_short":
        least = int(context["min_length"])
        return "this must not be empty" if least == 1 else f"this must have at least {least} characters"
    if kind in {"too_short", "too_long"}:
        bound = "at least" if kind == "too_short" else "at most"
        limit = int(context["min_length" if kind == "too_short" else "max_length"])
        given = "" if context["actual_length"] is None else f", not {context['actual_length']}"
        return f"this list must have {bound} {limit} {'entry' if limit == 1 else 'entries'}{given}"
    message = str(found["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]
