"""Objects that know what their constructor was called with.

So they have a `repr` that reads like the code that made them, and can be made again from a file.
"""

from typing import Any, Self

from layerkit._support import validation as check
from layerkit._support.signatures import MISSING, arguments_of
from layerkit.errors import SaveError


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

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments by name, from the attributes of the same name.

        Returns
        -------
        dict of str to object
            What `from_config` takes.

        Raises
        ------
        SaveError
            If an argument was not kept.
        """
        config = {}
        for argument in arguments_of(type(self).__init__):
            if not hasattr(self, argument.name):
                name = argument.name
                remedy = f"Write self.{name} = {name} in __init__, or override get_config."
                got = check.Said("no such attribute")
                where = f"{type(self).__name__}.get_config"
                check.fail(where, name, "kept as an attribute", got, remedy, error=SaveError)
            config[argument.name] = getattr(self, argument.name)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make an object like the one whose `get_config` gave this.

        Parameters
        ----------
        config : dict of str to object
            The constructor's arguments.

        Returns
        -------
        object
            A new one of the class.
        """
        return cls(**config)
