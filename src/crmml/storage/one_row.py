"""The scored row of one customer, filtered where it lies: the scores are not loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from crmml.exceptions import StorageError
from crmml.storage.scores import (
    _database,
    _has_table,
    _to_pandas,
    check_scores,
    partition_of,
    reading_parquet,
)


def read_row(
    target: str | Path, cutoff: str | pd.Timestamp, customer_id: int | str
) -> pd.Series[Any]:
    """Read the row of one customer at one cutoff.

    Parameters
    ----------
    target : str or Path
        The folder or DuckDB file given to :func:`crmml.storage.scores.write_scores`.
    cutoff : str or Timestamp
        Which cutoff.
    customer_id : int or str
        As the scores hold it.

    Raises
    ------
    StorageError
        If there are no scores of this cutoff, or none of this customer among them.
    """
    moment, path = pd.Timestamp(cutoff), Path(target)
    if path.suffix == ".duckdb":
        rows = _of_database(path, moment, customer_id)
    else:
        rows = _of_folder(path, moment, customer_id)
    if rows.empty:
        raise StorageError(
            f"the scores of {partition_of(moment)} in {path} hold no row of this customer"
        )
    row: pd.Series[Any] = check_scores(rows).iloc[0].astype(object)
    row["cutoff"] = moment
    return row


def _of_folder(path: Path, moment: pd.Timestamp, customer_id: int | str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / f"cutoff={partition_of(moment)}" / "scores.parquet"
    if not file.is_file():
        raise StorageError(
            f"no scores for the cutoff {partition_of(moment)}: {file} does not exist; give "
            "--cutoff, or leave the scores out to score the customer alone"
        )
    with reading_parquet(file):
        try:
            wanted = [("customer_id", "==", customer_id)]
            return _to_pandas(pq.read_table(file, filters=wanted, partitioning=None))
        except pa.ArrowNotImplementedError as error:  # ids of another type
            raise StorageError(f"the ids of {file} are not of the type of the data's") from error


def _of_database(path: Path, moment: pd.Timestamp, customer_id: int | str) -> pd.DataFrame:
    with _database(path, read_only=True) as connection:
        if not _has_table(connection):
            raise StorageError(f"{path} holds no table 'scores'")
        found = connection.sql(
            "SELECT * FROM scores WHERE cutoff = ? AND customer_id = ?",
            params=[moment.to_pydatetime(), customer_id],
        )
        return _to_pandas(found.to_arrow_table())
