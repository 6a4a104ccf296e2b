"""A `repr` that reads like the code that made the object."""

from typing import Any

from layerkit._signatures import MISSING, arguments_of


class ConstructorRepr:
    """Give a class the repr of its constructor call: ``Dense(8, 3, Sigmoid())``.

    The arguments are read from the attributes of the same name; one that still has its default
    value is left out, so that a subclass writes nothing.
    """

    def __repr__(self) -> str:
        """Write the call that makes an object like this one."""
        parts = []
        by_keyword = False
        for argument in arguments_of(type(self).__init__):
            value: Any = getattr(self, argument.name, MISSING)
            if value is MISSING:
                text = "..."
            elif argument.default is not MISSING and repr(value) == repr(argument.default):
                # What follows a left-out argument can only be given by keyword.
                by_keyword = True
                continue
            else:
                text = repr(value)
            by_keyword = by_keyword or argument.keyword_only
            parts.append(f"{argument.name}={text}" if by_keyword else text)
        return f"{type(self).__name__}({', '.join(parts)})"
