"""A `repr` that reads like the code that made the object."""

import inspect
from typing import Any


class ConstructorRepr:
    """Give a class the repr of its constructor call: ``Dense(8, 3, Sigmoid())``.

    The arguments are read from the attributes of the same name; one that still has its default
    value is left out, so that a subclass writes nothing.
    """

    def __repr__(self) -> str:
        """Write the call that makes an object like this one."""
        parts = []
        missing = object()
        parameters = [
            parameter
            for parameter in inspect.signature(type(self)).parameters.values()
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        by_keyword = False
        for parameter in parameters:
            value: Any = getattr(self, parameter.name, missing)
            if value is missing:
                text = "..."
            elif parameter.default is not parameter.empty and repr(value) == repr(
                parameter.default
            ):
                # What follows a left-out argument can only be given by keyword.
                by_keyword = True
                continue
            else:
                text = repr(value)
            by_keyword = by_keyword or parameter.kind is parameter.KEYWORD_ONLY
            parts.append(f"{parameter.name}={text}" if by_keyword else text)
        return f"{type(self).__name__}({', '.join(parts)})"
