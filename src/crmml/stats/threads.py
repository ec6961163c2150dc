"""Linear algebra on one thread: faster here, and the same to the last bit on any machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from threadpoolctl import threadpool_limits

_P = ParamSpec("_P")
_T = TypeVar("_T")


def on_one_thread(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a function do its linear algebra on one thread.

    The products here are short and many. Threads would wait for each other longer than the work
    takes (twice as long on an idle machine, forty times on a busy one), and they would add up in an
    order that depends on their number.

    Parameters
    ----------
    function : callable
        Any; calls may be nested.
    """
    limited = threadpool_limits.wrap(limits=1, user_api="blas")
    return cast(Callable[_P, _T], limited(function))


def one_thread() -> threadpool_limits:
    """Do so while a context lasts; see :func:`on_one_thread`."""
    return threadpool_limits(limits=1, user_api="blas")
