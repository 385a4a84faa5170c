"""A griffe extension for the API pages: a pydantic field's `description` is its docstring, its `default` its value."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class Fields(griffe.Extension):
    """Reads pydantic fields from the source code."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Set the docstring and the value of one attribute. griffe calls this method for each attribute."""
        call = attr.value
        if not isinstance(call, griffe.ExprCall) or str(call.function) != "Field":
            return
        given = {one.name: one.value for one in call.arguments if isinstance(one, griffe.ExprKeyword)}
        if "description" in given and attr.docstring is None:
            attr.docstring = griffe.Docstring(ast.literal_eval(str(given["description"])), parent=attr)
        if "alias" in given and attr.docstring is not None:
            attr.docstring.value += f" Also as `{ast.literal_eval(str(given['alias']))}`."
        attr.value = given.get("default")
