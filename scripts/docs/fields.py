"""For the API pages: what pydantic's `Field(description=...)` says of an attribute is its docstring, its default the value."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class Fields(griffe.Extension):
    """Reads fields as their source has them; nothing is imported."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Called for each attribute."""
        call = attr.value
        if not isinstance(call, griffe.ExprCall) or str(call.function) != "Field":
            return
        given = {one.name: one.value for one in call.arguments if isinstance(one, griffe.ExprKeyword)}
        if "description" in given and attr.docstring is None:
            attr.docstring = griffe.Docstring(ast.literal_eval(str(given["description"])), parent=attr)
        attr.value = given.get("default")
