"""Runs: rows next to each other that belong together, summed without a table of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from crmml._typing import BoolArray, FloatArray, IntArray

Numbers = npt.NDArray[Any]

_MOST_BITS = 63


class Runs:
    """Rows in order, cut wherever a key changes.

    Parameters
    ----------
    *keys : ndarray, each of shape (n_rows,)
        Sorted, so that rows of equal keys lie together.

    Attributes
    ----------
    starts, ends : ndarray of int, shape (n_runs,)
        First row of each run, and the row after its last.

    Examples
    --------
    >>> runs = Runs(np.array([4, 4, 7]))
    >>> runs.sizes.tolist(), runs.sum(np.array([1, 2, 5])).tolist()
    ([2, 1], [3, 5])
    """

    def __init__(self, *keys: Numbers) -> None:
        change = np.zeros(len(keys[0]), dtype=bool)
        change[:1] = True
        for key in keys:
            change[1:] |= key[1:] != key[:-1]
        self._rows = len(change)
        self.starts: IntArray = np.flatnonzero(change)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> IntArray:
        """The row after the last of each run."""
        return np.append(self.starts[1:], self._rows)[: len(self.starts)]

    @property
    def sizes(self) -> IntArray:
        """Number of rows of each run."""
        return self.ends - self.starts

    def sum(self, values: Numbers) -> Numbers:
        """Add up; whole numbers stay whole, booleans are counted."""
        if values.dtype == bool:
            values = values.view(np.int8)
        kind = np.int64 if values.dtype.kind == "i" else values.dtype
        return np.add.reduceat(values, self.starts, dtype=kind)

    def max(self, values: Numbers) -> Numbers:
        """Return the largest value of each run."""
        return np.maximum.reduceat(values, self.starts)

    def any(self, values: BoolArray) -> BoolArray:
        """Say of which runs some value is true."""
        return np.logical_or.reduceat(values, self.starts)

    def first(self, values: Numbers) -> Numbers:
        """Return the value in the first row of each run."""
        return values[self.starts]

    def last(self, values: Numbers) -> Numbers:
        """Return the value in the last row of each run."""
        return values[self.ends - 1]

    def quantile(self, values: IntArray, q: float) -> FloatArray:
        """Return a quantile of whole numbers that rise within each run, interpolated.

        Parameters
        ----------
        values : ndarray of int, shape (n_rows,)
        q : float
            Between 0 and 1.

        Examples
        --------
        >>> Runs(np.array([1, 1, 1])).quantile(np.array([2, 4, 8]), 0.75).tolist()
        [6.0]
        """
        place = (self.sizes - 1) * q
        below = np.floor(place)
        low = values[self.starts + below.astype(np.int64)]
        high = values[self.starts + np.ceil(place).astype(np.int64)]
        found: FloatArray = low + (place - below) * (high - low)
        return found


def sort_by(*keys: IntArray) -> tuple[IntArray, IntArray]:
    """Return the order by some whole numbers, none below 0, and a number for each combination.

    Parameters
    ----------
    *keys : ndarray of int, shape (n,)
        The first one counts most.

    Returns
    -------
    order, key : ndarray of int, shape (n,)
        Places in order, and rising numbers, equal where all keys are.
    """
    sizes = [int(key.max(initial=0)) + 1 for key in keys]
    if sum(size.bit_length() for size in sizes) > _MOST_BITS:
        order = np.lexsort(keys[::-1])
        other = np.zeros(len(order), dtype=np.int64)
        other[Runs(*(key[order] for key in keys)).starts[1:]] = 1
        return order, np.cumsum(other)
    joint = keys[0]
    for key, size in zip(keys[1:], sizes[1:], strict=True):
        joint = joint * size + key
    if (joint[1:] >= joint[:-1]).all():
        return np.arange(len(joint)), joint
    order = np.argsort(joint)
    return order, joint[order]
