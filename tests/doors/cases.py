"""The files on which version 0.1 failed, made anew from the simulated shop."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from doors.truth import (
    CHINESE_DAYS,
    MINUTE,
    MONTH,
    PERSIAN,
    ROWS,
    Door,
    Row,
    Truth,
    flip,
    jalali,
    money,
    simulate,
    text,
    truth,
)

SOLD = [row for row in ROWS if row.i % 5]
TOTAL = money(sum(row.cents for row in ROWS))


def mixed_date(row: Row) -> str:
    """Write one day in ten as ISO 8601 and one in twenty with the name of the month."""
    if row.i % 20 == 2:
        return f"{row.when:%d.%b. %Y}"
    return row.day if row.i % 10 == 1 else f"{row.when:%d.%m.%Y}"


def summary_table() -> str:
    """One row per customer, totals to date."""
    rng = random.Random(3)
    lines = ["master_id,order_channel,first_order_date,last_order_date,order_num_total_ever,"
             "customer_value_total_ever"]  # fmt: skip
    for i in range(300):
        first, last = sorted(f"2022-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" for _ in "ab")
        spent = rng.choice(["99.99", "39.99", "305.5", "199.9", "1200.01", "15.0"])
        key = f"{rng.getrandbits(64):016x}-{i}"
        lines.append(
            f"{key},{rng.choice(['Web', 'App'])},{first},{last},{rng.randint(2, 12)},{spent}"
        )
    return "\n".join([*lines, ""])


def gross_net(row: Row) -> tuple[int, int, int, int, int]:
    """Return net, tax, shipping, total and refunded, cents; one order in nine is refunded."""
    tax = round(row.cents * 0.2)
    total = row.cents + tax + 490
    return row.cents, tax, 490, total, total if row.i % 9 == 0 else 0


def json_line(row: Row) -> str:
    """Write an order as a line of JSON, its time in UTC."""
    order = {"order_id": row.i, "customer_id": f"{row.who:04}"}
    return json.dumps(
        order | {"order_ts": f"{row.when:%Y-%m-%dT%H:%M:%SZ}", "total": row.cents / 100}
    )


def few_accounts() -> list[Row]:
    """Fourteen accounts that come often."""
    return simulate(320, 14, seed=2)


def hardly_loyal() -> list[Row]:
    """Buyers of whom most come once."""
    rows = simulate(500, 400, seed=4)
    return [replace(row, cents=row.cents % 2000 + 40) for row in rows]


EPOCH = 1_672_531_200  # 2023-01-01, and the clock of the rows is taken for that of UTC


def seconds(row: Row) -> int:
    """Return the time in seconds since 1970."""
    return EPOCH + round(
        (row.when - ROWS[0].when.replace(month=1, day=1, hour=0, minute=0)).total_seconds()
    )


SHAPES = [
    Door(
        "shapes/chinese.csv",
        "\ufeff"
        + text(
            "订单编号,会员ID,下单时间,实付金额,订单状态",
            lambda r: (
                f"DD{r.i:06},U{r.who:04},{r.when:%Y/%m/%d %H:%M},{r.amount},"
                f"{'已完成' if r.i % 5 else '已取消'}"
            ),
        ),
        truth(SOLD, MINUTE),
        ask=("已取消",),
    ),
    Door(
        "shapes/chinese_date.csv",
        text(
            "会员卡号,购药时间,实收金额",
            lambda r: (
                f"{10616700 + r.who:010},{r.day} 星期{CHINESE_DAYS[r.when.weekday()]},{r.amount}"
            ),
        ),
        truth(),
    ),
    Door(
        "shapes/currency_signs.csv",
        text(
            "Customer,Purchase Date,Total",
            lambda r: f'{r.who:05},"{r.when:%b %d, %Y}","{money(abs(r.cents), ",")}"'.replace(
                f'"{money(abs(r.cents), ",")}"',
                f'"{"-" if r.cents < 0 else ""}${money(abs(r.cents), ",")}"',
            ),
            flip(ROWS, lambda r: r.i % 15 == 0),
        ),
        truth(flip(ROWS, lambda r: r.i % 15 == 0)),
    ),
    Door(
        "shapes/epoch_s.csv",
        text("user_id,ts,amount", lambda r: f"{r.who},{seconds(r)},{r.amount}"),
        truth(grain=MINUTE),
        ask=("zone|UTC",),
    ),
    Door(
        "shapes/epoch_ms.csv",
        text("user_id,event_time,amount", lambda r: f"{r.who},{seconds(r)}000,{r.amount}"),
        truth(grain=MINUTE),
        ask=("zone|UTC",),
    ),
    Door(
        "shapes/gross_net.csv",
        text(
            "order_id,customer_id,created_at,subtotal,tax,shipping,total,refunded_amount",
            lambda r: (
                f"{r.i},{r.who},{r.when:%Y-%m-%d %H:%M:%S},"
                + ",".join(money(c) for c in gross_net(r))
            ),
        ),
        replace(truth(grain=MINUTE), cents=sum(r.cents for r in ROWS if r.i % 9)),
        ask=("subtotal", "total", "refunded_amount"),
    ),
    Door(
        "shapes/month_only.csv",
        text("customer,month,revenue", lambda r: f"{r.who},{r.when:%Y-%m},{r.amount}"),
        truth(grain=MONTH),
    ),
    Door(
        "shapes/multi_currency.csv",
        text(
            "client_id,order_date,total,currency",
            lambda r: f"{r.who},{r.day},{r.amount},{('EUR', 'USD', 'GBP', 'EUR')[r.i % 4]}",
        ),
        ask=("EUR", "GBP", "USD"),
        refuse="(?s)currenc.*EUR",
    ),
    Door(
        "shapes/orders.jsonl",
        "\n".join(map(json_line, ROWS)) + "\n",
        truth(grain=MINUTE),
        ask=("zone",),
        answer=("data.transactions.timezone=UTC",),
    ),
    Door(
        "shapes/parentheses.csv",
        text(
            "Account,Invoice Date,Invoice Amount",
            lambda r: (
                f"A{r.who:05},{r.when:%d-%b-%Y},"
                + (f'"({money(-r.cents, ",")})"' if r.cents < 0 else f'"{money(r.cents, ",")}"')
            ),
            flip(ROWS, lambda r: r.i % 12 == 0),
        ),
        truth(flip(ROWS, lambda r: r.i % 12 == 0)),
    ),
    Door(
        "shapes/persian.csv",
        "\ufeff"
        + text(
            "کد مشتری,تاریخ خرید,مبلغ",
            lambda r: f"{r.who:04},{jalali(r.when.date())},{r.cents * 10}".translate(PERSIAN),
        ),
        replace(truth(), cents=1000 * truth().cents),
    ),
    Door(
        "shapes/split_date_time.csv",
        text(
            "Order Date,Order Time,Member No,Net",
            lambda r: f"{r.when:%d/%m/%Y},{r.when:%H:%M},{r.who:06},{r.amount}",
        ),
        truth(grain=MINUTE),
    ),
]

CASES = [
    Door(
        "mixed_dates/shop.csv",
        text(
            "BestellNr;Datum;KundenNr;Betrag",
            lambda r: f"B-{r.i};{mixed_date(r)};K-{r.who:03};{r.comma}",
        ),
        truth(),
        ask=(r"policies\.unreadable", "Datum"),
        answer=("data.policies.unreadable=drop",),
        answered=truth(row for row in ROWS if row.i % 10 not in (1, 2) or row.i % 20 == 12),
    ),
    Door(
        "cp1252/windows_1252.csv",
        text(
            "customer;date;product;amount",
            lambda r: f"C{r.who:03};{r.when:%d.%m.%Y};Men’s shirt €;{r.comma}",
        ).encode("cp1252"),
        truth(),
    ),
    Door(
        "cp1252/latin1.csv",
        text(
            "customer;date;product;amount",
            lambda r: f"C{r.who:03};{r.when:%d.%m.%Y};Mütze;{r.comma}",
        ).encode("latin-1"),
        truth(),
    ),
    Door(
        "order_status/shop.csv",
        text(
            "order_id,customer_id,order_date,status,amount",
            lambda r: f"{r.i},C{r.who},{r.day},{'Shipped' if r.i % 5 else 'Cancelled'},{r.amount}",
        ),
        truth(SOLD),
        ask=("status", "Cancelled"),
    ),
    Door(
        "preamble_footer/preamble.csv",
        "Sales report 2023\nGenerated 2024-01-05 by ERP\n\n"
        + text("Order Date,Customer,Amount", lambda r: f"{r.day},K{r.who:03},{r.amount}"),
        truth(),
    ),
    Door(
        "preamble_footer/footer.csv",
        text("Order Date,Customer,Amount", lambda r: f"{r.day},K{r.who:03},{r.amount}")
        + f"\nTotal,,{TOTAL}\n",
        truth(),
        ask=("Total",),
    ),
    Door(
        "preamble_footer/footer2.csv",
        text("Order Date,Customer,Amount", lambda r: f"{r.day},K{r.who:03},{r.amount}")
        + f"2023-12-31,TOTAL,{TOTAL}\n",
        truth(),
        ask=("TOTAL",),
    ),
    Door(
        "sci_ids/shop.csv",
        text(
            "Buy Ts,Revenue,Uid",
            lambda r: f"{r.when:%d/%m/%Y} 10:00,{r.amount},1.0000{r.who % 5}E+19",
        ),
        ask=("rounded|digits",),
        refuse="rounded|digits",
    ),
    Door(
        "sci_ids/shop_true.csv",
        text(
            "Buy Ts,Revenue,Uid",
            lambda r: f"{r.when:%d/%m/%Y} 10:00,{r.amount},10000{r.who:03}000000012345",
        ),
        truth(),
    ),
    Door(
        "summary_table/customers.csv",
        summary_table(),
        refuse="(?s)no log of transactions.*one row per customer",
    ),
    Door(
        "two_customers/fourteen_accounts.csv",
        text(
            "order_id,customer_id,order_date,amount",
            lambda r: f"B{r.i},ACC-{28 + r.who:04},{r.day},{r.amount}",
            few_accounts(),
        ),
        truth(few_accounts()),
    ),
    Door(
        "self_service/shop.csv",
        text(
            "customer_id,timestamp,amount",
            lambda r: f"u{r.who:05},{r.day},{r.amount}",
            hardly_loyal(),
        ),
        truth(hardly_loyal()),
        whole=True,
    ),
    *SHAPES,
]

__all__ = ["CASES", "EPOCH", "SOLD", "Truth", "seconds"]
