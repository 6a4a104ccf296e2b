"""`ConstructorRepr`: a base class for objects that know the arguments of their constructor.

Their `repr` reads like the code that made them, and they can be rebuilt from a file.
"""

from typing import Any, Self

from layerkit._support import validation as check
from layerkit._support.signatures import MISSING, arguments_of
from layerkit.errors import SaveError


class ConstructorRepr:
    """Base class whose `repr` is the constructor call, such as ``Dense(8, 3, Sigmoid())``.

    The arguments are read from the attributes of the same names, without those that have their
    default values. A subclass has nothing to write for it.
    """

    def __repr__(self) -> str:
        """Return the constructor call as text."""
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
        """Return the constructor's arguments, read from the attributes of the same names.

        Returns
        -------
        dict of str to object
            Arguments by name, as `from_config` accepts them.

        Raises
        ------
        SaveError
            If an argument is not stored as an attribute.
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
        """Create an object from the return value of `get_config`.

        Parameters
        ----------
        config : dict of str to object
            Arguments of the constructor, by name.

        Returns
        -------
        object
            New instance of the class.
        """
        return cls(**config)
