"""A file of 5 million lines, understood: what `crmml init` and then `crmml check` take.

A semicolon file of a German shop (dates as dd.mm.yyyy, decimal commas, a status, net, tax and
total), made by DuckDB. Each step runs in a process of its own; the peak is that of the process.
Beside them stands what DuckDB needs to read every line as text and count customers, the least that
anyone can do. Target: understood (init) in under 20 s and 1 GB. ``--lines`` makes it smaller.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

LINES = """
COPY (
  SELECT 'B-' || i AS "Bestell-Nr", 'K' || lpad(who::VARCHAR, 7, '0') AS "Kunden-Nr",
         strftime(TIMESTAMP '2022-01-03 08:00:00' + to_minutes(i * 1440 * 1090 // {n}), '{form}')
           AS "Bestelldatum",
         CASE WHEN hash(i) % 50 = 0 THEN 'storniert' ELSE 'bezahlt' END AS "Status",
         'A' || hash(i) % 900 AS "Artikel-Nr",
         replace(printf('%.2f', net), '.', ',') AS "Netto",
         replace(printf('%.2f', net * 0.19), '.', ',') AS "MwSt",
         replace(printf('%.2f', net * 1.19), '.', ',') AS "Brutto"
  FROM (SELECT i, hash(i // 3 * 7) % ({n} // 8) AS who, 1 + hash(i * 31) % 20000 / 100.0 AS net
        FROM range({n}) AS lines(i))
) TO '{path}' (DELIMITER ';', HEADER)
"""
FORM = "%d.%m.%Y %H:%M"


def run_init(path: Path) -> str:
    from crmml.cli import display
    from crmml.data.mapping import propose_tables

    (proposal,) = propose_tables([(str(path), None)])
    text = display.config_text([proposal], relative_to=path.parent)
    path.with_suffix(".yaml").write_text(text, encoding="utf-8")
    return ", ".join(f"{name} = {guess.column}" for name, guess in proposal.columns.items())


def run_check(path: Path) -> str:
    from crmml.config import load_config
    from crmml.data.profile import compute_profile
    from crmml.training.opening import open_configured

    config = load_config(path.with_suffix(".yaml"), ["data.transactions.columns.amount=Netto"])
    profile = compute_profile(open_configured(config), history=config.backtest.min_history)
    return f"{profile.rows:,} rows, {profile.customers:,} customers, {profile.revenue:,.2f}"


def run_duckdb(path: Path) -> str:
    import duckdb

    query = 'SELECT count(*), count(DISTINCT "Kunden-Nr") FROM read_csv(?, all_varchar = true)'
    rows, customers = duckdb.execute(query, [str(path)]).fetchall()[0]
    return f"{rows:,} rows, {customers:,} customers"


SIDES = {"crmml init": run_init, "crmml check": run_check, "DuckDB, read and count": run_duckdb}


def run_side(name: str, path: Path) -> None:
    """Time one side in this process and print the figures as JSON."""
    warnings.simplefilter("ignore")
    start, cpu = time.perf_counter(), time.process_time()
    told = SIDES[name](path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    unit = 2**30 if sys.platform == "darwin" else 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "told": told}))


def make(path: Path, lines: int) -> None:
    import duckdb

    duckdb.execute(LINES.format(n=lines, path=path, form=FORM))


def call(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--side", choices=[*SIDES, "make"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "make":
        make(options.file, options.lines)
        return
    if options.side:
        run_side(options.side, options.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.csv"
        # in a process of its own: a child inherits the peak of the process that starts it
        call("--side", "make", "--file", str(path), "--lines", str(options.lines))
        print(f"{options.lines:,} lines, {path.stat().st_size / 2**20:,.0f} MiB")
        print(f"  {'':24} seconds  of the processor  peak GB")
        for name in SIDES:
            found = json.loads(call("--side", name, "--file", str(path)).splitlines()[-1])
            figures = f"{found['seconds']:7.2f}  {found['cpu']:16.2f}  {found['peak']:7.2f}"
            print(f"  {name:24} {figures}   {found['told']}", flush=True)


if __name__ == "__main__":
    main()
