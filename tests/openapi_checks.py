"""Holds JSON to a schema of /openapi.json, and to nothing beside it."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator


def check(answer: Any, schema: str, document: dict[str, Any]) -> None:
    """Whether `answer` is what `document` promises under `schema`, and every member of it, at any depth, is described.

    Clients are promised that members may be added (`additionalProperties`); these tests allow none that is not told.
    """
    components = copy.deepcopy(document["components"])
    for described in components["schemas"].values():
        if described.get("additionalProperties") is True:
            described["additionalProperties"] = False
    whole = {"$ref": f"#/components/schemas/{schema}", "components": components}
    jsonschema.validate(answer, whole, cls=Draft202012Validator)
