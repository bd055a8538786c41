"""A world of everything that sources should not send and do: the issue's list of bad input, small, and one client at length."""

from __future__ import annotations

from factories.dbt_warehouse import NAMESPACE, Raw, Warehouse, line
from perennial.core.ids import client_ref

AS_OF = "2017-10-01"
LARGEST = "99999999999999.9999"  # that a decimal(18,4) holds
BILLION = "1000000000.0000"
NAMES = {
    "cyrillic": ("Ольга", "Щукина"),
    "hebrew": ("נועה", "לוי"),
    "arabic": ("ليلى", "حداد"),
    "turned": ("\u202eAnn", "O'Neil\u2066"),
}


def bad_world() -> Raw:
    """As of 2017-10-01: rows that the gate lets through, each a case of its own client, product or day."""
    raw = Raw()
    raw.add("clients", "2017-04-01", [*_people(), *_old_people()])
    raw.add("clients", "2999-01-01", [{"client_key": "unborn", "birth_date": "2990-01-01"}], batch_seq=9)
    raw.add("order_lines", AS_OF, [*_prices(), *_quantities(), *_returns(), *_dates()], batch_seq=1)
    raw.add("order_lines", "2999-01-01", [line("later", "dated", "2999-01-01", "5.00")], batch_seq=9)
    _one_id_twice(raw)
    _one_product_twice(raw)
    raw.add("campaigns", "2017-04-01", [
        {"campaign_key": "endless", "starts_on": "1970-01-01", "ends_on": "2999-12-31"}
    ])  # fmt: skip
    raw.add("deals", "2017-04-01", [
        {"deal_key": f"d{n}", "client_key": "dealer", "stage": "won", "amount": LARGEST, "opened_on": "1970-01-01",
         "closed_on": "2017-04-01"}
        for n in range(20)
    ])  # fmt: skip
    return raw


def _people() -> list[dict[str, object]]:
    named = [{"client_key": key, "first_name": first, "last_name": last} for key, (first, last) in NAMES.items()]
    keys = ("lead", "free", "paid_back", "early", "twin", "dated", "edge", "billions", "nothing", "dealer")
    return [*named, *({"client_key": key, "signed_up_on": "1970-01-01"} for key in keys)]


def _old_people() -> list[dict[str, object]]:
    born = {"aged_120": "1896-10-02", "aged_121": "1896-10-01", "aged_200": "1817-01-01", "roman": "0001-01-01"}
    return [{"client_key": key, "birth_date": day, "signed_up_on": day} for key, day in born.items()]


def _prices() -> list[dict[str, object]]:
    """Zero and negative prices; orders of nobody, and of somebody whom no CRM knows."""
    return [
        line("free-1", "free", "2017-09-01", "0.00", unit_price="0", discount_amount="0"),
        line("free-2", "free", "2017-09-08", "0.00", discount_amount="3.00"),
        line("back-1", "paid_back", "2017-09-02", "-5.00", unit_price="-5"),
        line("guest-1", None, "2017-09-03", "7.00"),
        line("guest-2", None, "2017-09-03", "-2.00"),
        line("ghost-1", "ghost", "2017-09-04", "11.00", product="nowhere"),
    ]


def _quantities() -> list[dict[str, object]]:
    """10^9 pieces without an amount, none at all, and the largest amount that there is, back and forth."""
    billion = {"quantity": BILLION, "amount": None, "unit_price": "12.3456", "unit_cost": "10.0001"}
    return [
        {**line("billion", "billions", "2017-09-05", "0"), **billion},
        line("none", "nothing", "2017-09-06", "0", quantity=0),
        line(
            "edge-1", "edge", "2017-05-01", LARGEST, product="gold", cost_amount="-" + LARGEST, discount_amount=LARGEST
        ),
        line(
            "edge-2",
            "edge",
            "2017-05-02",
            "-" + LARGEST,
            product="gold",
            cost_amount=LARGEST,
            quantity=-1,
            line_kind="return",
        ),
    ]


def _returns() -> list[dict[str, object]]:
    """What came back before it was sold, and what was never sold."""
    lamp: dict[str, object] = {"product": "lamp", "quantity": -1}
    return [
        line("early-1", "early", "2017-08-01", "-20.00", line_kind="return", **lamp),
        line("early-2", "early", "2017-08-05", "20.00", product="lamp"),
        line("early-3", "early", "2017-08-06", "-20.00", line_kind="cancellation", **lamp),
        line("early-4", "early", "2017-08-07", "-9.00", product="never", quantity=-1, line_kind="cancellation"),
    ]


def _dates() -> list[dict[str, object]]:
    """Days long gone, the business date itself, and one person who is two records."""
    return [
        line("anna-1", "anna", "2017-01-10", "30.00"),
        line("anna-2", "anna_again", "2017-06-10", "5.00"),
        line("1850", "dated", "1850-03-01", "2.00"),
        line("1970", "dated", "1970-01-01", "3.00"),
        line("today", "dated", AS_OF, "4.00"),
    ]


def _one_id_twice(raw: Raw) -> None:
    """One id in two deliveries of a source (the later holds), in two sources (two sales), and in one delivery (two lines)."""
    raw.add("order_lines", "2017-07-01", [line("same", "twin", "2017-07-01", "10.00")], batch_seq=2)
    raw.add("order_lines", "2017-07-02", [
        line("same", "twin", "2017-07-01", "12.00"), line("same", "twin", "2017-07-01", "12.00")
    ], batch_seq=3)  # fmt: skip
    other = {"_source": "till", "_precedence": 50}
    raw.add("order_lines", "2017-07-02", [{**line("same", "twin", "2017-07-01", "100.00"), **other}], batch_seq=4)


def _one_product_twice(raw: Raw) -> None:
    """One product in two categories: of two sources that of the more believed."""
    raw.add("products", "2017-04-01", [
        {"product_key": "p1", "department": "FOOD", "category": "TEA", "term_days": 10**12},
        {"product_key": "lamp", "department": "HOME", "category": "LIGHT", "list_price": "0"},
        {"product_key": "gold", "department": "GOLD", "category": "GOLD", "list_price": LARGEST},
    ])  # fmt: skip
    raw.add("products", "2017-05-01", [
        {"product_key": "p1", "department": "HOME", "category": "HERBS", "_source": "till", "_precedence": 200}
    ], batch_seq=2)  # fmt: skip


def fill_bad_world(warehouse: Warehouse, *, lines: int, as_parquet: bool = False) -> Warehouse:
    """The raw rows of the world, and a client of so many lines."""
    warehouse.fill(bad_world(), AS_OF)
    joined = ", ".join(f"('{_ref(key)}', '{_ref('anna')}', 'email', 'x', null, null)" for key in ("anna", "anna_again"))
    warehouse.execute(f"""
        insert into raw.identity_map values {joined};
        insert into raw.identity_map_built select client_ref, client_id from raw.identity_map
    """)
    (add_long_client_as_parquet if as_parquet else add_long_client)(warehouse, lines)
    return warehouse


def add_long_client(warehouse: Warehouse, lines: int) -> None:
    """`lines` lines of one client, made where they lie."""
    warehouse.execute(f"insert into raw.order_lines by name {long_client(lines)}; {_long_batch(lines)}")


def add_long_client_as_parquet(warehouse: Warehouse, lines: int) -> None:
    """The same, in a Parquet file beside the database, as a day's raw rows lie: raw.order_lines becomes a view."""
    path = warehouse.path.with_name("long.parquet")
    warehouse.execute(f"""
        copy ({long_client(lines)}) to '{path}' (format parquet, compression zstd);
        alter table raw.order_lines rename to order_lines_small;
        create view raw.order_lines as
        from raw.order_lines_small union all by name (select * from read_parquet('{path}'));
        {_long_batch(lines)}
    """)


def long_client(lines: int) -> str:
    """SQL of the lines: ten to an order but for a tenth of them in one order; 100 days.

    Each twentieth brings back one piece; a piece is 0.01.
    """
    return f"""
        select
            if(i < {lines // 10}, 'huge', 'long-' || i // 10) as order_key, 'long' as client_key,
            '{_ref("long")}' as client_ref, 'p' || i % 1000 as product_key, 's' || i % 7 as store_key,
            timestamp '2017-09-30 16:00:00' - to_days(if(i < {lines // 10}, 0, (i // 10) % 100)::integer) as ordered_at,
            if(i % 20 = 19, -1, 1)::decimal(18,4) as quantity, (if(i % 20 = 19, -1, 1) * 0.01)::decimal(18,4) as amount,
            if(i % 20 = 19, 'return', 'sale') as line_kind, 'shop' as _source, 'long' as _batch_id, 5::bigint as _batch_seq,
            'long.csv' as _file, i + 2 as _line, date '{AS_OF}' as _business_date, false as _deleted, 100::integer as _precedence
        from range({lines}) as numbers (i)
    """


def _long_batch(lines: int) -> str:
    return f"""insert into raw.ledger_batches values
        ('long', 'shop', 'order_lines', 'order_lines', '{AS_OF}', 'committed', {lines})"""


def _ref(client: str) -> str:
    return client_ref(NAMESPACE, client)
