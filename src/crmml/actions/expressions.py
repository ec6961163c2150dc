"""A small language for eligibility: conditions over score columns, parsed and never executed.

::

    lifecycle_stage == 'retain' and churn_probability >= 0.5
    value_tier in ('A', 'B') and not (frequency < 2)
    contactable and 0.2 <= probability_alive <= 0.8

Comparisons (also chained), ``and``, ``or``, ``not``, ``in``, ``not in``, parentheses, numbers,
text and ``True`` / ``False``; a bare name is a column of booleans. Nulls follow SQL's
three-valued logic, and a condition that is unknown in the end does not hold.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from crmml._typing import BoolArray
from crmml.exceptions import CrmmlError, first_few

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

_MOST_DIGITS = 40
_A = {"numbers": "a number", "flags": "True or False", "text": "a text"}

_Truth: TypeAlias = tuple[BoolArray, BoolArray]  # (is true, is known)


class ExpressionError(CrmmlError, ValueError):
    """A condition cannot be read, or names a column that is not there."""

    def __init__(self, rule: str, text: str, position: int | None, *, owner: str) -> None:
        at = "" if position is None else f" at position {position + 1}"
        super().__init__(f"{owner}: {rule}{at} of the condition {text!r}")


@dataclass(frozen=True)
class Expression:
    """A parsed condition.

    Parameters
    ----------
    text : str
        The condition.
    owner : str
        Whose condition it is, for messages: ``"action 'courtesy_call'"``.

    Raises
    ------
    ExpressionError
        If the text is not of the language; the message says where.

    Examples
    --------
    >>> table = pd.DataFrame({"risk": [0.9, 0.2, None], "tier": ["A", "B", "A"]})
    >>> Expression("risk > 0.5 and tier in ('A', 'B')").holds(table)
    array([ True, False, False])
    """

    text: str
    owner: str = "expression"

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", self._parse())

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the condition reads, in order of appearance."""
        names = [n for n in ast.walk(self._root) if isinstance(n, ast.Name)]
        return tuple(dict.fromkeys(n.id for n in sorted(names, key=lambda n: n.col_offset)))

    def holds(self, table: pd.DataFrame, seen: dict[str, _Truth] | None = None) -> BoolArray:
        """Say for each row whether the condition holds; an unknown one does not.

        Parameters
        ----------
        table : DataFrame
        seen : dict, optional
            Comparisons of the same table that other conditions made; those of this one are added.

        Raises
        ------
        ExpressionError
            If a column is missing (the message lists those present) or a column is compared
            with a value of another type.
        """
        true, known = self._truth(self._root, table, {} if seen is None else seen)
        return true & known

    def check_kinds(self, kinds: Mapping[str, str]) -> None:
        """Refuse comparisons that can never hold, because the two sides are of different kinds.

        Parameters
        ----------
        kinds : mapping of str to str
            Column to ``"number"``, ``"integer"``, ``"flag"``, ``"text"`` or another word; of
            another word, and of columns that are not named, anything may be asked.

        Raises
        ------
        ExpressionError
            With the place of the comparison.

        Examples
        --------
        >>> Expression("value_tier == 5").check_kinds({"value_tier": "text"})
        Traceback (most recent call last):
            ...
        crmml.actions.expressions.ExpressionError: expression: value_tier holds text and is never
        compared with a number at position 1 of the condition 'value_tier == 5'
        """
        for node in ast.walk(self._root):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                for left, right in pairwise(sides):
                    listed = isinstance(right, ast.Tuple | ast.List)
                    for one in right.elts if listed else [right]:  # type: ignore[attr-defined]
                        self._check_pair(left, one, kinds)

    def _check_pair(self, left: ast.expr, right: ast.expr, kinds: Mapping[str, str]) -> None:
        here, there = self._kind(left, kinds), self._kind(right, kinds)
        if here is None or there is None or here == there:
            return
        if not isinstance(left, ast.Name):
            left, here, there = right, there, here
        raise self._error(
            f"{ast.unparse(left)} holds {here} and is never compared with {_A[there]}", left
        )

    def _kind(self, node: ast.expr, kinds: Mapping[str, str]) -> str | None:
        """Say what a side of a comparison holds; None where it is not known."""
        if isinstance(node, ast.Name):
            kind = kinds.get(node.id, "")
            return {"integer": "numbers", "number": "numbers", "flag": "flags", "text": "text"}.get(
                kind
            )
        value = self._literal(node)
        if isinstance(value, bool):
            return "flags"
        return "text" if isinstance(value, str) else "numbers"

    @property
    def _root(self) -> ast.expr:
        tree: ast.expr = self._tree  # type: ignore[attr-defined]
        return tree

    def _parse(self) -> ast.expr:
        try:
            tree = ast.parse(f"({_one_line(self.text)})", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            offset = getattr(error, "offset", None)
            place = None if offset is None else max(0, min(offset - 2, len(self.text)))
            raise ExpressionError(
                "this cannot be read", self.text, place, owner=self.owner
            ) from None
        self._check(tree)
        return tree

    def _check(self, node: ast.expr) -> None:
        """Refuse every kind of node that the language does not have."""
        match node:
            case ast.BoolOp(values=parts):
                for part in parts:
                    self._check(part)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                self._check(part)
            case ast.Compare(left=left, ops=ops, comparators=others):
                self._check_operand(left)
                for op, other in zip(ops, others, strict=True):
                    if isinstance(op, ast.In | ast.NotIn):
                        self._check_list(other)
                    elif type(op) in _COMPARE:
                        self._check_operand(other)
                    else:
                        raise self._error("'is' is not part of the language", other)
                if len(ops) > 1 and any(isinstance(op, ast.In | ast.NotIn) for op in ops):
                    raise self._error("'in' cannot be chained", node)
            case ast.Name() | ast.Constant(value=bool()):
                pass
            case _:
                raise self._error(
                    "only comparisons, and, or, not, in, column names and literals are allowed",
                    node,
                )

    def _check_operand(self, node: ast.expr) -> None:
        if not isinstance(node, ast.Name):
            self._literal(node)

    def _check_list(self, node: ast.expr) -> None:
        if not isinstance(node, ast.Tuple | ast.List):
            raise self._error("'in' needs a list in parentheses", node)
        for element in node.elts:
            self._literal(element)

    def _literal(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int()) if len(ast.unparse(node)) > _MOST_DIGITS:
                raise self._error(f"a number has at most {_MOST_DIGITS} digits", node)
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
        raise self._error("a column name, a number, a text or True / False is expected", node)

    def _truth(self, node: ast.expr, table: pd.DataFrame, seen: dict[str, _Truth]) -> _Truth:
        match node:
            case ast.BoolOp(op=joint, values=parts):
                true, known = self._truth(parts[0], table, seen)
                for part in parts[1:]:
                    true, known = _both(joint, (true, known), self._truth(part, table, seen))
                return true, known
            case ast.UnaryOp(operand=part):
                true, known = self._truth(part, table, seen)
                return ~true & known, known
            case ast.Compare(left=left, ops=ops, comparators=others):
                asked = ast.unparse(node)
                if asked not in seen:  # the conditions of a catalogue share many
                    truth = self._compare(left, ops[0], others[0], table)
                    for op, left, right in zip(ops[1:], others, others[1:], strict=False):
                        truth = _both(ast.And(), truth, self._compare(left, op, right, table))
                    seen[asked] = truth
                return seen[asked]
            case ast.Constant(value=value):
                return np.full(len(table), value), np.ones(len(table), dtype=bool)
            case _:
                column = self._operand(node, table)
                known = column.notna().to_numpy()
                if not pd.api.types.is_bool_dtype(column[known].infer_objects().dtype):
                    raise self._error(
                        f"column {ast.unparse(node)!r} is used as a condition but is not boolean",
                        node,
                    )
                return column.fillna(False).astype(bool).to_numpy(), known

    def _compare(
        self, left: ast.expr, op: ast.cmpop, right: ast.expr, table: pd.DataFrame
    ) -> _Truth:
        first = self._operand(left, table)
        known = np.broadcast_to(np.asarray(pd.notna(first)), len(table))
        if isinstance(op, ast.In | ast.NotIn):
            assert isinstance(right, ast.Tuple | ast.List)  # noqa: S101 - checked when parsed
            among = [self._literal(element) for element in right.elts]
            result = np.asarray(pd.Series(first, index=table.index).isin(among))
            result = result if isinstance(op, ast.In) else ~result
        else:
            second = self._operand(right, table)
            known = known & np.asarray(pd.notna(second))
            try:
                result = _COMPARE[type(op)](first, second)
            except TypeError:
                raise self._error(
                    f"{ast.unparse(left)} and {ast.unparse(right)} are of different types",
                    left,
                ) from None
        true = pd.Series(result, index=table.index).fillna(False).astype(bool).to_numpy()
        return true & known, known

    def _operand(self, node: ast.expr, table: pd.DataFrame) -> Any:
        if not isinstance(node, ast.Name):
            return self._literal(node)
        if node.id not in table.columns:
            raise self._unknown(node, map(str, table.columns))
        column = table[node.id]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(column.cat.categories.dtype)
        return column

    def _unknown(self, node: ast.Name, present: Iterable[str]) -> ExpressionError:
        return self._error(
            f"there is no column {node.id!r} (there are {first_few(present, 40)})", node
        )

    def _error(self, rule: str, node: ast.expr) -> ExpressionError:
        # the parser counts bytes, and the parenthesis around the text
        before = f"({_one_line(self.text)}".encode()[: node.col_offset]
        return ExpressionError(rule, self.text, len(before.decode()) - 1, owner=self.owner)


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


def _both(op: ast.boolop, a: _Truth, b: _Truth) -> _Truth:
    """Join two three-valued truths (Kleene); ``true`` is never set where not ``known``."""
    (a_true, a_known), (b_true, b_known) = a, b
    if isinstance(op, ast.And):
        false = (a_known & ~a_true) | (b_known & ~b_true)
        return a_true & b_true, (a_known & b_known) | false
    true = a_true | b_true
    return true, (a_known & b_known) | true
