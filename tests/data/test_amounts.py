"""Forms of amounts: what people write in cells, read by the engine; currencies told apart."""

from __future__ import annotations

import pandas as pd
import pytest

from crmml.data.mapping import propose_mapping
from crmml.data.reading import Source
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, ParameterError

FORMS = {
    "plain": (["1234.50", "-9.00", "+7"], "."),
    "grouped": (["1,234.50", "-9.00", "7"], "."),
    "decimal comma": (["1.234,50", "-9,00", "7,0"], ","),
    "blanks": (["1 234,50", "-9,00", "7"], ","),
    "hard blanks": (["1\u00a0234,50", "\u22129,00", "7"], ","),
    "apostrophes": (["1’234.50", "-9.00", "7.-"], "."),
    "euro behind": (["1.234,50 €", "-9,00 €", "7,-- €"], ","),
    "dollar before": (["$1,234.50", "-$9.00", "$7"], "."),
    "dollar and minus": (["$ 1,234.50", "$-9.00", "$7"], "."),
    "code before": (["EUR 1234.50", "EUR -9.00", "EUR 7"], "."),
    "code with a point": (["1 234,50 kr.", "-9,00 kr.", "7 kr."], ","),
    "brackets": (["1,234.50", "(9.00)", "7"], "."),
    "brackets and sign": (["$1,234.50", "($9.00)", "$7"], "."),
    "sign and brackets": (["$1,234.50", "$(9.00)", "$7"], "."),
    "minus behind": (["1.234,50", "9,00-", "7"], ","),
    "persian": (["۱٬۲۳۴٫۵۰", "-۹٫۰۰", "۷"], "."),
    "arabic": (["١٬٢٣٤٫٥٠", "-٩٫٠٠", "٧"], "."),
    "full width": (["１，２３４．５０", "－９．００", "７"], "."),
    "scientific": (["1.2345e3", "-9.0E0", "7e0"], "."),
}


def shop(cells: list[str]) -> pd.DataFrame:
    n = len(cells)
    days = pd.date_range("2024-01-01", periods=20).strftime("%Y-%m-%d")
    return pd.DataFrame(
        {
            "customer": [f"K{i % 7}" for i in range(20 * n)],
            "day": [days[i // n] for i in range(20 * n)],
            "amount": cells * 20,
        }
    )


SHORT = {"grouped", "decimal comma", "hard blanks", "euro behind", "brackets and sign", "persian"}
"""The forms that `make test` tries: one of each kind."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in SHORT else [pytest.mark.torture]) for name in FORMS],
)
def test_a_form_is_read_to_the_cent_and_its_decimal_sign_is_found(name):
    cells, decimal = FORMS[name]
    proposal = propose_mapping(shop(cells))
    assert proposal.columns["amount"].column == "amount"
    assert proposal.amounts.decimal == decimal
    tables = open_tables(proposal.to_source())
    assert tables.transactions.amount.sum().to_pyarrow().as_py() == 20 * pd.Series([1232.5]).iloc[0]


@pytest.mark.parametrize(
    "cell",
    [
        *("1,50", "A12", "(5", ""),
        *[
            pytest.param(cell, marks=pytest.mark.torture)
            for cell in ("12.345.6", "1 23", "--5", "5)", "$")
        ],
    ],
)
def test_what_is_no_number_is_not_read_as_one(cell):
    rows = shop(["5.00", "6.00", cell])
    with pytest.raises(DataError, match="amount"):
        open_tables(Source(rows, columns={"customer_id": "customer", "timestamp": "day"}))


def test_two_currencies_in_the_cells_are_refused_with_counts_or_converted():
    rows = shop(["€5.00", "$6.00", "€7.00"])
    proposal = propose_mapping(rows)
    assert proposal.amounts.signs == ("€", "$")
    assert any(
        "more than one currency (€ in 40 cells, $ in 20 cells)" in d for d in proposal.doubts
    )
    with pytest.raises(DataError, match=r"found € \(40 rows\) and \$ \(20 rows\).*rates"):
        open_tables(proposal.to_source())
    columns = {"customer_id": "customer", "timestamp": "day", "amount": "amount"}
    source = Source(rows, columns=columns, currency_signs=("€", "$"), rates={"€": 1, "$": 0.5})
    tables = open_tables(source)
    assert float(tables.transactions.amount.sum().to_pyarrow().as_py()) == 20 * (5 + 3 + 7)
    assert tables.currency == "€"


def test_a_currency_without_a_rate_and_rates_without_a_currency_are_refused():
    rows = shop(["€5.00", "$6.00", "£7.00"])
    columns = {"customer_id": "customer", "timestamp": "day", "amount": "amount"}
    signs = ("€", "$", "£")
    with pytest.raises(DataError, match="20 rows"):
        open_tables(Source(rows, columns=columns, currency_signs=signs, rates={"€": 1, "$": 0.5}))
    with pytest.raises(ParameterError, match="rates"):
        open_tables(Source(shop(["5"]), columns=columns, rates={"EUR": 1}))
    with pytest.raises(ParameterError, match="1 for the currency that is wanted"):
        Source(rows, columns=columns, rates={"€": 2})
