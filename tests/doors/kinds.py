"""What people have: exports of shop systems, wholesalers, donors; and tables that are no log."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable
from dataclasses import replace

from doors.truth import (
    GERMAN_MONTHS,
    MINUTE,
    ROWS,
    Door,
    Row,
    Truth,
    flip,
    money,
    simulate,
    text,
    truth,
)

PAID = [row for row in ROWS if row.i % 7]
CLOSED = [row for row in ROWS if row.i % 3]
RETURNS = flip(ROWS, lambda r: r.i % 12 == 0)


def net(row: Row) -> tuple[str, str, str, str]:
    """Return net, tax, shipping and the total of all three as text."""
    tax = round(row.cents * 0.19)
    return row.amount, money(tax), "4.90", money(row.cents + tax + 490)


def shopify(row: Row, *, second: bool) -> str:
    """Write an order; of one with two items the second line has no totals."""
    subtotal, taxes, shipping, total = net(row)
    mail = f"buyer{row.who}@example.com"
    at = f"{row.when:%Y-%m-%d %H:%M:%S} +0100"
    line = (f"#{1000 + row.i},{mail},paid,{at},fulfilled,EUR,{subtotal},{shipping},{taxes},{total},"
            f"{at},1,Tea,{row.amount},")  # fmt: skip
    more = f"\n#{1000 + row.i},{mail},,,,,,,,,{at},1,Free sample,0.00,"
    return line + (more if second and row.i % 4 == 0 else "")


SHOPIFY = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Currency,Subtotal,Shipping,Taxes,Total,"
    "Created at,Lineitem quantity,Lineitem name,Lineitem price,Cancelled at"
)
SHOPS = [
    Door("shops/shopify.csv", text(SHOPIFY, lambda r: shopify(r, second=False)),
         truth(grain=MINUTE), ask=("zone", "Subtotal")),
    Door("shops/shopify_two_items.csv", text(SHOPIFY, lambda r: shopify(r, second=True)),
         truth(grain=MINUTE), ask=("zone", "Subtotal|Total")),
    Door(
        "shops/woocommerce.csv",
        text(
            '"Order Number","Order Status","Order Date","Customer User ID","Cart Discount Amount",'
            '"Order Subtotal Amount","Order Shipping Amount","Order Refund Amount",'
            '"Order Total Amount","Order Total Tax Amount","Item Name","Quantity"',
            lambda r: f'{r.i},{"Completed" if r.i % 7 else "Cancelled"},"{r.when:%Y-%m-%d %H:%M}",'
            f"{r.who},0.00,{net(r)[0]},4.90,0.00,{net(r)[3]},{net(r)[1]},Tea,1",
        ),
        truth(PAID, MINUTE), ask=("Cancelled", "Subtotal"),
    ),
    Door(
        "shops/amazon.txt",
        text(
            "amazon-order-id\tpurchase-date\torder-status\tbuyer-email\tsku\tquantity\tcurrency\t"
            "item-price\titem-tax\tshipping-price",
            lambda r: f"302-{r.i:07}\t{r.when:%Y-%m-%dT%H:%M:%S}+00:00\t"
            f"{'Shipped' if r.i % 7 else 'Cancelled'}\tb{r.who}@marketplace.example\tA{r.i % 9}\t"
            f"{1 + r.i % 2}\tEUR\t{r.amount}\t{net(r)[1]}\t0.00",
        ),
        truth(PAID, MINUTE), ask=("zone", "Cancelled"),
    ),
    Door(
        "shops/ebay.csv",
        "\n\n" + text(
            '"Sales Record Number","Order Number","Buyer Username","Buyer Name","Item Title",'
            '"Quantity","Sold For","Shipping And Handling","Total Price","Sale Date"',
            lambda r: f'"{r.i}","12-{r.i:05}","user_{r.who}","Name {r.who}","Tea","1",'
            f'"${r.amount}","$4.90","${money(r.cents + 490)}","{r.when:%b-%d-%y}"',
        ) + '\n"190, record(s) downloaded","From Jan-01-23 to Dec-31-23"\n',
        truth(), ask=("Sold For|Total Price",),
    ),
    Door(
        "shops/etsy.csv",
        text(
            "Sale Date,Order ID,Buyer User ID,Full Name,Number of Items,Currency,Order Value,"
            "Discount Amount,Shipping,Sales Tax,Order Total,Card Processing Fees,Order Net",
            lambda r: f"{r.when:%m/%d/%y},{r.i},buyer{r.who},Name {r.who},1,USD,{net(r)[0]},0,4.90,"
            f"{net(r)[1]},{net(r)[3]},1.20,{money(r.cents - 120)}",
        ),
        truth(), ask=("Order Value|Order Total|Order Net",),
    ),
    Door(
        "shops/magento.csv",
        text(
            '"ID","Purchase Point","Purchase Date","Bill-to Name","Grand Total (Base)",'
            '"Grand Total (Purchased)","Status","Customer Email","Subtotal",'
            '"Shipping and Handling"',
            lambda r: f'"{r.i:09}","Main","{r.when:%b} {r.when.day}, {r.when:%Y, %I:%M:%S %p}",'
            f'"Name {r.who}","{net(r)[3]}","{net(r)[3]}","{"complete" if r.i % 7 else "canceled"}",'
            f'"b{r.who}@example.com","{r.amount}","4.9000"',
        ),
        truth(PAID, MINUTE), ask=("canceled",),
    ),
    Door(
        "shops/stripe.csv",
        text(
            "id,Created (UTC),Amount,Amount Refunded,Currency,Captured,Fee,Status,Customer ID,"
            "Customer Email",
            lambda r: f"ch_{r.i:08},{r.when:%Y-%m-%d %H:%M:%S},{r.amount},0.00,eur,TRUE,1.20,"
            f"{'Paid' if r.i % 7 else 'Failed'},cus_{r.who:06},b{r.who}@example.com",
        ),
        truth(PAID, MINUTE), ask=("Failed",),
    ),
    Door(
        "shops/square.csv",
        text(
            "Date,Time,Time Zone,Gross Sales,Discounts,Net Sales,Tax,Tip,Total Collected,"
            "Transaction ID,Customer ID,Customer Name",
            lambda r: f"{r.when:%m/%d/%y},{r.when:%H:%M:%S},Eastern Time (US & Canada),${r.amount},"
            f"$0.00,${r.amount},${net(r)[1]},$0.00,${money(r.cents + round(r.cents * 0.19))},"
            f"T{r.i:06},C{r.who:05},Name {r.who}",
        ),
        truth(grain=MINUTE), ask=("Net Sales|Gross Sales|Total Collected",),
    ),
    Door(
        "shops/paypal.csv",
        text(
            '"Date","Time","TimeZone","Name","Type","Status","Currency","Gross","Fee","Net",'
            '"From Email Address","Transaction ID"',
            lambda r: f'"{r.when:%d/%m/%Y}","{r.when:%H:%M:%S}","CET","Name {r.who}",'
            f'"Express Checkout Payment","{"Completed" if r.i % 7 else "Denied"}","EUR",'
            f'"{r.amount}","-1.20","{money(r.cents - 120)}","b{r.who}@example.com","T{r.i:06}"',
        ),
        truth(PAID, MINUTE), ask=("Denied",),
    ),
    Door(
        "shops/shopware.csv",
        text(
            "ordernumber;customernumber;ordertime;status;invoice_amount;invoice_amount_net;"
            "invoice_shipping",
            lambda r: f"{20000 + r.i};{10000 + r.who};{r.when:%Y-%m-%d %H:%M:%S};Abgeschlossen;"
            f"{net(r)[3]};{r.amount};4.90",
        ),
        truth(grain=MINUTE), ask=("invoice_amount_net",),
    ),
    Door(
        "shops/prestashop.csv",
        text(
            "id_order;reference;id_customer;total_paid_tax_incl;total_paid_tax_excl;current_state;"
            "date_add",
            lambda r: f"{r.i};REF{r.i};{r.who};{net(r)[3]}00;{r.amount}0000;Paiement accepté;"
            f"{r.when:%Y-%m-%d %H:%M:%S}",
        ),
        truth(grain=MINUTE), ask=("total_paid_tax_excl",),
    ),
    Door(
        "shops/olist.csv",
        text(
            "order_id,customer_id,customer_unique_id,order_status,order_purchase_timestamp,"
            "order_approved_at,order_delivered_customer_date,price,freight_value",
            lambda r: f"{r.i * 7919:032x},{r.i * 104729:032x},{r.who * 15485863:032x},delivered,"
            f"{r.when:%Y-%m-%d %H:%M:%S},{r.when:%Y-%m-%d} 23:00:00,{r.when:%Y-%m-%d} 23:30:00,"
            f"{r.amount},9.90",
        ),
        truth(grain=MINUTE), ask=("customer_unique_id",),
    ),
]  # fmt: skip


def priced(row: Row) -> tuple[int, int]:
    """Return quantity and unit price in cents; one line in fourteen is a return."""
    return (-1 if row.i % 14 == 0 else 1 + row.i % 3), row.cents % 5000 + 99


KNOWN = [row for row in ROWS if row.i % 11]
LINES = [replace(row, cents=priced(row)[0] * priced(row)[1]) for row in KNOWN]


def retail(row: Row) -> str:
    """Write a line as in the well-known log of a British wholesaler of gifts."""
    quantity, price = priced(row)
    invoice = f"{'C' if quantity < 0 else ''}{536365 + row.i}"
    who = f"{12000 + row.who}" if row.i % 11 else ""
    at = f"{row.when.month}/{row.when.day}/{row.when:%Y} {row.when.hour}:{row.when:%M}"
    return (f"{invoice},8512{row.i % 9}A,WHITE HANGING HEART,{quantity},{at},{money(price)},{who},"
            f"{'France' if row.i % 9 == 0 else 'United Kingdom'}")  # fmt: skip


RETAIL = [
    Door("logs/price_times_quantity.csv",
         text("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
              retail), truth(LINES, MINUTE)),
    Door("logs/price_without_quantity.csv",
         text("customer,date,price", lambda r: f"K{r.who},{r.day},{r.amount}"), truth()),
    Door("logs/float_ids.csv",
         text("customer_id,date,amount", lambda r: f"{r.who}.0,{r.day},{r.amount}"), truth()),
    Door("logs/guids.csv",
         text("user_guid,purchased_on,spend",
              lambda r: f"{r.who * 7919:08x}-0000-4000-8000-{r.who:012x},{r.day},{r.amount}"),
         truth()),
    Door("logs/mail_addresses.csv",
         text("email,ordered,total", lambda r: f"b{r.who}@example.com,{r.day},{r.amount}"),
         truth()),
    Door("logs/names_of_people.csv",
         text("Client Name,Date,Paid", lambda r: f"Person No. {r.who},{r.day},{r.amount}"),
         truth()),
    Door("logs/donors.csv",
         text("Constituent ID,Gift ID,Gift Date,Gift Amount,Fund,Gift Type",
              lambda r: f'{r.who:06},G{r.i},{r.when:%m/%d/%Y},"${money(r.cents, ",")}",Roof,Cash'),
         truth()),
    Door("logs/tickets.csv",
         text("Patron No,Order Date,Performance Date,Seats,Total Price",
              lambda r: f"{r.who:05},{r.day},2023-12-{1 + r.i % 28:02},2,{r.amount}"),
         truth(), ask=("Performance Date",)),
    Door("logs/hotel.csv",
         text("Guest ID,Booking Date,Arrival Date,Departure Date,Room Revenue",
              lambda r: f"{r.who:05},{r.day},2023-12-{1 + r.i % 27:02},2023-12-31,{r.amount}"),
         truth(), ask=("Arrival Date",)),
    Door("logs/wholesaler.csv",
         text("Kunde;Name;Faktura;Fakturadatum;Nettowert;Währg",
              lambda r: f"{r.who:010};Händler {r.who};{9000 + r.i};{r.when:%d.%m.%Y};"
              f"{money(abs(r.cents), '.', ',')}{'-' if r.cents < 0 else ' '};EUR",
              RETURNS).encode("cp1252"), truth(RETURNS)),
    Door("logs/leading_zeros.csv",
         text("account,invoice date,net amount",
              lambda r: f"{'0' if r.who % 2 else ''}{100 + r.who // 2},{r.day},{r.amount}",
              [r for r in ROWS if r.who > 1]),
         truth(r for r in ROWS if r.who > 1)),
    Door("logs/deals.csv",
         text("Account Name,Opportunity Name,Stage,Amount,Close Date,Created Date",
              lambda r: f"Firm {r.who},Deal {r.i},Closed {'Won' if r.i % 3 else 'Lost'},{r.amount},"
              f"{r.when:%m/%d/%Y},01/01/2023"), truth(CLOSED), ask=("Closed Lost",)),
    Door("logs/till.csv",
         text("Kartennummer;Filiale;Bon;Datum;Uhrzeit;Umsatz",
              lambda r: f"2900{r.who:09};{r.i % 4};{r.i};{r.when:%d.%m.%Y};{r.when:%H:%M};"
              f"{r.comma}"),
         truth(grain=MINUTE)),
    Door("logs/without_amounts.csv",
         text("Member ID,Visit Date,Branch", lambda r: f"M{r.who},{r.day},{'AB'[r.i % 2]}"),
         replace(truth(), cents=None)),
    Door("logs/web_events.csv",
         text("user_id,event_time,event_type",
              lambda r: f"{r.who},{r.when:%Y-%m-%d %H:%M:%S},purchase"),
         replace(truth(grain=MINUTE), cents=None)),
    Door("logs/profit_only.csv",
         text("customer,date,profit", lambda r: f"K{r.who},{r.day},{r.amount}"), ask=("profit",)),
    Door("logs/household.csv",
         text("household_key,BASKET_ID,DAY,PRODUCT_ID,QUANTITY,SALES_VALUE",
              lambda r: f"{r.who},{26984851472 + r.i},{r.when.timetuple().tm_yday},{r.i % 50},1,"
              f"{r.amount}"),
         ask=("DAY|timestamp",), refuse="timestamp|date"),
    Door("logs/no_dates.csv",
         text("order_id,user_id,order_number,order_dow,order_hour_of_day,days_since_prior_order",
              lambda r: f"{r.i},{r.who},{1 + r.i % 9},{r.when.weekday()},{r.when.hour},{r.i % 30}"),
         refuse="timestamp|date|no log"),
]  # fmt: skip


def with_status(
    name: str, column: str, good: str, bad: str, ask: tuple[str, ...] | None = None
) -> Door:
    """Make a door in which one order in seven is no sale."""
    lines = text(f"customer,date,{column},amount",
                 lambda r: f"K{r.who},{r.day},{good if r.i % 7 else bad},{r.amount}")  # fmt: skip
    return Door(f"status/{name}.csv", lines, truth(PAID), ask or (bad,))


STATUS = [
    with_status("returned", "order state", "delivered", "returned"),
    with_status("german", "Bestellstatus", "bezahlt", "storniert"),
    with_status("french", "statut", "livrée", "annulée"),
    with_status("spanish", "estado", "entregado", "cancelado"),
    with_status("test_orders", "status", "live", "test"),
    with_status("disputed", "payment_status", "captured", "disputed"),
    with_status("flag", "is_cancelled", "false", "true", ("is_cancelled",)),
    with_status("codes", "status", "3", "5", ("status",)),
    Door("status/returned_at.csv",
         text("customer,date,amount,cancelled_at",
              lambda r: f"K{r.who},{r.day},{r.amount},{'' if r.i % 7 else r.day}"),
         truth(PAID), ask=("cancelled_at",)),
]  # fmt: skip


def by_month(rows: Iterable[Row] = ROWS) -> str:
    """Write the log with a subtotal under each month."""
    rows = list(rows)
    lines = ["customer,date,amount"]
    for month in range(1, 11):
        own = [row for row in rows if row.when.month == month]
        lines += [f"K{row.who},{row.day},{row.amount}" for row in own]
        lines.append(f"Subtotal {month},{own[-1].day},{money(sum(row.cents for row in own))}")
    return "\n".join([*lines, ""])


BASE = text("Kunde;Datum;Betrag", lambda r: f"K{r.who};{r.when:%d.%m.%Y};{r.comma}")
ALL = money(sum(row.cents for row in ROWS), "", ",")
TOTALS = [
    Door("totals/by_month.csv", by_month(), truth(), ask=("Subtotal",)),
    Door("totals/german.csv", BASE + f"Summe;31.12.2023;{ALL}\n", truth(), ask=("Summe",)),
    Door("totals/on_top.csv",
         BASE.replace("Betrag\n", f"Betrag\nGESAMT;31.12.2023;{ALL}\n"), truth(), ask=("GESAMT",)),
    Door("totals/unnamed.csv", BASE + f";31.12.2023;{ALL}\n", truth(), ask=("(?i)total|customer",)),
    Door("totals/one_anonymous.csv",
         BASE + "".join(f"BARVERKAUF;{r.when:%d.%m.%Y};{r.comma}\n" for r in simulate(190, 1, 9)),
         replace(truth(), rows=380, customers=81, cents=None, first=None, last=None),
         ask=("BARVERKAUF",)),
]  # fmt: skip

MONEY = [
    Door("money/net_and_gross.csv",
         text("customer;date;Brutto;Netto;MwSt",
              lambda r: f"K{r.who};{r.day};{money(r.cents + round(r.cents * 0.19))};{r.amount};"
              f"{net(r)[1]}"), truth(), ask=("Netto|Brutto",)),
    Door("money/shipping_within.csv",
         text("customer_id,order_date,total,shipping",
              lambda r: f"{r.who},{r.day},{money(r.cents + 490)},4.90"),
         truth(), ask=("shipping",)),
    Door("money/refunded_beside.csv",
         text("customer_id,order_date,amount,refunded_amount",
              lambda r: f"{r.who},{r.day},{r.amount},{r.amount if r.i % 9 == 0 else '0.00'}"),
         replace(truth(), cents=sum(r.cents for r in ROWS if r.i % 9)), ask=("refunded_amount",)),
    Door("money/discount_beside.csv",
         text("customer_id,order_date,list_amount,discount,paid_amount",
              lambda r: f"{r.who},{r.day},{money(r.cents + 1000)},10.00,{r.amount}"),
         truth(), ask=("paid_amount",)),
    Door("money/second_currency.csv",
         text("customer,date,amount,currency",
              lambda r: f"K{r.who},{r.day},{r.amount},{'EUR' if r.i % 30 else 'USD'}"),
         ask=("EUR", "USD"), refuse="(?s)currenc.*EUR"),
    Door("money/original_currency_beside.csv",
         text("customer,date,amount_eur,amount_original,currency_original",
              lambda r: f"K{r.who},{r.day},{r.amount},{money(r.cents * (1 + r.i % 2))},"
              f"{('EUR', 'BGN')[r.i % 2]}"), truth(), ask=("amount_eur",)),
]  # fmt: skip


def people(names: str, line: str, n: int = 120) -> str:
    """Write one row per customer; ``{i}``, ``{a}`` (broken number) and ``{y}`` vary."""
    rng = random.Random(8)
    lines = [line.format(i=i, a=f"{rng.uniform(5, 900):.2f}", t=rng.randint(1, 70),
                         y=rng.choice(["Yes", "No", "No"]), s=rng.randint(0, 10),
                         e=rng.randint(0, 1),
                         d=f"2022-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}")
             for i in range(n)]  # fmt: skip
    return "\n".join([names, *lines, ""])


NO_LOG = "no log of transactions"
OTHERS = [
    Door("others/contracts.csv",
         people("customerID,gender,tenure,Contract,MonthlyCharges,TotalCharges,Churn",
                "{i:04}-ABC,Female,{t},Month-to-month,{a},{a},{y}"),
         Truth(120, 120, table="labelled"), refuse=f"{NO_LOG}.*labelled"),
    Door("others/bank.csv",
         people("RowNumber,CustomerId,Surname,CreditScore,Age,Tenure,Balance,Exited",
                "{i},156{i:05},Name,6{t:02},{t},3,{a},{e}"),
         Truth(120, 120, table="labelled"), refuse=f"{NO_LOG}.*labelled"),
    Door("others/subscriptions.csv",
         people("account id,contract start,contract end,plan", "A{i:04},{d},,gold"),
         Truth(120, 120, table="subscriptions"), refuse=f"{NO_LOG}.*subscriptions"),
    Door("others/customers.csv",
         people("customer_id,name,city,signup date,newsletter", "C{i:04},Name {i},Ulm,{d},{y}"),
         refuse=f"{NO_LOG}.*customers"),
    Door("others/survey.csv",
         people("Respondent ID,Submitted at,How likely to recommend,What could be better",
                "{i},{d},{s},Nothing"), refuse=f"{NO_LOG}|survey|twice|once", ask=("amount",)),
    Door("others/complaints.csv",
         text("client,opened_at,case type,subject",
              lambda r: f"K{r.who},{r.day},{('complaint', 'call')[r.i % 2]},late"),
         refuse=f"{NO_LOG}.*interactions"),
    Door("others/campaign.csv",
         text("user_id,sent_at,treatment,propensity",
              lambda r: f"{r.who},{r.day},{('control', 'voucher')[r.i % 2]},0.5"),
         refuse=f"{NO_LOG}.*treatments"),
    Door("others/recency.csv",
         people("customer_id,frequency,recency,T,monetary_value", "{i},{s},{s}.5,{t}.5,{a}"),
         refuse="(?s)no log.*Snapshot.from_frame"),
    Door("others/wide_months.csv",
         people("customer,2023-01,2023-02,2023-03,2023-04", "K{i},{a},{a},0.00,{a}"),
         refuse="(?s)no log|one row per customer|no column.*date"),
    Door("others/price_list.csv", people("sku,description,price,stock", "A{i},Tea {i},{a},{t}"),
         refuse="no log|customer|timestamp"),
    Door("others/daily_totals.csv",
         "\n".join(["date,revenue,orders",
                    *(f"2023-{m:02}-{d:02},{m * d * 3}.5,{d}" for m in range(1, 8)
                      for d in range(1, 28)), ""]),
         refuse="customer|no log"),
    Door("others/bank_statement.csv",
         text("Buchungstag;Verwendungszweck;Betrag;Saldo",
              lambda r: f"{r.when:%d.%m.%Y};Zahlung {r.i};{r.comma};"
              f"{money(r.cents + r.i, '', ',')}"),
         refuse="customer|no log", ask=("Betrag|Saldo",)),
    Door("others/one_time_buyers.csv",
         text("customer,date,amount", lambda r: f"K{r.i if r.i > 1 else 0},{r.day},{r.amount}"),
         refuse="(?i)twice|once|hardly|repeat", ask=("twice|once|hardly",), whole=True),
    Door("others/empty.csv", "", refuse="the file is empty"),
    Door("others/blank.csv", "\n\n\n", refuse="empty|no row|at least one row"),
    Door("others/only_names.csv", "customer,date,amount\n", refuse="at least one row|empty"),
    Door("others/one_row.csv", "customer,date,amount\nK1,2023-01-02,5.00\n",
         Truth(1, 1, 500, "2023-01-02", "2023-01-02")),
    Door("others/letter.txt", "Dear Sir or Madam,\n\nwe thank you for your order.\n\nYours\n",
         refuse="no log|do not split"),
]  # fmt: skip


def quarter(row: Row) -> str:
    """The quarter as a German ledger has it."""
    return f"{(row.when.month + 2) // 3}. Quartal {row.when.year}"


FAR = replace(ROWS[0], when=dt.datetime(2099, 1, 1))
CALENDAR = [
    Door("calendar/first_of_month.csv",
         text("customer,date,amount", lambda r: f"K{r.who},{r.when:%Y-%m}-01,{r.amount}"),
         truth(grain="%Y-%m")),
    Door("calendar/german_months.csv",
         text("Kunde;Monat;Umsatz",
              lambda r: f"K{r.who};{GERMAN_MONTHS[r.when.month - 1]} {r.when.year};{r.comma}"),
         truth(grain="%Y-%m")),
    Door("calendar/quarters.csv",
         text("Kunde;Zeitraum;Umsatz", lambda r: f"K{r.who};{quarter(r)};{r.comma}"),
         replace(truth(), first="2023-01-01", last="2023-10-01")),
    Door("calendar/iso_week.csv",
         text("customer,date,amount", lambda r: f"K{r.who},{r.when:%G-W%V-%u},{r.amount}"),
         truth()),
    Door("calendar/far_ahead.csv",
         text("customer,date,amount", lambda r: f"K{r.who},{r.day},{r.amount}", [*ROWS, FAR]),
         truth(), ask=("2099-01-01",), refuse="far from all others",
         answer=("data.policies.unlikely_dates=drop",)),
    Door("calendar/events.csv",
         text("event_time,event_type,product_id,price,user_id",
              lambda r: f"{r.day},{'purchase' if r.i % 7 else 'cart'},{r.i % 40},{r.amount},{r.who}"),
         truth(PAID), ask=("event_type", "cart")),
]  # fmt: skip

KINDS = [*CALENDAR, *SHOPS, *RETAIL, *STATUS, *TOTALS, *MONEY, *OTHERS]
