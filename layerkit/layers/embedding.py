"""`Embedding`: a vector for each id, learned, and the mask of ids that only fill up."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.initializers import Initializer, Uniform
from layerkit.layers.base import Layer

__all__ = ["Embedding", "PaddingMask"]

_UNIFORM = Uniform(-0.05, 0.05)


class Embedding(Layer):
    """A table of vectors, of which each id takes its row: y[…, :] = table[x[…]].

    x are whole numbers of any shape (batch_size, …), and y is of shape (batch_size, …, n_out).
    Backwards, the gradient of a row is the sum of dy over the places that took it. It costs as
    much as there are places; but all of ``table.grad`` is overwritten, and an optimizer's step
    goes through all rows, those that no id took among them.

    Parameters
    ----------
    n_ids, n_out : int
        Number of ids, from 0 to n_ids − 1, and length of the vectors.
    padding_id : int, optional
        Id that only fills up: its vector is 0, and its row gets no gradient.
    table_initializer : Initializer
        Initializer that draws the first vectors.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    table : Parameter of shape (n_ids, n_out)
        Vectors, a row for each id.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; in a pass, if an id is.

    References
    ----------
    Bengio et al. (2003), "A neural probabilistic language model", section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Embedding, Sequential
    >>> model = Sequential([Embedding(3, 2, padding_id=0)], input_shape=(None,))
    >>> model["embedding_0"].table.value = [[9, 9], [1, 2], [3, 4]]
    >>> model.predict([[2, 1, 0]])
    array([[[3., 4.],
            [1., 2.],
            [0., 0.]]])
    """

    takes_integers = True

    def __init__(
        self,
        n_ids: int,
        n_out: int,
        padding_id: int | None = None,
        *,
        table_initializer: Initializer = _UNIFORM,
        name: str | None = None,
    ) -> None:
        where = "Embedding.__init__"
        self.n_ids = check.integer(where, "n_ids", n_ids, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        self.padding_id = padding_id
        if padding_id is not None:
            self.padding_id = check.integer(where, "padding_id", padding_id, minimum=0)
            check.index(where, "padding_id", padding_id, self.n_ids)
        check.instance(where, "table_initializer", table_initializer, Initializer)
        self.table_initializer = table_initializer
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Declare the table."""
        self.table = self.add_parameter("table", (self.n_ids, self.n_out), self.table_initializer)
        return (*input_shape, self.n_out)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Look up the row of each id."""
        if x.size and not 0 <= x.min() <= x.max() < self.n_ids:
            place = tuple(int(i) for i in np.argwhere((x < 0) | (x >= self.n_ids))[0])
            got = check.Said(f"{x[place]} at {list(place)}")
            remedy = "Number the ids from 0 on, and count those that there may be: n_ids."
            wanted = f"made of ids from 0 to {self.n_ids - 1}"
            check.fail("Embedding.compute_forward", "x", wanted, got, remedy)
        y = self.table.value.take(x, axis=0)
        if self.padding_id is not None:
            y[x == self.padding_id] = 0
        return y, x

    def compute_backward(self, dy: Array, cache: Any, *, skip_frozen: bool = False) -> None:
        """Add up dy by ids, into the rows of the table's gradient."""
        if skip_frozen and not self.table.trainable:
            return
        ids, dy = cache.reshape(-1), dy.reshape(-1, self.n_out)
        if self.padding_id is not None:
            is_real = ids != self.padding_id
            ids, dy = ids[is_real], dy[is_real]
        grad = self.table.grad
        grad.fill(0)
        # One axis, for which NumPy has a loop of its own: three to ten times as fast as by rows.
        places = ids[:, None] * self.n_out + np.arange(self.n_out)
        np.add.at(grad.reshape(-1), places.reshape(-1), dy.reshape(-1))


class PaddingMask(Layer):
    """The mask of ids: 1 where x is a real id, 0 where it only fills up. See `Masked`.

    Parameters
    ----------
    padding_id : int
        Id that only fills up.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> from layerkit import PaddingMask, Sequential
    >>> Sequential([PaddingMask()], input_shape=(None,)).predict([[5, 2, 0]])
    array([[1., 1., 0.]])
    """

    takes_integers = True

    def __init__(self, padding_id: int = 0, *, name: str | None = None) -> None:
        self.padding_id = check.integer("PaddingMask.__init__", "padding_id", padding_id, minimum=0)
        self.name = check.name("PaddingMask.__init__", name)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compare each id with the one that fills up."""
        return (x != self.padding_id).astype(self.dtype), None

    def compute_backward(self, dy: Array, cache: Any) -> None:
        """Return None: integers have no gradient."""
