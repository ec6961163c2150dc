"""How text is written: UTF-8 where it can be, else what its letters and known names tell."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from crmml.data.amounts import SIGNS
from crmml.data.columns import plain, spellings
from crmml.data.schema import TABLES
from crmml.exceptions import SourceError

_PIECE = 1 << 18
_CANDIDATES = (
    *("cp1252", "cp1250", "cp1251", "cp1256", "mac_roman", "gb18030", "cp932", "big5", "euc_jp"),
    *("cp949", "cp1253", "cp1254", "cp1255", "koi8_r", "cp866", "cp850", "mac_cyrillic", "cp874"),
    *("cp1257", "cp1258"),
)
"""Encodings that files are found in, the more frequent first."""
_CALLED = {
    "cp1252": "Windows-1252", "cp1250": "Windows-1250", "cp1251": "Windows-1251",
    "cp1256": "Windows-1256", "mac_roman": "Mac Roman", "gb18030": "GBK", "cp932": "Shift-JIS",
}  # fmt: skip
_CURRENCY = re.compile(
    "[0-9][ \u00a0]?("
    + "|".join(sign for sign in SIGNS if sign.isalpha() and not sign.isascii())
    + r")\b"
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Written:
    """How a text is written.

    Attributes
    ----------
    encoding : str
        Its encoding, as Python calls it.
    doubts : tuple of str
        Where it may be another, a sentence.
    head, tail : bytes
        Its first and its last bytes, at most 256 kB.
    size : int
        All its bytes.
    """

    encoding: str
    doubts: tuple[str, ...]
    head: bytes
    tail: bytes
    size: int


def plain_name(encoding: str) -> str:
    """Return the one name of an encoding; ``utf-8`` also for text that begins with a mark.

    Examples
    --------
    >>> plain_name("UTF8"), plain_name("utf-8-sig"), plain_name("latin-1")
    ('utf-8', 'utf-8', 'iso8859-1')
    """
    return codecs.lookup(encoding).name.removesuffix("-sig")


def by_mark(start: bytes) -> str | None:
    """Return the encoding that the mark at its beginning, or every second byte, gives away."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) > 0.3 * len(start) / 2 and min(even, odd) == 0:
        return "utf-16-le" if odd else "utf-16-be"
    return None


def find(chunks: Iterator[bytes], path: Path) -> Written:
    """Find how a text is written, in one pass.

    Parameters
    ----------
    chunks : iterator of bytes
        The whole text.
    path : Path
        Its file, for the message.

    Raises
    ------
    SourceError
        If no known encoding fits.
    """
    head, tail, odd = b"", b"", bytearray()
    size, n_odd, n_utf = 0, 0, 0
    marked: str | None = None
    decoder, rest = codecs.getincrementaldecoder("utf-8")(), b""
    fits = True
    for chunk in chunks:
        if size == 0:
            marked = by_mark(chunk[:4096])
        size += len(chunk)
        head += chunk[: _PIECE - len(head)]
        tail = (tail + chunk)[-_PIECE:]
        if marked is None and not chunk.isascii():
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()[-4096:]
            for line in lines if n_odd < 5_000 else ():
                if not line.isascii():
                    n_odd += 1
                    n_utf += _is_utf8(line)
                    odd += line + b"\n" if len(odd) < _PIECE else b""
        fits = fits and (marked is not None or _continues(decoder, chunk))
    if marked is not None:
        return Written(marked, (), head, tail, size)
    if fits and _continues(decoder, b"", final=True):
        return Written("utf-8", (), head, tail, size)
    if not rest.isascii():
        odd += rest
    if n_odd and n_utf > 0.5 * n_odd:
        raise _mixed(path, bytes(odd), n_odd, n_utf)
    encoding, doubts = _tell(head.partition(b"\n")[0] + b"\n" + bytes(odd), path)
    return Written(encoding, doubts, head, tail, size)


def _continues(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _mixed(path: Path, odd: bytes, n_odd: int, n_utf: int) -> SourceError:
    broken = next(line for line in odd.split(b"\n") if not _is_utf8(line))
    shown = broken.decode("utf-8", "replace")[:80]
    return SourceError(
        path,
        f"its text is UTF-8 but for {n_odd - n_utf:,} lines that are written otherwise "
        f"(first: {shown!r}): write it anew in one encoding",
    )


def _tell(sample: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    """Tell the encoding of text that is not UTF-8: known names first, then how its letters look."""
    matches = from_bytes(sample, cp_isolation=list(_CANDIDATES), threshold=0.5)
    scores: dict[str, float] = {}
    texts: dict[str, str] = {}
    for encoding in _CANDIDATES:
        try:
            texts[encoding] = sample.decode(encoding)
        except UnicodeDecodeError:
            continue
    for match in matches:
        for encoding in [match.encoding, *match.could_be_from_charset]:
            if encoding in texts:
                scores.setdefault(encoding, match.coherence - 2 * match.chaos)
    for encoding, text in texts.items():
        scores[encoding] = scores.get(encoding, -1.0) + 3 * _known(text) - 4 * _odd_signs(text)
    if not scores:
        raise SourceError(path, "how its text is written cannot be told: save it as UTF-8")
    order = sorted(scores, key=lambda name: (-round(scores[name], 1), _CANDIDATES.index(name)))
    best = order[0]
    close = [e for e in order[1:] if scores[e] > scores[best] - 0.25 and texts[e] != texts[best]]
    if not close:
        return best, ()
    word = next(
        w for w, o in zip(texts[best].split(), texts[close[0]].split(), strict=False) if w != o
    )
    called = _CALLED.get(close[0], close[0])
    return best, (
        f"its text is read as {_CALLED.get(best, best)} and may be {called}: if {word[:40]!r} "
        f"looks wrong, write encoding: {close[0]}",
    )


def _known(text: str) -> int:
    """Count the words of the first line that are names of columns and no plain ASCII.

    A currency beside a number, such as zł, is one more.
    """
    names: set[str] = set()
    for schema in TABLES:
        for told in spellings(schema.name).values():
            names.update(plain(spelling) for spelling in told if not spelling.isascii())
    cells = re.split(r"[,;\t|]", text.partition("\n")[0])
    return sum(plain(cell) in names for cell in cells) + bool(_CURRENCY.search(text))


def _odd_signs(text: str) -> float:
    """Return the share of letters outside ASCII that look out of place."""
    odd = total = 0
    for before, sign, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if sign.isascii():
            continue
        total += 1
        kind = unicodedata.category(sign)
        inside = before.isalpha() and after.isalpha()
        strange = kind in ("Cc", "Cn", "Co") or (kind[0] in "SN" and (inside or after.isalpha()))
        if strange or (kind == "Lu" and before.islower()):
            odd += 1
        elif kind[0] == "L" and before.isalpha() and not before.isascii():
            odd += unicodedata.name(sign)[:4] != unicodedata.name(before)[:4]
    return odd / total if total else 0.0


def not_so(path: Path, encoding: str, line: int, error: UnicodeDecodeError) -> SourceError:
    """Return the error of a text that is not written as it was said."""
    byte = error.object[error.start]
    return SourceError(
        path,
        f"its text is not {encoding} (the byte 0x{byte:02X} after line {line:,} cannot be read): "
        "give its encoding, which `crmml init` finds",
    )
