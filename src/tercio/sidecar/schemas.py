"""Check a JSON value against the part of JSON Schema that our API's document uses."""

import re
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_TYPES: Final[Mapping[str, type]] = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
}  # fmt: skip


def fault(value: object, schema: Schema, where: str = "the body") -> str:
    """What is wrong with a value; "" for nothing."""
    if "oneOf" in schema:
        fits = [one for one in schema["oneOf"] if not fault(value, one, where)]
        return "" if len(fits) == 1 else f"{where} has a value that is not allowed"
    if "enum" in schema:
        return "" if value in schema["enum"] else f"{where} has a value that is not allowed"
    kind = schema["type"]
    is_bool = isinstance(value, bool)
    if not isinstance(value, _TYPES[kind]) or (is_bool and kind != "boolean"):
        return f"{where} must be of the type {kind}"
    match value:
        case dict():
            return _fault_of_object(value, schema, where)
        case list():
            if not schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
                return f"{where} has too few or too many items"
            found = (fault(item, schema["items"], f"an item of {where}") for item in value)
            return next(filter(None, found), "")
        case str():
            fits_all = re.fullmatch(schema["pattern"].strip("^$"), value, re.ASCII)
            return "" if fits_all else f"{where} has a value that is not allowed"
        case int() if not is_bool:
            in_range = schema["minimum"] <= value <= schema["maximum"]
            return "" if in_range else f"{where} is too small or too large"
    return ""


def _fault_of_object(value: Mapping[str, object], schema: Schema, where: str) -> str:
    known = schema["properties"]
    if any(name not in known for name in value):
        return f"{where} has a field that is not known"
    for name in schema.get("required", ()):
        if name not in value:
            return f"{name!r} is missing"
    found = (fault(item, known[name], repr(name)) for name, item in value.items())
    return next(filter(None, found), "")
