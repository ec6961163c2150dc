"""The simulated shop behind the files: what was bought, and how people write it down."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")  # noqa: RUF100
ENGLISH_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CHINESE_DAYS = "一二三四五六日"
GERMAN_MONTHS = ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August",
                 "September", "Oktober", "November", "Dezember")  # fmt: skip
NOWRUZ = {1401: dt.date(2022, 3, 21), 1402: dt.date(2023, 3, 21)}


@dataclass(frozen=True)
class Row:
    """One purchase: its number, the customer, the minute and the amount in cents."""

    i: int
    who: int
    when: dt.datetime
    cents: int

    @property
    def day(self) -> str:
        """The day, ISO 8601."""
        return f"{self.when:%Y-%m-%d}"

    @property
    def amount(self) -> str:
        """The amount with a decimal point."""
        return money(self.cents)

    @property
    def comma(self) -> str:
        """The amount with a decimal comma."""
        return money(self.cents, "", ",")


def simulate(rows: int = 190, customers: int = 80, seed: int = 11) -> list[Row]:
    """Draw purchases of 2023: every customer comes once at least, some often."""
    rng = random.Random(seed)
    keen = [rng.paretovariate(1.2) for _ in range(customers)]
    who = [*range(1, customers + 1)]
    who += rng.choices(range(1, customers + 1), keen, k=rows - customers)
    rng.shuffle(who)
    first = dt.datetime(2023, 1, 2, 8)
    when = sorted(
        first + dt.timedelta(days=rng.randrange(296), minutes=rng.randrange(12 * 60))
        for _ in range(rows)
    )
    cents = [round(100 * rng.lognormvariate(6.4, 0.7)) for _ in range(rows)]
    return [Row(i, *each) for i, each in enumerate(zip(who, when, cents, strict=True))]


ROWS = simulate()


@dataclass(frozen=True)
class Truth:
    """What must be understood; None is not compared.

    ``first`` and ``last`` are beginnings of ISO times: ``2023-01`` where a month is all there is.
    """

    rows: int
    customers: int | None = None
    cents: int | None = None
    first: str | None = None
    last: str | None = None
    table: str = "transactions"


MINUTE, DAY, MONTH = "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m"


def truth(rows: Iterable[Row] = ROWS, grain: str = DAY) -> Truth:
    """Return what some rows are, with times to the minute, the day or the month."""
    rows = list(rows)
    return Truth(
        len(rows),
        len({row.who for row in rows}),
        sum(row.cents for row in rows),
        min(row.when for row in rows).strftime(grain),
        max(row.when for row in rows).strftime(grain),
    )


def money(cents: int, thousands: str = "", decimal: str = ".", minus: str = "-") -> str:
    """Write an amount."""
    whole, rest = divmod(abs(cents), 100)
    return (
        (minus if cents < 0 else "") + f"{whole:,}".replace(",", thousands) + f"{decimal}{rest:02}"
    )


def lakh(cents: int) -> str:
    """Write an amount as in India: 1,23,456.00."""
    whole, rest = divmod(cents, 100)
    head, tail = divmod(whole, 1000)
    if not head:
        return f"{whole}.{rest:02}"
    high, low = divmod(head, 100)
    return (f"{high},{low:02}" if high else f"{low}") + f",{tail:03}.{rest:02}"


def jalali(day: dt.date) -> str:
    """Write a day of 2023 in the Persian calendar."""
    year = max(y for y, start in NOWRUZ.items() if start <= day)
    passed = (day - NOWRUZ[year]).days
    month, rest = divmod(passed, 31) if passed < 186 else divmod(passed - 186, 30)
    return f"{year}/{month + (1 if passed < 186 else 7):02}/{rest + 1:02}"


def flip(rows: Iterable[Row], which: Callable[[Row], bool]) -> list[Row]:
    """Make returns of some rows."""
    return [replace(row, cents=-row.cents) if which(row) else row for row in rows]


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> None:
    """Write text without touching its line endings, or bytes."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))


@dataclass(frozen=True)
class Door:
    """A file, and what must come of it: any of what is given here is right.

    Attributes
    ----------
    name : str
        Its path.
    content : text, bytes or function of a path
        What is written there.
    right : Truth or None
        What must be understood.
    ask : tuple of str
        Patterns of which each must be found in what ``init`` asks or doubts, so that nobody is
        surprised by other figures.
    refuse : str or None
        Pattern of the true reason of a refusal.
    answer : tuple of str
        What a user who was asked then sets.
    answered : Truth or None
        What the figures must be after that; ``right`` by default.
    whole : bool
        Whether ``check`` is run to its end, not only opened.
    """

    name: str
    content: str | bytes | Callable[[Path], object]
    right: Truth | None = None
    ask: tuple[str, ...] = ()
    refuse: str | None = None
    answer: tuple[str, ...] = ()
    answered: Truth | None = None
    whole: bool = False

    def put(self, folder: Path) -> Path:
        """Write the file below a folder."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(self.content):
            self.content(path)
        else:
            write(path, self.content)
        return path


def text(
    names: str, line: Callable[[Row], str], rows: Iterable[Row] = ROWS, end: str = "\n"
) -> str:
    """Write a line of names, and a line for each row."""
    return end.join([names, *map(line, rows), ""])
