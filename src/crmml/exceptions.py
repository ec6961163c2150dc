"""Named errors and warnings. Each class builds its own sentence from facts.

A user's mistake is always a :class:`CrmmlError`; the command line prints its one sentence on
stderr and exits with code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal


def _short(value: object, most: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 4]}...{text[-1]}"


def first_few(values: Iterable[object], most: int = 5) -> str:
    """Write the first few of many values: ``'a', 'b', 'c' and 7 more``."""
    shown = list(values)
    head = ", ".join(map(_short, shown[:most]))
    return head if len(shown) <= most else f"{head} and {len(shown) - most:,} more"


_LONGEST = 1_990
"""Characters of a message: what is longer is read by nobody."""


class CrmmlError(Exception):
    """A mistake that the user can mend; its text is one clear sentence of at most 2,000 signs."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ...")


class DurationError(CrmmlError, ValueError):
    """A text is not a duration."""

    def __init__(self, got: object) -> None:
        super().__init__(
            "a duration is a positive number and a unit, H (hours), D (days), W (weeks), "
            "M (months), Q (quarters) or P (purchase opportunities), like '52W', at most 100000W; "
            f"years have no fixed length, write weeks or months; got {_short(got)}"
        )


class DataError(CrmmlError, ValueError):
    """Rows of a table break a rule.

    Parameters
    ----------
    rule : str
        The rule, as a sentence fragment: ``"recency must lie between 0 and T"``.
    table, column : str
        Where.
    n_rows : int, optional
        How many rows break it.
    examples : iterable, optional
        Ids (or values) of the first offending rows.

    Attributes
    ----------
    sentence : str
        The text without the examples: what may be stored or logged, as examples may be ids of
        customers.
    """

    def __init__(
        self,
        rule: str,
        *,
        table: str,
        column: str | None = None,
        n_rows: int | None = None,
        examples: Iterable[object] = (),
    ) -> None:
        where = f"table {table!r}" + (f", column {column!r}" if column else "")
        verb = "row breaks" if n_rows == 1 else "rows break"
        count = "" if n_rows is None else f": {n_rows:,} {verb} it"
        shown = list(examples)
        first = f" (first: {first_few(shown)})" if shown else ""
        self.sentence = f"{rule}; {where}{count}"
        super().__init__(self.sentence + first)
        self.rule, self.table, self.column, self.n_rows = rule, table, column, n_rows


class MissingColumnsError(DataError):
    """A table lacks required columns, or several columns of its file may be one of them.

    Parameters
    ----------
    missing, present : iterable of str
        Names of columns.
    table : str
        Where.
    open_choice : bool
        Whether ``crmml init`` left several candidates for each in the configuration.
    """

    def __init__(
        self,
        missing: Iterable[str],
        present: Iterable[str],
        *,
        table: str,
        open_choice: bool = False,
    ) -> None:
        if not open_choice:
            rule = f"missing column(s) {first_few(missing)}; present are {first_few(present, 30)}"
        else:
            open_ = list(missing)
            verb, plural = ("are", "s") if len(open_) > 1 else ("is", "")
            rule = (
                f"{' and '.join(open_)} {verb} still to be chosen: write the column{plural} of "
                f"the file under data.{table}.columns, where crmml init left the candidates as "
                f"comments (the file has {first_few(present, 12)})"
            )
        super().__init__(rule, table=table)


class MissingTableError(CrmmlError, KeyError):
    """A table is asked for that was not given; ``why`` says what it is needed for."""

    def __init__(self, missing: Iterable[str], present: Iterable[str], why: str = "") -> None:
        wanted = list(missing)
        lead = "at least one of the tables" if len(wanted) > 1 else "the table"
        given = first_few(present, 10) or "none"
        reason = f": {why}" if why else ""
        super().__init__(f"{lead} {first_few(wanted)} is needed{reason}; given are {given}")

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would print it in quotes


class NotFittedError(CrmmlError, ValueError):
    """A model is asked before it was fitted."""

    def __init__(self, model: object) -> None:
        super().__init__(f"{type(model).__name__} is not fitted yet; call fit(snapshot) first")


class TooLittleDataError(CrmmlError, ValueError):
    """The data cannot carry the model at all (not even with a warning)."""


class ParameterError(CrmmlError, ValueError):
    """A setting is outside its legal range."""

    def __init__(self, name: str, rule: str, got: object) -> None:
        super().__init__(f"{name} must be {rule}; got {_short(got)}")


class WrongArgumentError(CrmmlError, TypeError):
    """An argument is of another kind than is needed.

    Parameters
    ----------
    who : str
        What was called.
    needed, got : str
        What it takes, and what it was given.
    remedy : str
        What makes the one of the other.
    """

    def __init__(self, who: str, needed: str, got: str, remedy: str) -> None:
        super().__init__(f"{who} needs {needed}; got {got}: {remedy}")


class CrmmlWarning(UserWarning):
    """Something the user must know, though the work goes on.

    Parameters
    ----------
    text : str
        One sentence.
    about : str
        What it is about: the model and the fit. Usually whoever fits says so; see
        :func:`crmml.notes.about`.

    Attributes
    ----------
    code, severity, topic : str
        Of the note that it becomes; see :class:`crmml.notes.Note`.
    """

    code: ClassVar[str] = "warning"
    severity: ClassVar[Literal["info", "warn", "ask"]] = "warn"
    topic: ClassVar[Literal["data", "models", "decisions"]] = "models"

    def __init__(self, text: str, about: str = "") -> None:
        super().__init__(text)
        self.text, self.about = text, about

    def __str__(self) -> str:
        return f"{self.about}: {self.text}" if self.about else self.text


class SilenceWarning(CrmmlWarning):
    """The log ends before the cutoff: the days between count as silence of every customer."""

    code = "log_ends_early"
    topic = "data"


class UnlikeTrainingWarning(CrmmlWarning):
    """The data to score are unlike those that the bundle was trained on."""

    code = "unlike_training"
    topic = "data"


class AheadWarning(CrmmlWarning):
    """Rows are dated after everything that is known, and are not seen."""

    code = "dated_ahead"
    topic = "data"


class FitWarning(CrmmlWarning):
    """A fit stands, but its meaning is limited; the text says how."""

    code = "limited_fit"


class BoundaryWarning(FitWarning):
    """The optimum lies on the boundary of the parameter space: a process is not identified."""

    code = "boundary"


class InfiniteMeanWarning(FitWarning):
    """A fitted distribution has no mean, so expectations without own history are infinite."""

    code = "infinite_mean"


class ConvergenceWarning(FitWarning):
    """The optimiser stopped without meeting its tolerance."""

    code = "not_converged"


class RegularityWarning(FitWarning):
    """The snapshot does not hold what a choice of regularity needs."""

    code = "regularity_unseen"


class LeakWarning(FitWarning):
    """A feature of the snapshot tells the outcome nearly by itself: it may know the future."""

    code = "leak"
    severity = "ask"
    topic = "data"


class SourceError(CrmmlError):
    """A file, table or package cannot be opened."""

    def __init__(self, source: object, why: str) -> None:
        super().__init__(f"cannot open {source}: {why}")


class StorageError(CrmmlError, OSError):
    """A file, folder or database cannot be read or written."""


class BundleError(CrmmlError, ValueError):
    """A stored scoring bundle is missing, damaged or from a newer format."""


class TrackingError(CrmmlError, RuntimeError):
    """The tracking server or its registry cannot do what was asked."""


class UnlikeTrainingError(CrmmlError, ValueError):
    """What is given for scoring differs from what the bundle was trained with."""


class ComparisonError(CrmmlError):
    """Two models cannot be compared fairly."""


class CensoredWindowError(CrmmlError, ValueError):
    """An outcome window ends after the data do: who is silent in it may still buy."""


class FutureLeakError(CrmmlError, ValueError):
    """A feature knows something that happened at or after the cutoff."""
