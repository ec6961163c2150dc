"""Bad input for the command line: what is wrong, the files, the command, words of the sentence."""

from __future__ import annotations

from typing import NamedTuple

Content = str | bytes


class Row(NamedTuple):
    """One bad input.

    Attributes
    ----------
    wrong : str
        What is wrong; unique.
    files : dict of str to str or bytes
        Files that are written over the good ones; a name that ends in ``/`` is a folder.
    command : str
        Arguments, parted by blanks.
    words : tuple of str
        What the sentence must hold.
    """

    wrong: str
    files: dict[str, Content]
    command: str
    words: tuple[str, ...]


def _log() -> str:
    """Write the good log: forty customers, one to eight purchases each in 2023."""
    lines = ["customer_id,timestamp,amount"]
    for who in range(40):
        for n in range(1 + who % 8):
            day = 1 + (who * 37 + n * 41) % 350
            month, rest = 1 + day // 30 % 12, 1 + day % 28
            lines.append(f"c{who},2023-{month:02}-{rest:02},{5 + who % 7}.{n}0")
    return "\n".join(lines) + "\n"


LOG = _log()
JOB = "data: {transactions: {path: log.csv}}\n"
GOOD: dict[str, Content] = {"log.csv": LOG, "job.yaml": JOB}


def log(*lines: str) -> dict[str, Content]:
    """Add lines to the log."""
    return {"log.csv": LOG + "\n".join(lines) + "\n"}


def job(more: str) -> dict[str, Content]:
    """Add settings to the configuration."""
    return {"job.yaml": JOB + more}


def read(how: str) -> dict[str, Content]:
    """Say how the log is read."""
    return {"job.yaml": f"data: {{transactions: {{path: log.csv, {how}}}}}\n"}


_ACTION = {
    "name": "call",
    "purpose": "retain",
    "channels": "[phone]",
    "contact_cost": "1",
    "horizon": "26W",
    "eligible": "churn_probability > 0.5",
    "save_rate": "{mean: 0.1, sample_size: 20}",
}


def catalogue(times: int = 1, **changes: str) -> dict[str, Content]:
    """Write a catalogue of one action with changed lines, once or more often."""
    lines = _ACTION | changes
    text = "\n    ".join(f"{key}: {value}" for key, value in lines.items() if value)
    whole = 'version: "1"\nactions:\n' + f"  - {text}\n" * times
    return {"actions.yaml": whole, "job.yaml": JOB + "actions: {catalogue: actions.yaml}\n"}


_CHECK = "check -c job.yaml"
_TRAIN = "train -c job.yaml"
_SCORE = "score -c job.yaml --out out --model"
_DEEP = "[" * 2000
_BOMB = "a: &a [x, x]\nb: &b [*a, *a]\n"

_ROWS_OF_THE_LOG = [
    Row("a ragged line", log("c1,2023-01-05"), _CHECK, ("line ",)),
    Row("a line too long", log("c1,2023-01-05,5,6,7"), _CHECK, ("line ",)),
    Row("an open quote", log('"c1,2023-01-05,5'), _CHECK, ()),
    Row("a time left out", log("c1,,5"), _CHECK, ("timestamp", "1 row")),
    Row("an amount left out", log("c1,2023-01-05,"), _CHECK, ("amount", "1 row")),
    Row("an amount in words", log("c1,2023-01-05,five"), _CHECK, ("amount", "'five'")),
    Row("an amount that is NaN", log("c1,2023-01-05,nan"), _CHECK, ("amount",)),
    Row("an endless amount", log("c1,2023-01-05,inf"), _CHECK, ("amount",)),
    Row("an amount of 1e300", log("c1,2023-01-05,1e300"), _CHECK, ("amount",)),
    Row("an amount of 1e15", log("c1,2023-01-05,1e15"), _CHECK, ("amount", "1e15")),
    Row("an amount of 400 digits", log("c1,2023-01-05," + "9" * 400), _CHECK, ("amount",)),
    Row("an amount that is true", log("c1,2023-01-05,True"), _CHECK, ("amount", "True")),
    Row("a date that is none", log("c1,2023-02-31,5"), _CHECK, ("timestamp", "2023-02-31")),
    Row("a date in words", log("c1,yesterday,5"), _CHECK, ("timestamp", "yesterday")),
    Row("a date before 1970", log("c1,1869-01-05,5"), _CHECK, ("timestamp", "1970")),
    Row("a zone among clocks", log("c1,2023-01-05T10:00:00Z,5"), _CHECK, ("timestamp",)),
    Row(
        "two columns of one name",
        {"log.csv": "customer_id,customer_id,timestamp,amount\n1,2,2023-01-01,5\n"},
        _CHECK,
        ("customer_id", "once"),
    ),
    Row(
        "two columns that differ in capitals",
        {"log.csv": "customer_id,timestamp,amount,AMOUNT\n1,2023-01-01,5,7\n"},
        _CHECK,
        ("AMOUNT", "capitals"),
    ),
    Row(
        "no header", {"log.csv": "c1,2023-01-05,5\nc2,2023-01-06,7\n"}, _CHECK, ("missing column",)
    ),
    Row("nothing at all", {"log.csv": ""}, _CHECK, ("empty",)),
    Row("a header only", {"log.csv": "customer_id,timestamp,amount\n"}, _CHECK, ("row",)),
    Row("blanks only", {"log.csv": "\n\n\n"}, _CHECK, ("empty",)),
    Row("zero bytes", {"log.csv": b"\0" * 4000}, _CHECK, ("log.csv",)),
    Row(
        "not UTF-8", {"log.csv": LOG.encode() + "c1,2023-01-05,5,ü\n".encode("latin-1")}, _CHECK, ()
    ),
    Row(
        "one customer",
        {"log.csv": "customer_id,timestamp,amount\nc1,2023-01-05,5\nc1,2023-05-05,5\n"},
        _TRAIN,
        ("span",),
    ),
    Row("five rows", {"log.csv": "\n".join(LOG.split("\n")[:6])}, _TRAIN, ()),
    Row(
        "nobody came again",
        {
            "log.csv": "customer_id,timestamp,amount\n"
            + "".join(f"c{i},2023-01-{1 + i % 28:02},5\n" for i in range(60))
        },
        _CHECK,
        (),
    ),
    Row(
        "no such file",
        read("encoding: utf-8") | {"job.yaml": "data: {transactions: {path: no.csv}}"},
        _CHECK,
        ("no.csv", "no such file"),
    ),
    Row(
        "a folder of nothing",
        {"none/": "", "job.yaml": "data: {transactions: {path: none}}"},
        _CHECK,
        ("none",),
    ),
    Row(
        "no Parquet inside",
        {"a.parquet": "hello", "job.yaml": "data: {transactions: {path: a.parquet}}"},
        _CHECK,
        ("a.parquet",),
    ),
    Row(
        "no DuckDB inside",
        {"a.duckdb": "hello " * 900, "job.yaml": "data: {transactions: {path: a.duckdb}}"},
        _CHECK,
        ("a.duckdb",),
    ),
    Row(
        "no workbook inside",
        {"a.xlsx": "PK hello", "job.yaml": "data: {transactions: {path: a.xlsx}}"},
        _CHECK,
        ("a.xlsx",),
    ),
    Row(
        "no JSON inside",
        {"a.json": '{"a": [', "job.yaml": "data: {transactions: {path: a.json}}"},
        _CHECK,
        ("a.json",),
    ),
    Row(
        "no archive inside",
        {"a.zip": b"PK\x03\x04 hello", "job.yaml": "data: {transactions: {path: a.zip}}"},
        _CHECK,
        ("a.zip",),
    ),
    Row(
        "no gzip inside",
        {"a.csv.gz": "hello", "job.yaml": "data: {transactions: {path: a.csv.gz}}"},
        _CHECK,
        ("a.csv.gz",),
    ),
    Row(
        "an empty SQLite file",
        {"a.db": "", "job.yaml": "data: {transactions: {path: a.db}}"},
        _CHECK,
        ("empty",),
    ),
    Row(
        "a torn SQLite file",
        {
            "a.db": b"SQLite format 3\0" + b"x" * 2000,
            "job.yaml": "data: {transactions: {path: a.db}}",
        },
        _CHECK,
        ("a.db",),
    ),
    Row(
        "a web address",
        {"job.yaml": "data: {transactions: {path: 'https://shop.example/a.csv'}}"},
        _CHECK,
        ("a.csv",),
    ),
    Row(
        "a name of 300 characters",
        {"job.yaml": f"data: {{transactions: {{path: {'n' * 300}.csv}}}}"},
        _CHECK,
        (),
    ),
    Row(
        "a pattern of files",
        {"job.yaml": "data: {transactions: {path: '*.csv'}}"},
        _CHECK,
        ("*.csv", "no such file"),
    ),
    Row("a name with a zero", {"job.yaml": 'data: {transactions: {path: "a\\0.csv"}}'}, _CHECK, ()),
]
_HOW_IT_IS_READ = [
    Row("an unknown encoding", read("encoding: klingon"), _CHECK, ("encoding", "klingon")),
    Row("an unknown zone", read("timezone: Mars/Base"), _CHECK, ("time zone", "Mars/Base")),
    Row("a zone of dots", read("timezone: ../../etc/passwd"), _CHECK, ("time zone",)),
    Row("a column that is not there", read("columns: {amount: price}"), _CHECK, ("price",)),
    Row("a column twice", read("columns: {amount: timestamp}"), _CHECK, ()),
    Row("an unknown contract", read("columns: {wealth: amount}"), _CHECK, ("wealth",)),
    Row("a decimal sign of letters", read("decimal: x"), _CHECK, ("decimal",)),
    Row("a delimiter of two signs", read("delimiter: '||||||'"), _CHECK, ()),
    Row("codes that are none", read("date_format: '%Q%Q'"), _CHECK, ("date_format",)),
    Row("codes of another form", read("date_format: '%d.%m.%Y'"), _CHECK, ("timestamp",)),
    Row("skipping backwards", read("skip_above: -1"), _CHECK, ("skip_above",)),
    Row("skipping more lines than there are", read("skip_above: 9999"), _CHECK, ("skip_above",)),
    Row("a table of a CSV", read("table: orders"), _CHECK, ("orders", "one table")),
    Row("skipping words", read("skip_above: many"), _CHECK, ("skip_above",)),
    Row("widths that fall", read("widths: [5, 3]"), _CHECK, ("widths", "rising")),
    Row("a rate of nothing", read("rates: {EUR: 0}"), _CHECK, ("EUR", "positive")),
    Row("a rate that is NaN", read("rates: {EUR: .nan}"), _CHECK, ("EUR", "finite")),
    Row("no rate of 1", read("rates: {EUR: 2}"), _CHECK, ("1 for the currency",)),
    Row("a sign of digits", read("currency_signs: ['1']"), _CHECK, ("currency_signs",)),
    Row("rows kept by no column", read("keep: {status: [paid]}"), _CHECK, ("status",)),
    Row(
        "a purchase worth less than nothing",
        read("without_amounts: true, amount_per_purchase: -1"),
        _CHECK,
        ("positive",),
    ),
    Row("a worth beside amounts", read("amount_per_purchase: 5"), _CHECK, ("without_amounts",)),
    Row("a path and a data set", read("dataset: cdnow"), _CHECK, ("exactly one",)),
    Row(
        "a data set that is none",
        {"job.yaml": "data: {transactions: {dataset: cdnau}}"},
        _CHECK,
        ("cdnow",),
    ),
    Row(
        "neither path nor data set",
        {"job.yaml": "data: {transactions: {decimal: ','}}"},
        _CHECK,
        ("exactly one",),
    ),
]


def beside(table: str, *lines: str) -> dict[str, Content]:
    """Add another table to the log."""
    both = f"data: {{transactions: {{path: log.csv}}, {table}: {{path: beside.csv}}}}\n"
    return {"beside.csv": "\n".join(lines) + "\n", "job.yaml": both}


_CONTRACTS = "customer_id,started_at,ended_at"
_TABLES = [
    Row(
        "an end of the year 9999",
        beside("subscriptions", _CONTRACTS, "c1,2023-01-01,9999-12-31"),
        _CHECK,
        ("ended_at must lie before 2100-01-01", "empty where there is none", "'c1'"),
    ),
    Row(
        "a start of the year 1",
        beside("subscriptions", _CONTRACTS, "c1,0001-01-01,2023-02-01"),
        _CHECK,
        ("1970-01-02", "0001-01-01"),
    ),
    Row(
        "a promotion that ends in the year 99999",
        beside("schedules", "name,starts_at,ends_at", "sale,2023-01-01,99999-01-01"),
        _CHECK,
        ("ends_at must lie before", "'sale'"),
    ),
    Row(
        "an endless score",
        beside("interactions", "customer_id,timestamp,kind,score", "c1,2023-01-01,survey,inf"),
        _CHECK,
        ("score must be a finite number", "interactions"),
    ),
    Row(
        "a consent of perhaps",
        beside("customers", "customer_id,contactable", "c1,perhaps"),
        _CHECK,
        ("contactable must be true or false", "'perhaps'"),
    ),
    Row(
        "a date of the year 9999 that is kept",
        log("c1,9999-12-31,5"),
        f"{_CHECK} --set data.policies.unlikely_dates=keep",
        ("timestamp must lie before 9000-01-01",),
    ),
]
_YAML = [
    Row("no configuration", {}, "check -c no.yaml", ("no.yaml",)),
    Row("a folder for a configuration", {"job/": ""}, "check -c job", ("job",)),
    Row("a configuration without end", {}, "check -c /dev/zero", ("characters",)),
    Row("an empty configuration", {"job.yaml": ""}, _CHECK, ("mapping",)),
    Row("a list for a configuration", {"job.yaml": "- 1"}, _CHECK, ("mapping",)),
    Row("a key twice", job("seed: 1\nseed: 2\n"), _CHECK, ("line 3", "seed", "twice")),
    Row("a bomb of references", job(_BOMB), _CHECK, ("reference",)),
    Row(
        "a tag of Python", job("name: !!python/object/apply:os.system [id]\n"), _CHECK, ("line 2",)
    ),
    Row("a whole number of words", job("seed: !!int abc\n"), _CHECK, ("line 2", "int")),
    Row("a number of 5,000 digits", job(f"seed: {'9' * 5000}\n"), _CHECK, ("40 digits",)),
    Row("one of 5,000 in hexadecimal", job(f"seed: 0x{'f' * 5000}\n"), _CHECK, ("40 digits",)),
    Row("deep nesting", job(f"tiers: {_DEEP}\n"), _CHECK, ("30 levels",)),
    Row("settings not in UTF-8", {"job.yaml": b"name: \xff\xfe\n"}, _CHECK, ("UTF-8", "line 1")),
    Row("a control character", job('name: "a\x07b"\n'), _CHECK, ("line 2", "not allowed")),
    Row("settings of 2 MB", job("# " + "x" * 2_000_000), _CHECK, ("characters",)),
    Row("an open bracket", job("tiers: [\n"), _CHECK, ("not valid YAML",)),
    Row("a tab", job("tiers:\n\tshares: 1\n"), _CHECK, ("not valid YAML",)),
    Row("two documents", job("---\nseed: 1\n"), _CHECK, ("not valid YAML",)),
]


def _set(wrong: str, setting: str, *words: str, command: str = "train") -> Row:
    return Row(wrong, {}, f"{command} -c job.yaml --set {setting}", words)


_SETTINGS = [
    _set("no equals sign", "seed", "key=value"),
    _set("no key", "=5", "key=value"),
    _set("an unknown setting", "sed=5", "unknown key", "'seed'"),
    _set("a setting below a value", "seed.deep=5", "seed"),
    _set("a negative seed", "seed=-1", "seed"),
    _set("a seed above 2^64", "seed=99999999999999999999", "seed"),
    _set("a seed of words", "seed=abc", "seed"),
    _set("a seed that is half", "seed=1.5", "seed"),
    _set("a seed of 39 digits", f"seed={'9' * 39}", "seed"),
    _set("a name with a slash", "name=../x", "name"),
    _set("a name of 300 letters", f"name={'n' * 300}", "name"),
    _set("an empty name", "name=", "name"),
    _set("a cutoff of words", "cutoff=soon", "cutoff", "2024-01-31"),
    _set("a cutoff of 01.02.98", "cutoff=01.02.98", "cutoff", "2024-01-31"),
    _set("a cutoff before all data", "cutoff=1990-01-01", "1990-01-01"),
    _set("a cutoff after all data", "cutoff=2999-01-01", "2999-01-01"),
    _set("a cutoff of year 9999", "cutoff=9999-12-31", "9999-12-31"),
    _set("a grain of years", "snapshot.grain=year", "snapshot.grain"),
    _set("no horizon", "outcome.horizon=null", "outcome.horizon"),
    _set("a horizon of nothing", "outcome.horizon=0W", "a duration is"),
    _set("a horizon without unit", "outcome.horizon=13", "outcome.horizon"),
    _set("a horizon of years", "outcome.horizon=1Y", "a duration is"),
    _set("a negative horizon", "outcome.horizon=-3W", "a duration is"),
    _set("a horizon of .001 hours", "outcome.horizon=.001H"),
    _set("a horizon of 100,000 weeks", "outcome.horizon=100000W", "100000W"),
    _set("a horizon of opportunities", "outcome.horizon=5P", "opportunities"),
    _set("a horizon of 400 digits", f"outcome.horizon={'9' * 400}W"),
    _set("an endless horizon", "outcome.horizon=.inf", "outcome.horizon"),
    _set("a gap of 100,000 weeks", "outcome.gap=100000W"),
    _set("a value horizon of nothing", "value.horizon=0D", "a duration is"),
    _set("a value horizon of a billion weeks", "value.horizon=1000000000W"),
    _set("a negative discount", "value.annual_discount_rate=-1", "annual_discount_rate"),
    _set("a discount that is NaN", "value.annual_discount_rate=.nan", "annual_discount_rate"),
    _set("a margin of 0", "value.margin=0", "value.margin"),
    _set("a margin of 30", "value.margin=30", "value.margin"),
    _set("a margin that is NaN", "value.margin=.nan", "value.margin"),
    _set("an endless worth", "value.per_purchase=.inf", "per_purchase"),
    _set("a history longer than the log", "backtest.min_history=900W", "900W"),
    _set("a step of nothing", "backtest.step=0W", "a duration is"),
    _set("no window", "backtest.max_windows=0", "max_windows"),
    _set("no candidate", "backtest.candidates=[]", "candidate"),
    _set("an unknown candidate", "backtest.candidates=[magic]", "magic"),
    _set("one replicate", "backtest.bootstrap=1", "bootstrap"),
    _set("four shares", "tiers.shares=[.25,.25,.25,.25]", "shares"),
    _set("shares of more than all", "tiers.shares=[.5,.5,.5,.5,.5]", "add up to 1"),
    _set("shares that are NaN", "tiers.shares=[.nan,.1,.1,.1,.1]", "shares"),
    _set("a negative budget", "actions.budget=-5", "actions.budget"),
    _set("a budget that is NaN", "actions.budget=.nan", "actions.budget"),
    _set("an endless budget", "actions.budget=.inf", "actions.budget"),
    _set("a budget of words", "actions.budget=plenty", "actions.budget"),
    _set("a capacity below 0", "actions.capacities={phone:-1}", "capacities"),
    _set("a capacity of a half", "actions.capacities={phone: .5}".replace(" ", ""), "capacities"),
    _set("all held out", "actions.holdout_share=1", "holdout_share"),
    _set("no experiment", "actions.experiment=''", "experiment"),
    _set("no contact at most", "actions.contact_limit={most:0,within:30D}", "contact_limit"),
    _set("no catalogue", "actions.catalogue=no.yaml", "no.yaml"),
    _set("a foreign tracking address", "tracking.uri=nonsense://x", "refused"),
    _set("an unknown policy", "data.policies.return=drop", "return"),
    _set("a policy of words", "data.policies.returns=maybe", "returns"),
    _set("a list for a section", "outcome=[1]", "outcome"),
    _set("nothing for a section", "outcome=null", "outcome"),
    _set("a date for a number", "actions.budget=2024-01-01", "actions.budget"),
]
_CATALOGUE = [
    Row("code", catalogue(eligible="__import__('os').system('id')"), _TRAIN, ("__import__",)),
    Row(
        "half a condition",
        catalogue(eligible="churn_probability >"),
        _TRAIN,
        ("churn_probability",),
    ),
    Row(
        "a type that cannot match",
        catalogue(eligible="value_tier == 5"),
        _TRAIN,
        ("value_tier", "number"),
    ),
    Row(
        "a condition of 3,000 brackets",
        catalogue(eligible="(" * 3000 + "1" + ")" * 3000),
        _TRAIN,
        ("line",),
    ),
    Row(
        "a number of 400 digits",
        catalogue(eligible="churn_probability > " + "9" * 400),
        _TRAIN,
        ("line",),
    ),
    Row("a cost that is NaN", catalogue(contact_cost=".nan"), _TRAIN, ("cost", "line")),
    Row("a cost below 0", catalogue(contact_cost="-1"), _TRAIN, ("cost", "line")),
    Row("a save rate of 2", catalogue(save_rate="{mean: 2, sample_size: 20}"), _TRAIN, ("line",)),
    Row(
        "an endless sample", catalogue(save_rate="{mean: .1, sample_size: .inf}"), _TRAIN, ("line",)
    ),
    Row("an action over years", catalogue(horizon="6Y"), _TRAIN, ("a duration is", "line")),
    Row("an action over months", catalogue(horizon="6M"), _TRAIN, ("months", "the grain is day")),
    Row("no channel", catalogue(channels="[]"), _TRAIN, ("channel", "line")),
    Row("no name", catalogue(name=""), _TRAIN, ("name", "line")),
    Row("an unknown purpose", catalogue(purpose="annoy"), _TRAIN, ("purpose", "line")),
    Row("an unknown line", catalogue(colour="red"), _TRAIN, ("colour", "line")),
    Row(
        "two actions of one name",
        catalogue(times=2),
        _TRAIN,
        ("call",),
    ),
    Row("no catalogue inside", catalogue() | {"actions.yaml": "hello"}, _TRAIN, ("actions.yaml",)),
    Row(
        "a catalogue of bytes",
        catalogue() | {"actions.yaml": b"\xff\xfe\0"},
        _TRAIN,
        ("actions.yaml",),
    ),
]
_COMMANDS = [
    Row("no data to score", {}, "score --out out", ("--config and --transactions",)),
    Row("an unknown format", {}, "score -c job.yaml --format xlsx", ("parquet or csv",)),
    Row("a cutoff that is none", {}, "score -c job.yaml --cutoff now", ("--cutoff",)),
    Row("an output below a file", {}, "score -c job.yaml --out log.csv/x", ("cannot write",)),
    Row("no such bundle", {}, _SCORE + " models/x", ("no bundle at models/x",)),
    Row("a file for a bundle", {}, _SCORE + " log.csv", ("no bundle",)),
    Row("no registered model", {}, _SCORE + " models:/none@champion", ("none",)),
    Row("an address of no model", {}, _SCORE + " models:/", ("models:/",)),
    Row("a version of 400 digits", {}, _SCORE + " models:/crmml/" + "9" * 400, ("crmml",)),
    Row("a model of 300 letters", {}, _SCORE + f" models:/{'m' * 300}@champion", ("no model",)),
    Row("a bundle that is no JSON", {"b/manifest.json": "{"}, _SCORE + " b", ("damaged",)),
    Row("a bundle of depth", {"b/manifest.json": _DEEP}, _SCORE + " b", ("manifest.json",)),
    Row(
        "a bundle of a newer format",
        {"b/manifest.json": '{"format_version": 99, "hashes": {}}'},
        _SCORE + " b",
        ("format 99", "update crmml"),
    ),
    Row(
        "a bundle of format 0",
        {"b/manifest.json": '{"format_version": 0, "hashes": {}}'},
        _SCORE + " b",
        ("format 0",),
    ),
    Row(
        "a bundle of format many",
        {"b/manifest.json": '{"format_version": "many", "hashes": {}}'},
        _SCORE + " b",
        ("damaged",),
    ),
    Row(
        "a bundle of an endless format",
        {"b/manifest.json": '{"format_version": Infinity, "hashes": {}}'},
        _SCORE + " b",
        ("damaged",),
    ),
    Row(
        "a bundle without hashes",
        {"b/manifest.json": '{"format_version": 1}'},
        _SCORE + " b",
        ("damaged", "hashes"),
    ),
    Row(
        "a bundle that points outside",
        {"b/manifest.json": '{"format_version": 1, "hashes": {"../log.csv": "x"}}'},
        _SCORE + " b",
        ("outside",),
    ),
    Row(
        "a bundle that names a folder",
        {"b/c/": "", "b/manifest.json": '{"format_version": 1, "hashes": {"c": "x"}}'},
        _SCORE + " b",
        ("c is missing",),
    ),
    Row(
        "a bundle of nothing",
        {"b/manifest.json": '{"format_version": 1, "hashes": {}}'},
        _SCORE + " b",
        ("bundle",),
    ),
    Row("no challenger", {}, "promote", ("no model",)),
    Row("overrides of nothing", {}, "promote --set seed=1", ("needs --config",)),
    Row(
        "a silent address",
        {},
        "promote --tracking-uri sqlite:///none/x.db",
        ("no MLflow database",),
    ),
    Row(
        "a database that is none",
        {"x.db": "hello " * 900},
        "promote --tracking-uri sqlite:///x.db",
        ("x.db",),
    ),
    Row("an init that is there", {}, "init log.csv -o job.yaml", ("job.yaml is there already",)),
    Row("an init of nothing", {}, "init no.csv", ("no.csv",)),
    Row("an init of a folder", {"d/": ""}, "init d", ("d",)),
    Row("a table of two files", {"b.csv": LOG}, "init log.csv b.csv --table x", ("--table",)),
    Row("a report below a file", {}, "backtest -c job.yaml --out log.csv/x", ("cannot write",)),
    Row(
        "an output of 300 letters",
        {},
        f"init log.csv -o {'o' * 300}.yaml",
        ("no file can be called", "too long"),
    ),
    Row(
        "a folder of 300 letters",
        {},
        f"score -c job.yaml --out {'o' * 300} --model b",
        ("no file can be called", "too long"),
    ),
]
_DAMAGED: dict[str, Content] = {"g/cutoff=2023-09-30/scores.parquet": b"PAR1 and no more"}
_STORED = [
    Row("a report of damaged scores", _DAMAGED, "report --scores g --out p", ("damaged",)),
    Row("a difference to damaged scores", _DAMAGED, "diff g g", ("damaged",)),
    Row(
        "a watch over damaged scores",
        _DAMAGED,
        "monitor --scores g -c job.yaml --horizon 4W",
        ("damaged",),
    ),
    Row(
        "a watch over no duration",
        _DAMAGED,
        "monitor --scores g -c job.yaml --horizon 4",
        ("a duration is",),
    ),
    Row(
        "scores of no date",
        {"g/cutoff=soon/scores.parquet": b""},
        "report --scores g --out p",
        ("g/cutoff=soon", "a date like"),
    ),
    Row("a device for a folder", {}, "backtest -c job.yaml --out /dev/null", ("folder",)),
]

ROWS = [
    *_STORED,
    *_ROWS_OF_THE_LOG,
    *_HOW_IT_IS_READ,
    *_TABLES,
    *_YAML,
    *_SETTINGS,
    *_CATALOGUE,
    *_COMMANDS,
]
