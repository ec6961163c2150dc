"""Scores as tables: Parquet, CSV for people, or a table of a database; a cutoff is one part."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, get_args

import pandas as pd

from crmml.atomic import replacing, reported, sweep
from crmml.exceptions import DataError, MissingColumnsError, ParameterError, StorageError
from crmml.features.windows import read_moment

if TYPE_CHECKING:
    import pyarrow as pa

ScoreFormat: TypeAlias = Literal["parquet", "csv"]

KEY = "customer_id"

LISTS = "_lists"
"""Folder in that of the scores, which readers of Parquet folders skip; of a database
``FILE.duckdb`` it is ``FILE_lists`` beside the file."""

_ROW_GROUP = 100_000  # as many as come in a batch, so that none is pieced together

_PATIENCE = 10.0  # seconds for another process that holds a database

_NO_DOWNLOADS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""DuckDB neither fetches nor loads extensions by itself."""

_BLANKS = (
    r" \t\n\r\f\v\x00\x{1c}-\x{1f}\x{85}\x{a0}\x{ad}\x{1680}\x{180e}"
    r"\x{2000}-\x{200f}\x{2028}-\x{202f}"
    r"\x{205f}-\x{2064}\x{3000}\x{feff}"
)
_SIGNS = r"=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}\x{fe66}\x{fe62}\x{fe63}\x{fe6b}"
_FORMULA = rf"^([{_BLANKS}]*[{_SIGNS}]|[\t\r\n])"
"""Openings that spreadsheets take for a formula (OWASP, *CSV Injection*): a sign, also of full
width, after blanks of any kind, and a leading tab or end of line. In the syntax of Arrow (RE2)."""


def write_scores(
    scores: pd.DataFrame | Iterable[pd.DataFrame],
    target: str | Path,
    cutoff: str | pd.Timestamp,
    format: ScoreFormat = "parquet",
) -> Path:
    """Write the scores of one cutoff; a second run replaces them and leaves other cutoffs alone.

    Parameters
    ----------
    scores : DataFrame, or iterable of DataFrame
        One row per customer, ``customer_id`` as a column or the index. Batches are written as
        they come (memory stays bounded) and must ascend in ``customer_id`` from one to the next.
    target : str or Path
        A folder, which gets ``cutoff=YYYY-MM-DD/scores.parquet`` (or ``.csv``), or a DuckDB file
        (its name ends in ``.duckdb``), whose table ``scores`` gets the rows.
    cutoff : str or Timestamp
        The cutoff of the scores, timezone-naive.
    format : {"parquet", "csv"}
        Kind of file. CSV is made for people: UTF-8 with a byte order mark, and text that a
        spreadsheet would run as a formula is led by a single quote. Programs read Parquet.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    MissingColumnsError, DataError
        If ``customer_id`` is missing, null or not unique.
    StorageError
        If the target cannot be written.

    Notes
    -----
    The same scores give the same bytes, whatever the order of the rows and the size of the
    batches. As usual in a folder partitioned by a column, the Parquet file does not repeat the
    column ``cutoff``.
    """
    moment = read_moment(cutoff, "cutoff")
    path = Path(target)
    if format not in get_args(ScoreFormat):
        raise ParameterError("format", f"one of {get_args(ScoreFormat)}", format)
    batches = _in_order([scores] if isinstance(scores, pd.DataFrame) else scores, moment)
    if path.suffix == ".duckdb":
        return _write_database(batches, path, moment)
    out = path / f"cutoff={partition_of(moment)}" / f"scores.{format}"
    with reported("write", path):
        for part in path.glob("cutoff=*/"):  # a run at another cutoff may have been killed
            sweep(part)
            if part.is_dir() and not any(part.iterdir()):
                part.rmdir()
    with replacing(out) as partial:
        if format == "parquet":
            _write_parquet(batches, partial)
        else:
            _write_csv((_with_cutoff(frame, moment) for frame in batches), partial)
    return out


def list_cutoffs(target: str | Path) -> list[pd.Timestamp]:
    """Return the cutoffs of which a folder or database holds scores, the earliest first.

    Parameters
    ----------
    target : str or Path
        The folder or DuckDB file given to :func:`write_scores`.
    """
    path = Path(target)
    if path.suffix == ".duckdb":
        with _database(path, read_only=True) as connection:
            if not _has_table(connection):
                return []
            rows = connection.sql("SELECT DISTINCT cutoff FROM scores ORDER BY 1").fetchall()
        return [pd.Timestamp(row[0]) for row in rows]
    return [moment for moment, _ in _earlier_files(path, pd.Timestamp.max)]


def lists_beside(target: str | Path, cutoff: pd.Timestamp) -> Path:
    """Return the folder of the lists for people that belong to the scores of a cutoff.

    Parameters
    ----------
    target : str or Path
        The folder or DuckDB file given to :func:`write_scores`.
    cutoff : Timestamp
        Of the scores.

    Examples
    --------
    >>> at = pd.Timestamp("1998-07-01")
    >>> lists_beside("out", at).as_posix(), lists_beside("shop.duckdb", at).as_posix()
    ('out/_lists/cutoff=1998-07-01', 'shop_lists/cutoff=1998-07-01')
    """
    path = Path(target)
    whole = path.with_name(f"{path.stem}{LISTS}") if path.suffix == ".duckdb" else path / LISTS
    return whole / f"cutoff={partition_of(cutoff)}"


def read_summary(target: str | Path, cutoff: str | pd.Timestamp) -> dict[str, Any] | None:
    """Read the summary that ``crmml score`` wrote beside the scores of a cutoff; None of others.

    Parameters
    ----------
    target : str or Path
        The folder or DuckDB file given to :func:`write_scores`.
    cutoff : str or Timestamp
        Which cutoff.

    Raises
    ------
    StorageError
        If it is there and cannot be read.
    """
    moment = read_moment(cutoff, "cutoff")
    return read_object(lists_beside(target, moment) / "summary.json", "summary")


def read_object(file: Path, what: str, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """Read a JSON object that stands beside scores; None where there is no such file.

    Parameters
    ----------
    file : Path
    what : str
        What it should hold, for the message.
    keys : collection of str
        Names that it must have.

    Raises
    ------
    StorageError
        If it is there and cannot be read, or holds something else.
    """
    if not file.is_file():
        return None
    with reported("read", file):
        text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise StorageError(f"{file} is not JSON: {error!s:.200}") from error
    if not isinstance(found, dict) or not set(keys) <= set(found):
        raise StorageError(f"cannot read {file}: it holds no {what}")
    return found


def write_untimed_scores(
    scores: pd.DataFrame, target: str | Path, format: ScoreFormat = "parquet"
) -> Path:
    """Write scores that have no cutoff, those of a labelled table; a second run replaces them.

    Parameters
    ----------
    scores : DataFrame
        One row per customer, with the column ``customer_id``.
    target : str or Path
        A folder, which gets ``labelled_scores.parquet`` (or ``.csv``), or a DuckDB file (its name
        ends in ``.duckdb``), whose table ``labelled_scores`` becomes these rows.
    format : {"parquet", "csv"}
        See :func:`write_scores`.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    MissingColumnsError, DataError
        If ``customer_id`` is missing, null or not unique.
    StorageError
        If the target cannot be written.
    """
    path = Path(target)
    if format not in get_args(ScoreFormat):
        raise ParameterError("format", f"one of {get_args(ScoreFormat)}", format)
    batches = _in_order([scores], None)
    if path.suffix == ".duckdb":
        return _replace_table(next(batches), path)
    out = path / f"labelled_scores.{format}"
    with replacing(out) as partial:
        (_write_parquet if format == "parquet" else _write_csv)(batches, partial)
    return out


def _replace_table(frame: pd.DataFrame, path: Path) -> Path:
    import duckdb

    with _database(path) as connection:
        connection.register("incoming", _to_arrow(frame))
        try:
            query = "CREATE OR REPLACE TABLE labelled_scores AS SELECT * FROM incoming"
            connection.execute(query).fetchall()
        except duckdb.Error as error:
            why = str(error).partition("\n")[0]
            raise StorageError(f"cannot write labelled_scores of {path}: {why}") from error
    return path


def read_scores(
    target: str | Path,
    cutoff: str | pd.Timestamp,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read the scores of one cutoff back, sorted by ``customer_id``, with the column ``cutoff``.

    Parameters
    ----------
    target : str or Path
        The folder or DuckDB file given to :func:`write_scores`.
    cutoff : str or Timestamp
        Which cutoff.
    columns : sequence of str, optional
        Only those of these that there are; default: all.

    Raises
    ------
    StorageError
        If there are no scores for this cutoff.
    """
    import duckdb
    import pyarrow.parquet as pq

    moment, path = read_moment(cutoff, "cutoff"), Path(target)
    if path.suffix == ".duckdb":
        with _database(path, read_only=True) as connection:
            if not _has_table(connection):
                raise StorageError(f"{path} holds no table 'scores'")
            try:
                table = connection.sql(
                    "SELECT * FROM scores WHERE cutoff = ? ORDER BY customer_id",
                    params=[moment.to_pydatetime()],
                ).to_arrow_table()
            except duckdb.Error as error:
                raise StorageError(f"cannot read the table 'scores' of {path}: {error}") from error
        if table.num_rows == 0:
            raise StorageError(f"{path} holds no scores for the cutoff {partition_of(moment)}")
        if columns is not None:
            table = table.select([n for n in table.column_names if n in {*columns, KEY, "cutoff"}])
        return check_scores(_to_pandas(table))
    file = path / f"cutoff={partition_of(moment)}" / "scores.parquet"
    if not file.is_file():
        raise StorageError(
            f"no scores for the cutoff {partition_of(moment)}: {file} does not exist"
        )
    with reading_parquet(file):
        known = pq.read_schema(file).names
        if KEY not in known:
            raise MissingColumnsError([KEY], known, table="scores")
        names = known if columns is None else [n for n in known if n in {*columns, KEY}]
        frame = _to_pandas(pq.read_table(file, columns=names, partitioning=None))
    frame.insert(1, "cutoff", moment.as_unit("us"))
    return check_scores(frame)


def read_plans(target: str | Path, before: str | pd.Timestamp) -> pd.DataFrame:
    """Read the contacts that runs at earlier cutoffs have planned.

    The scores of earlier cutoffs are the ledger of plans: nothing else is written. A run never
    reads those of its own cutoff or of later ones, so running again changes nothing. Lists for
    people (CSV) are no ledger and are not read.

    Parameters
    ----------
    target : str or Path
        The folder or DuckDB file given to :func:`write_scores`; it need not exist yet.
    before : str or Timestamp
        The cutoff of the run that asks.

    Returns
    -------
    DataFrame
        ``customer_id``, ``timestamp`` (the cutoff of the plan) and ``action``, sorted.
    """
    moment, path = read_moment(before, "before"), Path(target)
    parts: list[pd.DataFrame] = []
    if path.suffix == ".duckdb" and path.exists():
        parts = [_plans_of_database(path, moment)]
    elif path.suffix != ".duckdb":
        for planned, file in _earlier_files(path, moment):
            parts.append(_plans_of_file(file).assign(timestamp=planned))
    empty = pd.DataFrame({"customer_id": [], "action": [], "timestamp": []})
    plans = pd.concat(parts or [empty], ignore_index=True)
    return plans.sort_values(["timestamp", "customer_id"], ignore_index=True)


def read_control(target: str | Path, before: str | pd.Timestamp, experiment: str) -> pd.DataFrame:
    """Read the shares at which customers were first drawn for the control group of an experiment.

    Parameters
    ----------
    target : str or Path
        The folder or DuckDB file given to :func:`write_scores`; it need not exist yet.
    before : str or Timestamp
        The cutoff of the run that asks; only earlier ones count.
    experiment : str
        Name of the experiment.

    Returns
    -------
    DataFrame
        ``customer_id``, ``experiment`` and ``control_share``, one row per customer.
    """
    moment, path = read_moment(before, "before"), Path(target)
    found = pd.DataFrame({"customer_id": [], "experiment": [], "control_share": []})
    if path.suffix == ".duckdb" and path.exists():
        with _database(path, read_only=True) as connection:
            known = connection.table("scores").columns if _has_table(connection) else []
            if "control_share" not in known:
                return found
            query = """
                SELECT customer_id, experiment, arg_min(control_share, cutoff) AS control_share
                FROM scores WHERE cutoff < ? AND experiment = ? GROUP BY ALL ORDER BY ALL
            """
            rows = connection.sql(query, params=[moment.to_pydatetime(), experiment])
            return _to_pandas(rows.to_arrow_table())
    for _, file in _earlier_files(path, moment):
        rows = _columns_of_file(file, list(found.columns))
        if rows is not None:
            rows = rows[rows["experiment"] == experiment]
            known = rows["customer_id"].isin(found["customer_id"])
            found = pd.concat([found, rows[~known]] if len(found) else [rows], ignore_index=True)
    return found


def _earlier_files(folder: Path, before: pd.Timestamp) -> Iterator[tuple[pd.Timestamp, Path]]:
    """Yield the scores of earlier cutoffs, the earliest first."""
    files = {moment_of(file.parent): file for file in folder.glob("cutoff=*/scores.parquet")}
    yield from ((moment, files[moment]) for moment in sorted(files) if moment < before)


def _columns_of_file(file: Path, names: list[str]) -> pd.DataFrame | None:
    """Read some columns of a file of scores; None if it lacks one."""
    import pyarrow.parquet as pq

    with reading_parquet(file):
        if not set(names) <= set(pq.read_schema(file).names):
            return None
        return _to_pandas(pq.read_table(file, columns=names, partitioning=None))


def _plans_of_database(path: Path, before: pd.Timestamp) -> pd.DataFrame:
    with _database(path, read_only=True) as connection:
        known = connection.table("scores").columns if _has_table(connection) else []
        if "recommended_action" not in known:
            return pd.DataFrame({"customer_id": [], "timestamp": [], "action": []})
        query = """
            SELECT customer_id, cutoff AS timestamp, recommended_action AS action FROM scores
            WHERE recommended_action <> 'no_action' AND cutoff < ?
        """
        found = connection.sql(query, params=[before.to_pydatetime()])
        return _to_pandas(found.to_arrow_table())


def _plans_of_file(file: Path) -> pd.DataFrame:
    names = ["customer_id", "recommended_action"]
    frame = _columns_of_file(file, names)
    if frame is None:
        return pd.DataFrame({"customer_id": [], "action": []})
    acts = frame[frame[names[1]].notna() & (frame[names[1]] != "no_action")]
    return acts.set_axis(["customer_id", "action"], axis=1)


def partition_of(cutoff: pd.Timestamp) -> str:
    """Return the name of a cutoff in the names of folders.

    Examples
    --------
    >>> partition_of(pd.Timestamp("1998-07-01"))
    '1998-07-01'
    """
    whole_day = cutoff == cutoff.normalize()
    return cutoff.strftime("%Y-%m-%d" if whole_day else "%Y-%m-%dT%H%M%S")


def moment_of(folder: Path) -> pd.Timestamp:
    """Return the cutoff that the name of a folder says; see :func:`partition_of`.

    Raises
    ------
    StorageError
        If it says none.

    Examples
    --------
    >>> moment_of(Path("scores/cutoff=1998-07-01T120000"))
    Timestamp('1998-07-01 12:00:00')
    """
    name = folder.name.removeprefix("cutoff=")
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H%M%S"):
        with suppress(ValueError):
            return pd.Timestamp(datetime.strptime(name, form))
    raise StorageError(
        f"{folder!s:.200} is no folder of scores: its name must be cutoff= and a date like "
        "2024-01-31; take it away"
    )


_WORDS = frozenset({"value_tier", "loyalty_class", "lifecycle_stage", "recommended_action"})
_NUMBERS = re.compile(
    r".*probability.*|(net_)?clv.*|expected_.*|net_gain_.*|purchases_.*|profit_to_date|net_spend"
)


def check_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Refuse stored scores that nothing here can have written; else give them back.

    Raises
    ------
    DataError
        If customers are null or repeat each other, words are none, or numbers are not finite or,
        being probabilities, not from 0 to 1.
    """
    _check_ids(frame[KEY])
    for name in map(str, frame.columns):
        values, rule = frame[name].dropna(), ""
        if name in _WORDS and len(values) and not pd.api.types.is_string_dtype(values):
            rule = "be text"
        elif _NUMBERS.fullmatch(name) and len(values):
            low, high = (0.0, 1.0) if "probability" in name else (-1e300, 1e300)
            if not pd.api.types.is_numeric_dtype(values):
                rule = "be a number"
            elif not values.between(low, high).all():
                rule = "lie from 0 to 1" if high == 1.0 else "be finite"
        if rule:
            raise DataError(f"{name} must {rule}", table="scores", column=name)
    return frame


def _check_ids(ids: pd.Series[Any]) -> None:
    for rule, broken in (("not be null", ids.isna()), ("be unique", ids.duplicated(False))):
        if broken.any():
            raise DataError(
                f"{KEY} must {rule}",
                table="scores",
                column=KEY,
                n_rows=int(broken.sum()),
                examples=ids[broken].head(5),
            )


@contextmanager
def reading_parquet(file: Path) -> Iterator[None]:
    """Turn what the system and the library say of a damaged file into one sentence."""
    import pyarrow as pa

    try:
        with reported("read", file):
            yield
    except pa.ArrowNotImplementedError:  # said of a filter, not of the file
        raise
    except pa.ArrowException as error:
        raise StorageError(f"cannot read {file!s:.200}: it is damaged, or no Parquet") from error


def _in_order(
    batches: Iterable[pd.DataFrame], cutoff: pd.Timestamp | None
) -> Iterator[pd.DataFrame]:
    """Sort each batch by customer and check the keys within and across batches."""
    last: Any = None
    for batch in batches:
        frame = batch.reset_index() if batch.index.name == KEY else batch
        if KEY not in frame.columns:
            raise MissingColumnsError([KEY], map(str, frame.columns), table="scores")
        ids = frame[KEY]
        _check_ids(ids)
        if cutoff is not None and "cutoff" in frame.columns:
            other = pd.to_datetime(frame["cutoff"]) != cutoff
            if other.any():
                raise DataError(
                    f"scores written for the cutoff {partition_of(cutoff)} must be of that cutoff",
                    table="scores",
                    column="cutoff",
                    n_rows=int(other.sum()),
                    examples=ids[other].head(5),
                )
        if frame.columns[0] != KEY:
            frame = frame[[KEY, *(name for name in frame.columns if name != KEY)]]
        if not ids.is_monotonic_increasing:
            frame = frame.sort_values(KEY, ignore_index=True)
        if len(frame):
            if last is not None and not frame[KEY].iloc[0] > last:
                raise DataError(
                    f"batches of scores must ascend in {KEY}", table="scores", column=KEY
                )
            last = frame[KEY].iloc[-1]
        yield frame


def _to_arrow(frame: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    names = frame.columns.astype(str).tolist()
    columns = [pa.array(column, from_pandas=True) for _, column in frame.items()]
    return pa.table([values.cast(_plain_type(values.type)) for values in columns], names=names)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """One type per notion, whatever pandas chose; a column without any value is text."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_large_string(kind):
        return pa.string()
    return pa.timestamp("us") if pa.types.is_timestamp(kind) else kind


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _write_parquet(batches: Iterator[pd.DataFrame], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    schema: pa.Schema | None = None
    rest: pa.Table | None = None
    try:
        for frame in batches:
            table = _to_arrow(frame.drop(columns="cutoff", errors="ignore"))
            if writer is None:
                schema = table.schema
                # Dictionaries of distinct floats make files larger and writing five times slower.
                text = [field.name for field in schema if pa.types.is_string(field.type)]
                writer = pq.ParquetWriter(
                    path,
                    schema,
                    version="2.6",
                    compression="zstd",
                    compression_level=1,
                    use_dictionary=text,
                    # By the key readers skip rows; least and most of a forecast tell them nothing.
                    write_statistics=[KEY],
                )
            table = _as_schema(table, schema, pa.ArrowInvalid)
            rest = pa.concat_tables([rest, table]) if rest is not None and len(rest) else table
            full = rest.num_rows // _ROW_GROUP * _ROW_GROUP
            if full:
                # One array per column, so that the bytes do not tell the batches.
                writer.write_table(rest.slice(0, full).combine_chunks(), _ROW_GROUP)
                rest = rest.slice(full)
        if writer is not None and rest is not None and rest.num_rows:
            writer.write_table(rest.combine_chunks(), _ROW_GROUP)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise DataError("scores need at least one batch", table="scores")


def _as_schema(table: pa.Table, schema: pa.Schema, invalid: type[Exception]) -> pa.Table:
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, invalid) as error:
        raise DataError(
            f"all batches of scores need the same columns and types ({error})", table="scores"
        ) from error


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table for people: UTF-8 with a byte order mark, formulas neutralised.

    Parameters
    ----------
    frame : DataFrame
        Its index is not written. Lists become text, parted by ``"; "``.
    path : Path
        The file.
    """
    _write_csv(iter([frame]), path)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Return a table for people as :func:`write_csv` writes it."""
    target = BytesIO()
    _csv_into(iter([frame]), target)
    return target.getvalue()


def _cells(values: pd.Series) -> pa.Array:
    r"""One column for people; text that a spreadsheet would run is led by a quote (OWASP).

    Examples
    --------
    >>> _cells(pd.Series(["=1+1", "a=b", None, "-2"])).to_pylist()
    ["'=1+1", 'a=b', None, "'-2"]
    >>> _cells(pd.Series(["\n=1", "\uff0b1", " a"])).to_pylist()
    ["'\n=1", "'＋1", ' a']
    >>> _cells(pd.Series([-1.5, 2.0])).to_pylist()
    [-1.5, 2.0]
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pd.api.types.infer_dtype(values, skipna=True).startswith("mixed"):
        values = values.map(_as_text)
    cells = pa.chunked_array([pa.array(values, from_pandas=True)])
    cells = cells.cast(_plain_type(cells.type))
    if pa.types.is_timestamp(cells.type):
        days = cells.cast(pa.date32(), safe=False)
        whole = pc.all(pc.equal(days.cast(cells.type), cells), min_count=0).as_py()
        seconds = cells.cast(pa.timestamp("s"), safe=False)
        return pc.strftime(seconds, "%Y-%m-%d" if whole else "%Y-%m-%d %H:%M:%S")
    if pa.types.is_string(cells.type):
        return pc.replace_substring_regex(cells, _FORMULA, r"'\1")
    return cells


def _as_text(value: Any) -> str | None:
    if isinstance(value, (list, tuple, set, frozenset)) or hasattr(value, "tolist"):
        return "; ".join(map(str, value))
    return None if pd.isna(value) else str(value)


def _write_csv(batches: Iterator[pd.DataFrame], path: Path) -> None:
    with path.open("wb") as file:
        _csv_into(batches, file)


def _csv_into(batches: Iterator[pd.DataFrame], file: BinaryIO) -> None:
    import pyarrow as pa
    from pyarrow.csv import CSVWriter

    writer: CSVWriter | None = None
    schema: pa.Schema | None = None
    file.write("\N{BYTE ORDER MARK}".encode())
    for frame in batches:
        names = _cells(pd.Series(frame.columns.astype(str))).to_pylist()
        table = pa.table([_cells(frame[name]) for name in frame.columns], names=names)
        if writer is None:
            schema = table.schema
            writer = CSVWriter(file, schema)
        writer.write_table(_as_schema(table, schema, pa.ArrowInvalid))
    if writer is None:
        raise DataError("scores need at least one batch", table="scores")
    writer.close()


def _with_cutoff(frame: pd.DataFrame, cutoff: pd.Timestamp) -> pd.DataFrame:
    frame = frame.drop(columns="cutoff", errors="ignore")
    frame.insert(1, "cutoff", cutoff.as_unit("us"))
    return frame


# ---------------------------------------------------------------------------- databases


@contextmanager
def _database(path: Path, *, read_only: bool = False) -> Iterator[Any]:
    import duckdb

    if read_only and not path.is_file():
        raise StorageError(f"cannot read {path}: no such file")
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connected(path, read_only)
    except (duckdb.Error, OSError) as error:
        first = str(error).partition("\n")[0][:300]
        raise StorageError(f"cannot open the database {path}: {first}") from error
    with connection:
        yield connection


def _connected(path: Path, read_only: bool) -> Any:
    """Open a database; one that another process holds is tried again for some seconds."""
    import duckdb

    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=_NO_DOWNLOADS)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or time.monotonic() > until:
                raise
            time.sleep(0.2)


def _has_table(connection: Any) -> bool:
    query = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'scores' AND NOT internal"
    return bool(connection.execute(query).fetchall()[0][0])


def _write_database(batches: Iterator[pd.DataFrame], path: Path, cutoff: pd.Timestamp) -> Path:
    import duckdb

    with _database(path) as connection:

        def run(statement: str, *values: Any) -> None:
            connection.execute(statement, values).fetchall()  # a result left open blocks the next

        try:
            connection.begin()
            exists = _has_table(connection)
            if exists:
                run("DELETE FROM scores WHERE cutoff = ?", cutoff.to_pydatetime())
            for frame in batches:
                connection.register("incoming", _to_arrow(_with_cutoff(frame, cutoff)))
                if not exists:
                    run("CREATE TABLE scores AS SELECT * FROM incoming LIMIT 0")
                    exists = True
                run("INSERT INTO scores BY NAME SELECT * FROM incoming")
                connection.unregister("incoming")
            connection.commit()
        except BaseException as error:
            with suppress(duckdb.Error):  # a full disk has ended the transaction already
                connection.rollback()
            if isinstance(error, duckdb.Error):
                why = str(error).partition("\n")[0]
                raise StorageError(f"cannot write the table 'scores' of {path}: {why}") from error
            raise
    return path
