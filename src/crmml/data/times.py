"""The forms of times: what text can be a date, which form a column has, and how it is read.

A form is ``None`` (ISO 8601), codes of ``strptime``, ``epoch_s`` (``_ms``, ``_us``, ``_ns``),
``excel_serial``, ``quarter``, ``iso_week`` (2024-W05-3, 2024-W05), or ``jalali:`` or ``buddhist:``
before the codes of a date in these calendars. Words of the week are passed over, months may be
named in many languages, and digits may be Persian, Arabic or of full width.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from persiantools.jdatetime import JalaliDate

from crmml._typing import Grain
from crmml.data import engine
from crmml.exceptions import first_few

_ENOUGH_PERIODS = 4
"""Different days that are all the first of a month, from which on that is no chance."""

DIGITS = (
    "۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩０１２３４５６７８９／：－．\u00a0\u202f\u2009",
    "0123456789" * 3 + "/:-.   ",
)
"""Persian, Arabic and full-width digits and signs, and the plain ones that they stand for."""
ISO = "ISO 8601"
_EPOCHS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}
_MONTHS = (
    "jan january januar jänner janvier janv enero ene gennaio gen janeiro januari ocak stycznia"
    " styczeń sty января янв يناير",
    "feb february februar février févr fév febrero febbraio fevereiro fev februari şubat lutego"
    " luty lut февраля фев فبراير",
    "mar march märz mär mrz mars marzo março maart mrt mart marca marzec marts марта мар مارس",
    "apr april avril avr abril abr aprile nisan kwietnia kwiecień kwi апреля апр أبريل",
    "may mai mayo maggio mag maio mei mayıs maja maj мая май مايو",
    "jun june juni juin junio giugno giu junho haziran czerwca czerwiec cze июня июн يونيو",
    "jul july juli juillet juil julio luglio lug julho temmuz lipca lipiec lip июля июл يوليو",
    "aug august août agosto ago augustus ağustos augusti sierpnia sierpień sie августа авг أغسطس",
    "sep sept september septembre septiembre settembre set setembro eylül września wrzesień wrz"
    " сентября сен سبتمبر",
    "oct october oktober okt octobre octubre ottobre ott outubro out ekim października"
    " październik paź октября окт أكتوبر",
    "nov november novembre noviembre novembro kasım listopada listopad lis ноября ноя نوفمبر",
    "dec december dezember dez décembre déc diciembre dic dicembre dezembro aralık grudnia"
    " grudzień gru desember des декабря дек ديسمبر",
)
_SHORT = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def _bare(word: str) -> str:
    """Write a word in small letters without accents, as a keyboard or an export may."""
    letters = unicodedata.normalize("NFKD", word.lower().replace("ı", "i").replace("ł", "l"))
    return "".join(c for c in letters if not unicodedata.combining(c))


_BY_WORD = {_bare(word): _SHORT[i] for i, words in enumerate(_MONTHS) for word in words.split()}
_JALALI = [
    "فروردین",
    "اردیبهشت",
    "خرداد",
    "تیر",
    "مرداد",
    "شهریور",
    "مهر",
    "آبان",
    "آذر",
    "دی",
    "بهمن",
    "اسفند",
]
_BY_WORD |= {_bare(word): f"{i:02d}" for i, word in enumerate(_JALALI, 1)}
_WEEKDAYS = (
    "mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?|mon|tues?|wed|thurs?|thu"
    "|fri|sat|sun|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag"
    "|mo|di|mi|do|fr|sa|so|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|lun|mer|jeu|ven|dim"
    "|lunes|martes|miércoles|jueves|viernes|sábado|domingo|mié|jue|vie|sáb|dom"
    "|lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica|gio|segunda|terça|quarta|quinta|sexta"
    "|maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag|zondag|ma|wo|vr|za|zo"
    "|poniedziałek|wtorek|środa|czwartek|piątek|sobota|niedziela"
    "|pazartesi|salı|çarşamba|perşembe|cuma|cumartesi|pazar"
    "|понедельник|вторник|среда|четверг|пятница|суббота|воскресенье|пн|вт|ср|чт|пт|сб|вс"
    "|(یک|دو|سه|چهار|پنج)?[ \u200c]?شنبه|جمعه"
)
_WEEK_CJK = (
    "[(（ ]*((星期|周|週|礼拜|禮拜)[一二三四五六日天]|[月火水木金土日](曜日|曜)"
    "|[(（][月火水木金土日]|[월화수목금토일]요일|[(（][월화수목금토일])[)） ]*"
)
_WEEK = rf"(^|[\s,(])({_WEEKDAYS})[.,)]*([\s,]|$)"
_WORD = r"([^\W\d_]{3,}|دی)\.?"
_PLAIN = re.compile(r"[-0-9.:/+TZAPM]*( [-0-9.:/+TZAPM]+)*")
_LONG = r"(:\d\d\.\d{6})\d+"
_ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925}
_MENDED = (
    (r"^'", ""),
    (r"\[[^\]]*\]$", ""),
    (r"GMT([+-]\d{4})( ?\(.*\))?$", r"\1"),
    (r"(\d)(st|nd|rd|th|er|º|ª)([\s,.]|$)", r"\1\3"),
    (r"\s(de|del|of)\s", " "),
    (r"(\d{4}) ?(года?|год|г\.?|r\.)(?=[\s,]|$)", r"\1"),
    (r"([\d.,])\s+(?:à|a las|às|um|om|at|kl\.?|alle|в)\s+(?=\d)", r"\1 "),
    (r"(\d\d:\d\d:\d\d),(\d)", r"\1.\2"),
    (_LONG, r"\1"),
    (r"(?<=\d)년", "年"),
    (r"(?<=\d)월", "月"),
    (r"(?<=\d)일", "日"),
    (r"([年月])\s+(?=\d)", r"\1"),
    (r"日(?=\d)", "日 "),
    (r"(?<=\d)(?:[時时点點]|시)\s*(?=\d)", ":"),
    (r"(?<=\d)[分분]\s*(?=\d)", ":"),
    (r"(?<=\d)[分분秒초]$", ""),
    (r"(?:上午|午前|오전)\s*([\d:.]+)", r" \1 AM"),
    (r"(?:下午|午後|오후)\s*([\d:.]+)", r" \1 PM"),
    (r"(?<=\d)( ?)[aA]\. ?[mM]\.?", r"\1AM"),
    (r"(?<=\d)( ?)[pP]\. ?[mM]\.?", r"\1PM"),
    (r"(?<=\d) ?(?:ص|ق\.ظ\.?)$", " AM"),
    (r"(?<=\d) ?(?:م|ب\.ظ\.?)$", " PM"),
)
"""What is written otherwise in other places, and how it is read."""
_YEAR_LAST = r"^([A-Za-z]{3} \d{1,2}) (\d{1,2}:\d\d(?::\d\d)?)( [A-Z]{3})? (\d{4})$"


def neat(text: str) -> str:
    """Write a time with plain digits, English months and no words of the week.

    Examples
    --------
    >>> neat("2023-01-02 星期一"), neat("Mo, 2. März 2023"), neat("۱۴۰۱/۱۰/۱۲")
    ('2023-01-02', '2. Mar 2023', '1401/10/12')
    >>> neat("2023年1月9日下午3时05分"), neat("Mon Jan 9 12:10:00 2023"), neat("令和5年1月9日")
    ('2023年1月9日 3:05 PM', 'Jan 9 2023 12:10:00', '2023年1月9日')
    """
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return re.sub(_LONG, r"\1", text)
    text = text.translate(str.maketrans(*DIGITS)).strip()
    text = re.sub(_WEEK_CJK, " ", text)
    text = re.sub(_WEEK, " ", text, flags=re.I).strip()
    if found := re.match(r"(令和|平成|昭和)(\d{1,2}|元)年", text):
        year = _ERAS[found[1]] + (1 if found[2] == "元" else int(found[2]))
        text = f"{year}年{text[found.end() :]}"
    for old, new in _MENDED:
        text = re.sub(old, new, text)
    word = re.search(_WORD, text)
    if word and (month := _BY_WORD.get(_bare(word[1]))):
        text = text.replace(word[0], month)
    return re.sub(_YEAR_LAST, r"\1 \4 \2\3", re.sub(r"\s+", " ", text).strip())


_neat_once = functools.lru_cache(maxsize=50_000)(neat)


@ibis.udf.scalar.pyarrow  # type: ignore[untyped-decorator]
def _neat_cells(text: str) -> str:
    """Engine function: :func:`neat`, for many cells at once."""
    cells: Any = text  # Arrow hands over an array
    neat_ones = [None if v is None else _neat_once(v) for v in cells.to_pylist()]
    return pa.array(neat_ones, pa.string())  # type: ignore[no-any-return]


def _neat(text: ir.StringValue) -> ir.StringValue:
    """Do the same in the engine, where it would change anything."""
    odd = text.re_search(r"[^-0-9.:/+TZAPM ]|  |\.\d{7}")
    return ibis.ifelse(odd, _neat_cells(text), text)


# --- what a text can be ------------------------------------------------------------------------

_CLOCK = re.compile(
    r"^(?P<date>.*?\d[^ T]*?)(?P<gap>T|,? +|,? ?- ?|, ?|:)(?P<clock>\d{1,2}(?P<sep>[:.h])\d{2}"
    r"((?P=sep)\d{2}(?P<part>\.\d{1,6})?)?)(?P<half> ?[AaPp]\.?[Mm]\.?)?(?P<word> ?Uhr| h)?"
    r"(?P<zone> ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?))?$"
)
_NUMBERS = re.compile(r"^(\d{1,4})([-/. ]|\. |年|/ )(\d{1,2})([-/. ]|\. |月|/ )(\d{1,4})(日|\.)?$")
_DAY_WORD = re.compile(r"^(\d{1,2})(\W{0,2})([A-Za-z]{3})(\W{0,2})(\d{4}|\d{2})$")
_WORD_DAY = re.compile(r"^([A-Za-z]{3})(\W{1,2})(\d{1,2})(\W{1,2})(\d{4}|\d{2})$")
_YEAR_WORD = re.compile(r"^(\d{4})(\W{1,2})([A-Za-z]{3})(\W{1,2})(\d{1,2})$")
_ISO_WEEK = re.compile(r"^(19[789]|20\d)\d-?W(0[1-9]|[1-4]\d|5[0-3])(-?[1-7])?$", re.I)
_QUARTER = re.compile(
    r"^(\d{4} ?[-/.]? ?(q|t|k|кв\.? ?|第)[1-4](季度)?|(q|t|k)[1-4] ?[-/.]? ?\d{4}"
    r"|[1-4]\.? ?(q|quartal|trimestre|trim\.?|кв\.?|квартал) ?\d{4})$",
    re.I,
)


def forms_of(text: str) -> tuple[str, ...]:
    """Return the forms in which a text is a likely date, ISO 8601 first; none where it is none.

    Examples
    --------
    >>> forms_of("31.12.2023 10:05"), forms_of("2023-12-31"), forms_of("order 7")
    (('%d.%m.%Y %H:%M',), ('ISO 8601',), ())
    >>> forms_of("01/02/2023"), forms_of("۱۴۰۱/۱۰/۱۲")
    (('%d/%m/%Y', '%m/%d/%Y'), ('jalali:%Y/%m/%d',))
    """
    return _forms_of(text)


@functools.lru_cache(maxsize=20_000)
def _forms_of(text: str) -> tuple[str, ...]:
    if not 5 <= len(text) <= 80 or not any(c.isdigit() for c in text):
        return ()
    text = neat(text)
    if _QUARTER.match(text):
        return ("quarter",)
    if _ISO_WEEK.match(text):
        return ("iso_week",)
    whole = _whole(text)
    if whole:
        return whole
    clock, date, codes = _CLOCK.match(text), text, ""
    if clock and int(re.match(r"\d+", clock["clock"])[0]) < 24:  # type: ignore[index]
        date, codes = clock["date"], _clock_codes(clock)
    found = []
    for day in _days_of(date):
        plain = day in ("%Y-%m-%d", "%Y/%m/%d") and (not codes or codes[0] in " T")
        usual = "%I" not in codes and "h" not in codes and "Uhr" not in codes
        if plain and usual and "%H." not in codes:
            found.append(ISO)
        else:
            found.append(day + codes)
    return tuple(dict.fromkeys(found))


def _clock_codes(found: re.Match[str]) -> str:
    sep = found["sep"]
    parts = found["clock"].count(sep)
    codes = sep.join(
        ["%I" if found["half"] else "%H", "%M", "%S"][
            : parts + (0 if found["part"] and sep == "." else 1)
        ]
    )
    half = ""
    if found["half"]:
        half = " %p" if found["half"].startswith(" ") else "%p"
    zone = found["zone"] or ""
    zoned = ""
    if zone:
        zoned = zone[: len(zone) - len(zone.lstrip())] + ("%Z" if zone.strip().isalpha() else "%z")
    return (
        found["gap"]
        + codes
        + (".%f" if found["part"] else "")
        + half
        + (found["word"] or "")
        + zoned
    )


def _whole(text: str) -> tuple[str, ...]:
    """Return the forms of a text that is a date without signs between."""
    for pattern, codes in (
        (r"(\d{4})(\d\d)(\d\d)", "%Y%m%d"),
        (r"(\d{4})(\d\d)(\d\d)[ T]?\d{6}", "%Y%m%d%H%M%S"),
        (r"(\d{4})(\d\d)(\d\d)[ T]?\d{4}", "%Y%m%d%H%M"),
        (r"(\d{4})(\d\d)(\d\d)T\d{6}(Z|[+-]\d{4})", "%Y%m%d%H%M%S%z"),
    ):
        found = re.fullmatch(pattern, text)
        calendar = _calendar(int(found[1])) if found else None
        if found and calendar is not None and _day(int(found[2]), int(found[3])):
            gap = "T" if "T" in text else " " if " " in text else ""
            codes = codes.replace("%d%H", f"%d{gap}%H")
            return (calendar + codes.replace("%z", "Z" if text[-1] == "Z" else "%z"),)
    found = re.fullmatch(r"(\d\d)(\d\d)(\d{4})", text)
    if found and _valid(int(found[3]), int(found[2]), int(found[1])):
        return ("%d%m%Y",)
    return ()


def _days_of(date: str) -> list[str]:
    """Return the codes of a date without clock."""
    if found := _NUMBERS.match(date):
        return _numeric(found)
    for pattern, order in ((_DAY_WORD, "dby"), (_WORD_DAY, "bdy"), (_YEAR_WORD, "ybd")):
        if found := pattern.match(date):
            parts = dict(zip(order, found.group(1, 3, 5), strict=True))
            if parts["b"].title() not in _SHORT or not 1 <= int(parts["d"]) <= 31:
                return []
            codes = {"d": "%d", "b": "%b", "y": "%Y" if len(parts["y"]) == 4 else "%y"}
            a, b, c = (codes[part] for part in order)
            return [a + found[2] + b + found[4] + c]
    for whole, made in (
        (r"(?P<y>\d{4})(?P<s>[-/.]|M|年)(?P<m>\d{1,2})(?P<e>月?)", "%Y{s}%m{e}"),
        (r"(?P<m>\d{1,2})(?P<s>[-/.])(?P<y>\d{4})(?P<e>)", "%m{s}%Y"),
    ):
        found = re.fullmatch(whole, date)
        if found and _valid(int(found["y"]), int(found["m"]), 1):
            return [made.format(s=found["s"], e=found["e"])]
    found = re.fullmatch(r"([A-Za-z]{3})([-/. ]{1,2})(\d{4}|\d{2})", date)
    if found and found[1].title() in _SHORT:
        return [f"%b{found[2]}{'%Y' if len(found[3]) == 4 else '%y'}"]
    return []


def _numeric(found: re.Match[str]) -> list[str]:
    a, b, c = (int(found[i]) for i in (1, 3, 5))
    s, t, end = found[2], found[4], found[6] or ""
    if (s in "-/." and t != s) or (s in "年" and t != "月"):
        return []
    if len(found[1]) == 4:
        calendar = _calendar(a)
        return [f"{calendar}%Y{s}%m{t}%d{end}"] if calendar is not None and _day(b, c) else []
    if len(found[5]) == 4:
        calendar = _calendar(c)
        orders = [("%d", "%m", _day(b, a)), ("%m", "%d", _day(a, b))]
        return [f"{calendar}{x}{s}{y}{t}%Y{end}" for x, y, fits in orders
                if fits and calendar is not None]  # fmt: skip
    if max(len(found[1]), len(found[5])) > 2 or (len(found[5]) < 2 and len(found[1]) < 2):
        return []
    short = [("%d", "%m", "%y", _day(b, a)), ("%m", "%d", "%y", _day(a, b)),
             ("%y", "%m", "%d", len(found[1]) == 2 and _day(b, c))]  # fmt: skip
    return [f"{x}{s}{y}{t}{z}{end}" for x, y, z, fits in short if fits]


def _calendar(year: int) -> str | None:
    """Return the prefix of the calendar in which a year is likely; None where it is in none."""
    if 1970 <= year <= 2100:
        return ""
    if 1340 <= year <= 1424:
        return "jalali:"
    return "buddhist:" if 2513 <= year <= 2643 else None


def _day(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31


def _valid(year: int, month: int, day: int) -> bool:
    return 1970 <= year <= 2100 and _day(month, day)


def is_date(text: str) -> bool:
    """Say whether a text is a date in one of the forms that can be read."""
    return bool(forms_of(text))


_DOT_NET = r"^/Date\((\d+)([+-]\d{4})?\)/$"


def is_stamp(text: str) -> bool:
    """Say whether a number may be a time: seconds since 1970, days of a spreadsheet, a month.

    Examples
    --------
    >>> is_stamp("1672654380"), is_stamp("44928.4257"), is_stamp("202301"), is_stamp("1234")
    (True, True, True, False)
    >>> is_stamp("/Date(1672654380000)/"), is_stamp("44928,4257")
    (True, True)
    """
    return stamp_of(text) is not None


def stamp_of(text: str) -> str | None:
    """Return the form that a number has where it is a time; None where it can be none."""
    text = re.sub(_DOT_NET, r"\1", text.translate(str.maketrans(*DIGITS)).strip()).replace(",", ".")
    if not re.fullmatch(r"\d{5,19}(\.\d*)?", text):
        return None
    whole = text.partition(".")[0]
    for form, per_second in _EPOCHS.items():
        digits = 9 + len(str(per_second)) - 1
        likely = 315_532_800 <= int(whole) / per_second < 4_102_444_800
        if likely and digits <= len(whole) <= digits + 1:
            return form
    if re.fullmatch(r"(19[789]|20\d)\d(0[1-9]|1[0-2])", text):
        return "%Y%m"
    return "excel_serial" if len(whole) == 5 and 25_569 <= int(whole) < 73_051 else None


# --- reading in the engine ---------------------------------------------------------------------


def check_form(form: str) -> None:
    """Refuse a form of times that cannot be read.

    Raises
    ------
    ParameterError
        If it is none of those that the head of this module lists.
    """
    if form not in (*_EPOCHS, "excel_serial", "quarter", "iso_week"):
        engine.check_date_format(re.sub("^(jalali|buddhist):", "", form))


def read_times(value: ir.Value, form: str | None, timezone: str | None = None) -> ir.Value:
    """Read times from text or numbers, on the embedded engine; null where that fails.

    Parameters
    ----------
    value : Ibis column
        Text or numbers.
    form : str or None
        The form; None for ISO 8601.
    timezone : str, optional
        Zone whose wall clock is wanted; without it, times with an offset cannot be read, and
        seconds since 1970 are read on the clock of UTC.
    """
    if form in _EPOCHS or form == "excel_serial":
        return _read_stamps(value, str(form), timezone)
    text = value if isinstance(value, ir.StringValue) else _written(value)
    text = text.strip()
    if form == "quarter":
        return _read_quarters(text.translate(*DIGITS))
    if form == "iso_week":
        return _read_weeks(text.translate(*DIGITS).upper())
    if found := re.match("(jalali|buddhist):(.*)", form or ""):
        return _parse(*_to_common(_neat(text), found[1], found[2]), timezone)
    read = engine.parse_timestamp(text, form, timezone)
    if not isinstance(value, ir.StringValue):
        return read
    # only what did not read at first is looked at again, letter by letter
    return read.coalesce(_parse(_neat(text), form, timezone))


def _try_forms(value: ir.Value, forms: Iterable[str]) -> dict[str, ir.Value]:
    """Read a column in several forms, each as :func:`read_times` does.

    A text that reads in one of them as it stands is plain: where another form fails on it, looking
    at it letter by letter, which is slow, would change nothing.
    """
    whole = {*_EPOCHS, "excel_serial", "quarter", "iso_week"}
    plain = [f for f in forms if f not in whole and not f.startswith(("jalali:", "buddhist:"))]
    if len(plain) < 2 or not isinstance(value, ir.StringValue):
        return {form: read_times(value, _code(form), "UTC") for form in forms}
    text = value.strip()
    direct = {form: engine.parse_timestamp(text, _code(form), "UTC") for form in plain}
    tidy = ibis.ifelse(ibis.coalesce(*direct.values()).notnull(), text, _neat(text))
    return {
        form: direct[form].coalesce(_parse(tidy, _code(form), "UTC"))
        if form in direct
        else read_times(value, _code(form), "UTC")
        for form in forms
    }


def _written(value: ir.Value) -> ir.StringValue:
    """Write numbers that are whole, such as 20230109.0, as text."""
    if isinstance(value, (ir.FloatingValue, ir.DecimalValue)):
        whole = engine.cast_or_null(value, ibis.dtype("int64"))
        value = ibis.ifelse(whole == value, whole, ibis.null("int64"))
    return value.cast("string")


def _parse(text: ir.StringValue, form: str | None, timezone: str | None) -> ir.Value:
    """Read neat text, also where a clock, its seconds or their fraction are left out."""
    read = engine.parse_timestamp(text, form, timezone)
    for coarser in _coarser(form):
        read = read.coalesce(engine.parse_timestamp(text, coarser, timezone))
    return read


def _coarser(form: str | None) -> Iterator[str]:
    """Yield a form without fraction, without seconds, and without clock."""
    if form is None or "%d" not in (day := re.sub(r"[ T,:-]*%[HI].*", "", form)) or day == form:
        return
    if "%f" in form:
        yield form.replace(".%f", "")
    if re.search("[:.]%S", form):
        yield re.sub(r"[:.]%S(\.%f)?", "", form)
    yield day


def _read_stamps(value: ir.Value, form: str, timezone: str | None) -> ir.Value:
    if isinstance(value, ir.StringValue):
        value = value.strip().translate(*DIGITS).re_replace(_DOT_NET, r"\1").replace(",", ".")
    if form == "excel_serial":
        days = engine.cast_or_null(value, ibis.dtype("float64"))
        # to the second, as a spreadsheet shows it
        seconds = ((days - 25_569) * 86_400).round().cast("int64")
        return engine.instant(seconds * 1_000_000, "UTC")
    if form in ("epoch_us", "epoch_ns"):
        whole = engine.cast_or_null(value, ibis.dtype("int64"))
        micros = whole if form == "epoch_us" else (whole / 1_000).floor().cast("int64")
    else:
        number = engine.cast_or_null(value, ibis.dtype("decimal(28, 6)"))
        micros = (number * (1_000_000 // _EPOCHS[form])).floor().cast("int64")
    return engine.instant(micros, timezone or "UTC")


def _read_quarters(text: ir.StringValue) -> ir.Value:
    year = text.re_extract(r"(\d{4})", 1)
    quarter = text.re_replace(r"\d{4}", "").re_extract("([1-4])", 1)
    month = (engine.cast_or_null(quarter, ibis.dtype("int64")) * 3 - 2).cast("string")
    return engine.parse_timestamp(year + "-" + month + "-1", "%Y-%m-%d")


def _read_weeks(text: ir.StringValue) -> ir.Value:
    """Read weeks of ISO 8601; one without a day stands for its Monday."""
    part = r"^(\d{4})-?W(\d{2})(?:-?([1-7]))?$"
    day = text.re_extract(part, 3)
    day = ibis.ifelse(day == "", "1", day)
    written = text.re_extract(part, 1) + "-W" + text.re_extract(part, 2) + "-" + day
    return engine.parse_timestamp(written, "%G-W%V-%u")


@functools.cache
def _years(first: int = 1300, last: int = 1500) -> tuple[int, ...]:
    """Return the days from 1970-01-01 to the first day of each Jalali year."""
    epoch = dt.date(1970, 1, 1)
    days = []
    for year in range(first, last + 1):
        begins: Any = JalaliDate(year, 1, 1)  # type: ignore[no-untyped-call]
        days.append((begins.to_gregorian() - epoch).days)
    return tuple(days)


def _to_common(text: ir.StringValue, calendar: str, codes: str) -> tuple[ir.StringValue, str]:
    """Write the date of another calendar in the common one; return it with its codes."""
    last = max(codes.rfind(code) for code in ("%Y", "%m", "%d", "%b")) + 2
    day_codes, clock = codes[:last], codes[last:]
    order = re.findall("%[Ymbd]", day_codes)
    pattern = re.escape(day_codes).replace("%Y", r"(\d{4})")
    pattern = "^" + re.sub("%[mbd]", lambda _: r"(\d{1,2})", pattern)

    def part(*wanted: str) -> ir.Value:
        place = next((i for i, code in enumerate(order, 1) if code in wanted), 0)
        return engine.cast_or_null(text.re_extract(pattern, place), ibis.dtype("int64"))

    y, m, d = part("%Y"), part("%m", "%b"), part("%d")
    rest = text.re_replace(pattern, "")
    if calendar == "buddhist":
        named = (y - 543).cast("string") + "-" + m.cast("string") + "-" + d.cast("string")
        return named + rest, "%Y-%m-%d" + clock
    starts = ibis.array(list(_years()))
    in_year = ibis.ifelse(m <= 6, (m - 1) * 31, 186 + (m - 7) * 30) + d - 1
    first, following = starts[y - 1300], starts[y - 1299]
    longest = ibis.ifelse(m <= 6, 31, 30)
    real = m.between(1, 12) & (d >= 1) & (d <= longest) & (first + in_year < following)
    days = ibis.ifelse(real, first + in_year, ibis.null("int64"))
    date = engine.instant(days * 86_400_000_000, "UTC").strftime("%Y-%m-%d")
    return date + rest, "%Y-%m-%d" + clock


_CLOCK_ALONE = re.compile(
    r"\d{1,2}[:h]\d\d(:\d\d(\.\d+)?)?( ?[ap]\.?m\.?)?( ?Uhr| ?h)?", re.IGNORECASE
)


def is_clock(text: str) -> bool:
    """Say whether a text is a time of day and no more.

    Examples
    --------
    >>> is_clock("15:05 Uhr"), is_clock("15h05"), is_clock("下午3:05"), is_clock("15.05")
    (True, True, True, False)
    """
    return _CLOCK_ALONE.fullmatch(neat(text)) is not None


def read_clock(value: ir.Value) -> ir.IntegerValue:
    """Read a time of day as seconds since midnight; null where that fails."""
    text = _neat(value.cast("string").strip()).re_replace("(?i) ?(uhr|h)$", "")
    # halves of the day come first: the engine passes over what stands behind a time
    codes = ("%I:%M %p", "%I:%M:%S %p", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H.%M", "%Hh%M",
             "%H%M%S", "%H%M")  # fmt: skip
    read = ibis.coalesce(
        *(engine.parse_timestamp("1970-01-01 " + text, f"%Y-%m-%d {code}") for code in codes)
    )
    seconds: ir.IntegerValue = read.epoch_seconds()
    return seconds


# --- which form a column has -------------------------------------------------------------------


def decide_dates(
    table: ir.Table,
    name: str,
    sample: Iterable[str],
    is_text: bool,
    evidence: list[str],
    doubts: list[str],
) -> tuple[str | None, bool]:
    """Decide the form of the times of a column on the whole file.

    Parameters
    ----------
    table : Ibis table
        The file as it is.
    name : str
        The column.
    sample : iterable of str
        Some of its values, as text.
    is_text : bool
        Whether the file holds text.
    evidence, doubts : list of str
        What was found is appended to them, a sentence each.

    Returns
    -------
    date_format : str or None
        None for ISO 8601 and for proper timestamps.
    needs_timezone : bool
        Whether times carry a zone.
    """
    value = table[name]
    if isinstance(value, (ir.TimestampValue, ir.DateValue)):
        aware = isinstance(value, ir.TimestampValue) and value.type().timezone is not None
        if aware:
            doubts.append(f"times of {name!r} carry a time zone: give the business's own")
        return None, aware
    some = list(sample)
    screen = _screen(some)
    text = value.cast("string").strip().nullif("")
    if not is_text:
        screen = [form for form in screen if form != ISO]
    tried = _try_forms(value, screen)
    naive = read_times(value, None).notnull().sum() if ISO in tried else ibis.literal(0)
    counts: dict[str, int] = (
        table.aggregate(
            n=text.notnull().sum(),
            naive=naive,
            **{form: read.notnull().sum() for form, read in tried.items()},
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    n, n_naive = counts.pop("n"), counts.pop("naive") or 0
    best = max(counts.values(), default=0)
    if not best:
        doubts.append(f"no form of dates was found for {name!r}, like {first_few(some, 3)}")
        return None, False
    winners = [form for form in counts if counts[form] == best]
    if ISO in winners or len(winners) == 1:
        form = ISO if ISO in winners else winners[0]
        _say(form, name, counts, n, evidence)
    else:
        form = _choose_form(table, name, winners, tried, n - best, doubts)
    if form in _EPOCHS:
        doubts.append(
            f"times of {name!r} are counted from 1970 and read on the clock of UTC: where the "
            "business is elsewhere, give its timezone"
        )
    if best < n:
        doubts.append(_name_others(table, name, tried[form], n - best, n))
    zoned = form == ISO and n_naive < best
    zoned = zoned or re.search("%[zZ]", form) is not None
    if zoned:
        beside = f", {n_naive:,} of {n:,} do not and are taken as its own" if n_naive > 0 else ""
        doubts.append(
            f"times of {name!r} carry an offset from UTC{beside}: give the business's time zone"
        )
    return _code(form), zoned


def _code(form: str) -> str | None:
    return None if form == ISO else form


def _screen(some: list[str]) -> list[str]:
    """Return the forms that are worth counting, the most frequent first."""
    counted: Counter[str] = Counter()
    for text in some:
        told = forms_of(text)
        counted.update(told or ([form] if (form := stamp_of(text)) else []))
    # where forms are mixed the most frequent one is proposed, and the rest is named
    screen = [form for form, n in counted.most_common() if n >= 0.1 * len(some)][:12]
    # a finer form reads the coarser one too
    screen += [form for form in counted if any(c != form and form.startswith(c) for c in screen)]
    # the other order of day and month is counted too: its failures are the evidence
    swapped = [
        other for form in screen if (other := _swapped(form)) != form and _is_day_first(form)
    ]
    return list(dict.fromkeys([*screen, *swapped]))


def _is_day_first(form: str) -> bool:
    """Say whether day and month may stand the other way round."""
    return "%Y" not in form[:3] and "%m" in form and "%d" in form


def _swapped(form: str) -> str:
    if ":" in form and form.startswith(("jalali", "buddhist")):
        return form
    return re.sub("%[dm]", lambda code: "%m" if code[0] == "%d" else "%d", form)


def _say(form: str, name: str, counts: Mapping[str, int], n: int, evidence: list[str]) -> None:
    called = form if form == ISO else repr(form)
    said = f"dates are {called}: {counts[form]:,} of {n:,} read so"
    if (other := _swapped(form)) != form and other in counts:
        said += f", only {counts[other]:,} with day and month the other way round"
    bare = next((c for c in counts if c != form and "%" in c and form.startswith(c)), None)
    if bare and counts[bare]:
        said += f", {counts[bare]:,} of them without the whole clock"
    evidence.append(said)
    grain = grain_of(form)
    if grain:
        evidence.append(
            f"times of {name!r} are {grain}s: all lines of one {grain} are one purchase"
        )


def grain_of(form: str | None) -> Grain | None:
    """Return ``month`` or ``quarter`` where times of a form are no finer than that.

    Examples
    --------
    >>> grain_of("%Y-%m"), grain_of("quarter"), grain_of("%d.%m.%Y"), grain_of(None)
    ('month', 'quarter', None, None)
    """
    if form == "quarter":
        return "quarter"
    coded = form is not None and "%" in form
    return "month" if coded and "%d" not in str(form) and "%j" not in str(form) else None


def grain_of_days(days: Iterable[dt.date]) -> Grain | None:
    """Return ``month`` or ``quarter`` where all days are the first, or the last, of one.

    Parameters
    ----------
    days : iterable of date
        Each day once; four at least, or they may be so by chance.

    Examples
    --------
    >>> some = [dt.date(2024, month, 1) for month in (1, 2, 5, 7)]
    >>> grain_of_days(some), grain_of_days([*some, dt.date(2024, 8, 2)])
    ('month', None)
    >>> grain_of_days(dt.date(2024, month, 30) for month in (6, 9, 11)) is None
    True
    """
    known = sorted({day for day in days if day.year < dt.MAXYEAR})
    after = [day + dt.timedelta(days=1) for day in known]
    firsts = next((ones for ones in (known, after) if all(day.day == 1 for day in ones)), [])
    if len(firsts) < _ENOUGH_PERIODS:
        return None
    return "quarter" if all(day.month % 3 == 1 for day in firsts) else "month"


def find_grain(table: ir.Table, name: str, form: str | None) -> Grain:
    """Find out on the whole file whether the times of a column are months or quarters.

    Parameters
    ----------
    table : Ibis table
        The file as it is.
    name : str
        The column.
    form : str or None
        Its form, as :func:`decide_dates` gives it.

    Returns
    -------
    str
        ``day`` where they are finer than that.
    """
    told = grain_of(form)
    if told:
        return told
    value = table[name]
    if not isinstance(value, (ir.TimestampValue, ir.DateValue)):
        value = read_times(value, form, "UTC")
    moment = value.cast("timestamp").name("at")
    some = moment.as_table().filter(ibis._.at.notnull()).limit(1_000).distinct()
    if _grain_of(some) is None:
        return "day"
    # no log has more months than that
    every = moment.as_table().filter(ibis._.at.notnull()).distinct().limit(10_000)
    return _grain_of(every) or "day"


def _grain_of(moments: ir.Table) -> Grain | None:
    found = moments.at.to_pyarrow().to_pylist()
    if any(at.hour or at.minute or at.second or at.microsecond for at in found):
        return None
    return grain_of_days({at.date() for at in found})


def _choose_form(
    table: ir.Table,
    name: str,
    winners: list[str],
    tried: Mapping[str, ir.Value],
    left: int,
    doubts: list[str],
) -> str:
    """Choose among forms that read equally many: dates read rightly lie closest together."""
    spans = (
        table.aggregate(
            **{c: tried[c].max().epoch_seconds() - tried[c].min().epoch_seconds() for c in winners}
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    form = min(winners, key=lambda c: (spans[c], winners.index(c)))
    others = " or ".join(repr(c) for c in winners if c != form)
    doubts.append(
        f"dates of {name!r} are ambiguous: {'as many' if left else 'all'} read as {form!r} and as "
        f"{others}{'' if left else ', since no day is above 12'}; the first is proposed"
        + (" because it spans fewer days" if len({*spans.values()}) > 1 else "")
    )
    return form


def _name_others(table: ir.Table, name: str, read: ir.Value, left: int, n: int) -> str:
    """Name what does not read like the rest, by its forms, with rows and examples."""
    text = table[name].cast("string").strip().nullif("")
    rows = table.filter(text.notnull() & read.isnull()).select(value=text)
    counted = rows.group_by("value").agg(n=rows.count()).order_by(ibis.desc("n"), "value")
    kinds: dict[str, list[str]] = {}
    sums: Counter[str] = Counter()
    for row in counted.limit(5_000).to_pyarrow().to_pylist():
        told = forms_of(row["value"])
        kind = told[0] if told else (stamp_of(row["value"]) or "no date")
        kinds.setdefault(kind, []).append(row["value"])
        sums[kind] += row["n"]
    shown = [
        f"{rows_:,} {kind if kind in (ISO, 'no date') else repr(kind)} like {kinds[kind][0]!r}"
        for kind, rows_ in sums.most_common(4)
    ]
    return (
        f"{left:,} of {n:,} values of {name!r} cannot be read as dates like the rest "
        f"({'; '.join(shown)}): mend them, or leave them out by policies.unreadable: drop"
    )
