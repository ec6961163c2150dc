"""Which table a file is, and which column is the customer: many kinds of files, many languages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from crmml.cli import jobs
from crmml.config import load_config
from crmml.data.mapping import propose_mapping, propose_tables, write_section
from crmml.data.tables import open_tables
from crmml.exceptions import CrmmlError, DataError, MissingColumnsError

N = 120
RNG = np.random.default_rng(5)
CUSTOMERS = [f"K{i:03d}" for i in RNG.integers(0, 40, N)]
DAYS = pd.to_datetime("2023-01-02") + pd.to_timedelta(np.sort(RNG.integers(0, 300, N)), "D")
AMOUNTS = (RNG.lognormal(3, 0.6, N)).round(2)
ORDERS = [f"B-{i}" for i in range(N)]
PEOPLE = [f"K{i:03d}" for i in range(40)]


def rows(**columns):
    return pd.DataFrame(columns)


def log(customer, time, amount, order=None, *, codes="%Y-%m-%d"):
    frame = {time: DAYS.strftime(codes), customer: CUSTOMERS, amount: AMOUNTS}
    return pd.DataFrame({order: ORDERS} | frame if order else frame)


def touches(customer, time, kind, values, **more):
    kinds = [values[i % len(values)] for i in range(N)]
    return pd.DataFrame({customer: CUSTOMERS, time: DAYS.strftime("%Y-%m-%d"), kind: kinds} | more)


def periods(customer, start, end, **more):
    ends = [None if i % 3 else f"2024-0{i % 9 + 1}-01" for i in range(40)]
    starts = [f"2023-{i % 12 + 1:02d}-01" for i in range(40)]
    return pd.DataFrame({customer: PEOPLE, start: starts, end: ends} | more)


def calendar(start, end, name):
    return pd.DataFrame(
        {
            start: ["2023-03-01", "2023-12-01", "2024-03-01"],
            end: ["2023-03-08", "2023-12-24", "2024-03-08"],
            name: ["Spring", "Christmas", "Spring"],
        }
    )


def people(customer, **more):
    return pd.DataFrame({customer: PEOPLE} | more)


CITY = [["Ulm", "Bonn", "Jena"][i % 3] for i in range(40)]
YES = [["yes", "no", "no"][i % 3] for i in range(40)]
ONE = [int(i % 4 == 0) for i in range(40)]
NAMES = [f"Name {i}" for i in range(40)]

FILES = {
    "transactions, English": (
        log("Customer No", "Order Date", "Net Amount", "Order"),
        "transactions",
        "Customer No",
    ),
    "transactions, donors": (
        log("Donor ID", "Gift Date", "Donation", "Receipt No"),
        "transactions",
        "Donor ID",
    ),
    "transactions, members": (
        log("member", "purchase_ts", "spend", "basket"),
        "transactions",
        "member",
    ),
    "transactions, accounts": (
        log("Account", "Invoice Date", "Invoice Amount"),
        "transactions",
        "Account",
    ),
    "transactions, German": (
        log("Kunden-Nr.", "Bestelldatum", "Nettobetrag", "Bestell-Nr.", codes="%d.%m.%Y"),
        "transactions",
        "Kunden-Nr.",
    ),
    "transactions, French": (
        log("N° client", "Date de commande", "Montant HT", "Commande", codes="%d/%m/%Y"),
        "transactions",
        "N° client",
    ),
    "transactions, Spanish": (
        log("Código de cliente", "Fecha de compra", "Importe", "Pedido"),
        "transactions",
        "Código de cliente",
    ),
    "transactions, Italian": (
        log("Cliente", "Data ordine", "Importo", "Numero ordine"),
        "transactions",
        "Cliente",
    ),
    "transactions, Portuguese": (
        log("Código do cliente", "Data da compra", "Valor total", "Pedido"),
        "transactions",
        "Código do cliente",
    ),
    "transactions, Dutch": (
        log("Klantnummer", "Besteldatum", "Bedrag", "Bestelnummer"),
        "transactions",
        "Klantnummer",
    ),
    "transactions, Turkish": (
        log("Müşteri No", "Sipariş Tarihi", "Tutar", "Sipariş No"),
        "transactions",
        "Müşteri No",
    ),
    "transactions, Polish": (
        log("Numer klienta", "Data zamówienia", "Kwota", "Numer zamówienia"),
        "transactions",
        "Numer klienta",
    ),
    "transactions, Russian": (
        log("Код клиента", "Дата покупки", "Сумма", "Номер заказа"),
        "transactions",
        "Код клиента",
    ),
    "transactions, Chinese": (
        log("会员ID", "下单时间", "实付金额", "订单编号"),
        "transactions",
        "会员ID",
    ),
    "transactions, Japanese": (
        log("顧客番号", "購入日", "合計金額", "注文番号"),
        "transactions",
        "顧客番号",
    ),
    "transactions, Persian": (
        log("کد مشتری", "تاریخ خرید", "مبلغ", "شماره سفارش"),
        "transactions",
        "کد مشتری",
    ),
    "transactions, Arabic": (
        log("رقم العميل", "تاريخ الشراء", "المبلغ", "رقم الطلب"),
        "transactions",
        "رقم العميل",
    ),
    "customers, English": (
        people("customer_id", company=NAMES, industry=CITY, opt_in=YES),
        "customers",
        "customer_id",
    ),
    "customers, German": (
        people("Kundennummer", Firma=NAMES, Branche=CITY, Ort=CITY),
        "customers",
        "Kundennummer",
    ),
    "customers, Spanish": (
        people("Cliente", nombre=NAMES, sector=CITY, ciudad=CITY),
        "customers",
        "Cliente",
    ),
    "customers, Japanese": (
        people("会員番号", 氏名=NAMES, 業種=CITY, 性別=YES),
        "customers",
        "会員番号",
    ),
    "interactions, English": (
        touches("client", "opened_at", "case type", ["complaint", "call", "survey"]),
        "interactions",
        "client",
    ),
    "interactions, German": (
        touches("Kunde", "Kontaktdatum", "Kontaktart", ["Beschwerde", "Anruf"]),
        "interactions",
        "Kunde",
    ),
    "interactions, French": (
        touches("client", "date de contact", "type de contact", ["réclamation", "appel"]),
        "interactions",
        "client",
    ),
    "interactions, Russian": (
        touches("клиент", "дата обращения", "тип обращения", ["жалоба", "звонок"]),
        "interactions",
        "клиент",
    ),
    "treatments, English": (
        touches("user_id", "sent_at", "treatment", ["control", "voucher"], propensity=0.5),
        "treatments",
        "user_id",
    ),
    "treatments, German": (
        touches("Kunde", "Versanddatum", "Maßnahme", ["Kontrollgruppe", "Gutschein"]),
        "treatments",
        "Kunde",
    ),
    "treatments, Chinese": (
        touches("用户ID", "发送时间", "活动", ["对照组", "优惠券"]),
        "treatments",
        "用户ID",
    ),
    "subscriptions, English": (
        periods("account id", "contract start", "contract end", plan=CITY),
        "subscriptions",
        "account id",
    ),
    "subscriptions, German": (
        periods("Kundennummer", "Vertragsbeginn", "Vertragsende", Tarif=CITY),
        "subscriptions",
        "Kundennummer",
    ),
    "subscriptions, Polish": (
        periods("klient", "data rozpoczęcia", "data zakończenia", taryfa=CITY),
        "subscriptions",
        "klient",
    ),
    "schedules, English": (calendar("start date", "end date", "promotion"), "schedules", None),
    "schedules, German": (calendar("von", "bis", "Kampagne"), "schedules", None),
    "schedules, Turkish": (
        calendar("başlangıç tarihi", "bitiş tarihi", "kampanya"),
        "schedules",
        None,
    ),
    "labelled, a contract table": (
        people(
            "customerID", tenure=range(40), MonthlyCharges=AMOUNTS[:40], Contract=CITY, Churn=YES
        ),
        "labelled",
        "customerID",
    ),
    "labelled, a bank": (
        people("CustomerId", Surname=NAMES, Age=range(40), Balance=AMOUNTS[:40], Exited=ONE),
        "labelled",
        "CustomerId",
    ),
    "labelled, Spanish": (
        people("cliente", antigüedad=range(40), abandono=ONE),
        "labelled",
        "cliente",
    ),
}


def write(folder, frame, name="file.csv", **how):
    frame.to_csv(folder / name, index=False, **how)
    return folder / name


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.torture] if place % 3 else [])
        for place, kind in enumerate(FILES)
    ],
)
def test_each_file_is_told_for_what_it_is(kind, tmp_path):
    frame, table, customer = FILES[kind]
    file = write(tmp_path, frame)
    base = write(tmp_path, log("customer_id", "timestamp", "amount"), "base.csv")
    others = [] if table == "transactions" else [(base, "transactions")]
    (found,) = (p for p in propose_tables([(file, None), *others]) if p.path == file)
    assert found.schema.name == table
    assert found.recognition.confidence >= 0.7, found.recognition
    assert found.missing == {}
    guess = found.columns.get("customer_id")
    assert (guess and guess.column) == customer
    assert found.columns.keys() >= set(found.schema.required)
    assert len(found.recognition.evidence) >= 2
    if table == "transactions":
        assert "order_id" in found.columns or len(frame.columns) == 3
        tables = open_tables(found.to_source())
        assert tables.report.rows_kept == N
        assert float(tables.transactions.amount.sum().execute()) == pytest.approx(AMOUNTS.sum())


def test_a_summary_of_customers_is_never_a_log(tmp_path):
    summary = rows(
        master_id=[f"{i:x}-{i}" for i in range(9000, 9300)],
        order_channel=["Web", "App"] * 150,
        first_order_date="2022-09-28",
        last_order_date="2023-02-03",
        order_num_total_ever=[2, 9, 5] * 100,
        customer_value_total_ever=[99.99, 305.5, 39.99] * 100,
    )
    file = write(tmp_path, summary, "shop.csv")
    with pytest.raises(DataError) as refused:
        propose_tables([(file, None)])
    said = str(refused.value)
    assert "shop.csv is no log of transactions but a table customers" in said
    assert "one row per customer (300 rows, 300 of 'master_id')" in said
    assert "'order_num_total_ever'" in said
    assert "give the log beside it" in said
    assert len(said) < 1000
    # as what it is, beside a log, it is welcome; as a log it names no customer
    base = write(tmp_path, log("master_id", "day", "amount"), "log.csv")
    assert [p.schema.name for p in propose_tables([(file, None), (base, None)])] == [
        "transactions",
        "customers",
    ]
    (forced,) = propose_tables([(file, "transactions")])
    assert "customer_id" in forced.missing


ALONE = [k for k in FILES if not k.startswith(("transactions", "sub", "lab"))]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind.endswith("English") else [pytest.mark.torture])
        for kind in ALONE
    ],
)
def test_what_carries_no_output_is_refused_alone(kind, tmp_path):
    frame, table, _ = FILES[kind]
    with pytest.raises(DataError, match=f"is no log of transactions but a table {table}"):
        propose_tables([(write(tmp_path, frame), None)])


def test_two_files_for_one_table_are_one_clear_sentence(tmp_path):
    one = write(tmp_path, log("customer", "date", "total"), "2023.csv")
    two = write(tmp_path, log("customer", "date", "total"), "2024.csv")
    with pytest.raises(DataError, match=r"2023.csv and 2024.csv are both taken for transactions"):
        propose_tables([(one, None), (two, None)])


def test_a_file_that_is_none_of_the_tables_is_asked_for_or_taken_for_the_log(tmp_path):
    odd = write(tmp_path, rows(x=["a", "b"] * 40, y=["c", "d"] * 40), "odd.csv")
    base = write(tmp_path, log("customer", "date", "total"), "log.csv")
    with pytest.raises(
        DataError, match=r"which table odd.csv is cannot be told .* transactions=odd"
    ):
        propose_tables([(base, None), (odd, None)])
    (found,) = propose_tables([(odd, None)])
    assert set(found.missing) == {"customer_id", "timestamp", "amount"}


# -- the customer: evidence, not names alone -------------------------------------------------------


def test_a_number_that_never_repeats_is_no_customer(tmp_path):
    frame = log("who", "date", "total", "customer")
    found = propose_mapping(write(tmp_path, frame))
    assert found.columns["customer_id"].column == "who"
    assert found.columns["customer_id"].why.startswith("the only column")
    found = propose_mapping(write(tmp_path, frame.drop(columns="who")))
    assert found.missing == {"customer_id": ("customer",)}
    assert "none repeats" in found.figures["customer"]
    assert any("cannot tell who came back" in doubt for doubt in found.doubts)


def test_an_order_number_repeats_within_its_day_only(tmp_path):
    frame = log("column x", "date", "total", "client")
    lines = pd.concat([frame, frame.assign(total=frame["total"] + 1)])
    found = propose_mapping(write(tmp_path, lines))
    assert found.columns["customer_id"].column == "column x"
    assert "client" not in {guess.column for guess in found.columns.values()}
    found = propose_mapping(write(tmp_path, lines.drop(columns="column x")))
    assert found.missing == {"customer_id": ("client",)}
    assert any("repeat within a day only" in doubt for doubt in found.doubts)


def test_two_customers_that_compete_are_both_shown_with_their_figures(tmp_path):
    frame = log("customer_no", "date", "total").assign(household=[c[:2] + c[-1] for c in CUSTOMERS])
    found = propose_mapping(write(tmp_path, frame))
    (doubt,) = (d for d in found.doubts if d.startswith("customer_id may be"))
    assert "'customer_no' (" in doubt
    assert "'household' (" in doubt
    assert "values in 120 rows" in doubt
    assert found.columns["customer_id"].confidence < 0.7


def test_a_number_and_a_name_of_the_same_customers_do_not_compete(tmp_path):
    frame = log("buyer id", "date", "total").assign(
        **{"buyer name": [f"Ms {c}" for c in CUSTOMERS]}
    )
    found = propose_mapping(write(tmp_path, frame))
    assert found.columns["customer_id"].column == "buyer id"
    assert not any(d.startswith("customer_id may be") for d in found.doubts)


def test_below_certainty_the_file_asks_and_check_stops_until_one_is_chosen(tmp_path, capsys):
    frame = rows(
        day=DAYS.strftime("%Y-%m-%d"),
        total=AMOUNTS,
        a=CUSTOMERS,
        b=[f"{c[-2:]}-x" for c in CUSTOMERS],
    )
    out = tmp_path / "shop.yaml"
    jobs.init([str(write(tmp_path, frame))], out, table=None, force=False)
    assert "First choose data.transactions.columns.customer_id" in capsys.readouterr().out
    with pytest.raises(MissingColumnsError, match="customer_id is still to be chosen"):
        jobs.check(load_config(out))
    text = out.read_text()
    assert '# customer_id: "a"' in text
    assert '# customer_id: "b"' in text
    out.write_text(text.replace('# customer_id: "a"', 'customer_id: "a"'))
    jobs.check(load_config(out))
    assert f"{frame['a'].nunique()} of {frame['a'].nunique()}" in capsys.readouterr().out


def test_a_column_of_our_own_name_is_left_until_chosen(tmp_path):
    frame = log("buyer group", "date", "total", "customer_id")  # unique: an order number
    found = propose_mapping(write(tmp_path, frame.drop(columns="buyer group")))
    section = yaml.safe_load(found.to_yaml())["data"]["transactions"]
    assert section["columns"]["customer_id"] is None
    with pytest.raises(MissingColumnsError, match="customer_id"):
        open_tables(found.to_source())


def test_ids_that_a_spreadsheet_has_rounded_are_not_taken(tmp_path):
    frame = log("uid", "date", "revenue")
    frame["uid"] = [f"1.0000{int(c[1:]) % 5}E+19" for c in frame["uid"]]
    found = propose_mapping(write(tmp_path, frame))
    assert list(found.missing) == ["customer_id"]
    assert any("rounded" in d and "only 5 different ids" in d for d in found.doubts)


# -- the amount ------------------------------------------------------------------------------------


def shop_with_taxes():
    return log("customer_id", "date", "subtotal").assign(
        tax=(AMOUNTS * 0.2).round(2),
        shipping=4.9,
        total=(AMOUNTS + (AMOUNTS * 0.2).round(2) + 4.9).round(2),
    )


def revenue(found):
    tables = open_tables(found.to_source(), policies=found.to_policies())
    return float(tables.transactions.amount.sum().execute())


def test_gross_and_net_stand_side_by_side_with_their_sums(tmp_path):
    frame = shop_with_taxes().assign(refunded_amount=0.0)
    found = propose_mapping(write(tmp_path, frame))
    (doubt,) = (d for d in found.doubts if d.startswith("amount is to be net"))
    assert f"'total' {frame['total'].sum():,.2f}" in doubt
    assert f"'subtotal' {frame['subtotal'].sum():,.2f}" in doubt
    assert doubt.line == "data.transactions.columns: {amount: subtotal}"
    assert revenue(found) == pytest.approx(AMOUNTS.sum())


def test_refunds_come_off_with_their_net_part(tmp_path):
    frame = shop_with_taxes()
    frame["refunded_amount"] = np.where(np.arange(N) % 6 == 0, frame["total"], 0.0)
    found = propose_mapping(write(tmp_path, frame))
    assert revenue(found) == pytest.approx(AMOUNTS[np.arange(N) % 6 != 0].sum())
    assert list(found.columns)[2:6] == ["amount", "less_tax", "less_shipping", "less_refunded"]
    section = yaml.safe_load(found.to_yaml())["data"]["transactions"]
    assert section["columns"]["less_refunded"] == "refunded_amount"


@pytest.mark.parametrize(
    ("name", "factor", "net"),
    [("Net Amount", 1.0, True), ("Total incl. VAT", 1.2, True), ("amount", 1.2, True),
     ("amount", 1.0, True), ("amount", 1.37, False)],
)  # fmt: skip
def test_tax_beside_a_single_amount_is_settled_by_name_or_by_rates(name, factor, net, tmp_path):
    base = (AMOUNTS * 10).round(2)
    frame = log("customer_id", "date", "x").drop(columns="x")
    frame = frame.assign(**{name: (base * factor).round(2), "VAT": (base * 0.2).round(2)})
    found = propose_mapping(write(tmp_path, frame))
    if net:
        assert revenue(found) == pytest.approx(base.sum(), rel=1e-3)
    else:
        (doubt,) = (d for d in found.doubts if "cannot be told" in d)
        assert doubt.line == "data.transactions.columns: {less_tax: VAT}"


def test_a_discount_that_is_a_share_is_no_money_and_asked_beside_a_price(tmp_path):
    frame = log("customer", "date", "Unit Price").assign(
        Quantity=[1, 2, 3] * 40, Discount=[0.0, 0.2] * 60
    )
    found = propose_mapping(write(tmp_path, frame))
    assert "discount" not in found.columns
    full = (frame["Unit Price"] * frame["Quantity"]).sum()
    (doubt,) = (d for d in found.doubts if "discount" in d)
    assert f"adds up to {full:,.2f}" in doubt
    assert doubt.line == "data.transactions.columns.less_discount_share: Discount"


def test_an_amount_that_is_the_price_of_one_unit_is_shown_beside_the_product(tmp_path):
    frame = log("customer", "date", "amount").assign(qty=[1, 2, 3] * 40, price=AMOUNTS)
    found = propose_mapping(write(tmp_path, frame))
    (doubt,) = (d for d in found.doubts if "price of one unit" in d)
    assert f"{(AMOUNTS * frame['qty']).sum():,.2f}" in doubt


def test_a_profit_that_is_the_only_amount_is_a_doubt(tmp_path):
    found = propose_mapping(write(tmp_path, log("customer", "date", "profit")))
    assert found.columns["amount"].column == "profit"
    assert any("called a profit" in d for d in found.doubts)


@pytest.mark.parametrize("customer", ["TOTAL", "Gesamtsumme", "Zusammen", None])
def test_a_row_of_totals_is_seen_named_and_set_apart(customer, tmp_path):
    frame = log("customer", "date", "total")
    whole = pd.DataFrame({"customer": [customer], "date": "2023-12-31", "total": AMOUNTS.sum()})
    found = propose_mapping(write(tmp_path, pd.concat([frame, whole])))
    assert any(f"{AMOUNTS.sum():,.2f}" in d and "a total, and left out" in d for d in found.doubts)
    assert found.apart == ((customer,) if customer else ())
    assert revenue(found) == pytest.approx(AMOUNTS.sum())
    section = yaml.safe_load(found.to_yaml())["data"]
    assert section["policies"].get("test_customers", []) == list(found.apart)


@pytest.mark.parametrize(
    ("column", "word"), [("status", "Cancelled"), ("订单状态", "已取消"), ("Status", "storniert")]
)
def test_lines_that_are_no_sale_are_left_out_and_shown_with_their_sum(column, word, tmp_path):
    frame = log("customer", "date", "total")
    frame[column] = np.where(np.arange(N) % 5 == 0, word, "ok")
    found = propose_mapping(write(tmp_path, frame))
    lost = frame.loc[frame[column] == word, "total"]
    assert any(f"'{word}' in 24 rows ({lost.sum():,.2f})" in doubt for doubt in found.doubts)
    assert found.keep == {column: ("ok",)}
    assert revenue(found) == pytest.approx(AMOUNTS.sum() - lost.sum())
    assert yaml.safe_load(found.to_yaml())["data"]["transactions"]["keep"] == {column: ["ok"]}


def test_ids_that_differ_in_leading_zeros_alone_are_counted(tmp_path):
    frame = log("customer", "date", "total")
    ids = frame["customer"].str[1:]
    frame["customer"] = np.where(np.arange(N) % 2 == 0, ids, ids.str.lstrip("0"))
    found = propose_mapping(write(tmp_path, frame))
    (doubt,) = (d for d in found.doubts if "leading zeros" in d)
    both = set(ids[::2]) & {i.zfill(3) for i in frame["customer"][1::2] if 0 < len(i) < 3}
    assert f"{len(both):,} customers count twice" in doubt


def test_a_running_number_is_no_amount_whatever_its_name_holds(tmp_path):
    frame = log("customer", "date", "x").drop(columns="x").assign(**{"Sales Record No": range(N)})
    found = propose_mapping(write(tmp_path, frame))
    assert "amount" not in found.columns


def test_an_amount_in_cents_is_a_doubt(tmp_path):
    frame = log("customer", "date", "total").drop(columns="total")
    found = propose_mapping(write(tmp_path, frame.assign(amount_cents=(AMOUNTS * 100).astype(int))))
    assert any("called an amount in cents" in d for d in found.doubts)


def test_a_mark_or_a_date_of_cancellation_leaves_rows_out(tmp_path):
    frame = log("customer", "date", "total")
    odd = np.arange(N) % 5 == 0
    for column, values in (
        ("is_cancelled", np.where(odd, "true", "false")),
        ("cancelled_at", np.where(odd, "2023-05-01", "")),
    ):
        found = propose_mapping(write(tmp_path, frame.assign(**{column: values})))
        assert revenue(found) == pytest.approx(AMOUNTS[~odd].sum()), column
    found = propose_mapping(write(tmp_path, frame.assign(status=np.where(odd, 3, 5))))
    assert any("which of these codes stand for a sale is not known" in d for d in found.doubts)


def test_a_log_without_amounts_is_a_log(tmp_path):
    frame = log("Member ID", "Visit Date", "x").drop(columns="x").assign(Branch=["A", "B"] * 60)
    (found,) = propose_tables([(write(tmp_path, frame), None)])
    assert (found.schema.name, found.without_amounts, found.missing) == ("transactions", True, {})
    assert any(d.line.startswith("value.per_purchase") for d in found.doubts)
    section = yaml.safe_load(found.to_yaml())["data"]["transactions"]
    assert section["without_amounts"] is True


# -- forms -----------------------------------------------------------------------------------------


def test_mixed_dates_propose_the_most_frequent_form_and_name_the_rest(tmp_path):
    frame = log("Kunde", "Datum", "Betrag", codes="%d.%m.%Y")
    frame.loc[::10, "Datum"] = DAYS[::10].strftime("%Y-%m-%d")
    frame.loc[5::20, "Datum"] = DAYS[5::20].strftime("%d.%b. %Y")
    found = propose_mapping(write(tmp_path, frame, sep=";"))
    assert found.date_format == "%d.%m.%Y"
    assert any("18 of 120 values" in d and "policies.unreadable" in d for d in found.doubts)


def test_the_time_of_day_is_no_order_number(tmp_path):
    frame = log("Member No", "Order Date", "Net").assign(
        **{"Order Time": [f"{i % 24:02d}:{i % 60:02d}" for i in range(N)]}
    )
    found = propose_mapping(write(tmp_path, frame))
    assert "order_id" not in found.columns
    assert found.columns["time_of_day"].column == "Order Time"
    first = open_tables(found.to_source()).first_timestamp
    assert (first.date(), first.hour, first.minute) == (DAYS[0].date(), 0, 0)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_every_delimiter_is_found_below_a_title_and_when_packed(sign, ending, tmp_path):
    frame = log("customer", "date", "total").assign(note='a "quoted", text; with | signs')
    file = write(tmp_path, frame, f"log.{ending}", sep=sign)
    found = propose_mapping(file)
    assert (found.delimiter, found.header, found.missing) == (sign, True, {})


def test_windows_1252_is_read_and_a_false_ending_refused(tmp_path):
    file = tmp_path / "shop.csv"
    file.write_bytes("customer;date;note;total\na’s;2023-01-02;€;5,00\n".encode("cp1252"))
    assert propose_mapping(file).encoding == "cp1252"
    (tmp_path / "bad.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(CrmmlError, match="not compressed as its name says"):
        propose_mapping(tmp_path / "bad.csv.gz")


def test_all_seven_tables_make_one_configuration(tmp_path):
    asked = []
    for table in ("transactions", "customers", "interactions", "treatments", "subscriptions",
                  "schedules", "labelled"):  # fmt: skip
        frame = next(frame for frame, name, _ in FILES.values() if name == table)
        asked.append((write(tmp_path, frame, f"{table[:3]}.csv"), None))
    found = propose_tables(reversed(asked))
    section = yaml.safe_load(write_section((p, p.path.name) for p in found))["data"]
    assert [p.path for p in found] == [path for path, _ in asked]
    assert list(section)[:-1] == [p.schema.name for p in found]
    assert section["interactions"]["columns"] == {
        "customer_id": "client",
        "timestamp": "opened_at",
        "kind": "case type",
    }
    assert section["schedules"]["columns"]["name"] == "promotion"
