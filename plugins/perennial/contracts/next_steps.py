"""What scoring says of the next step: tables `raw.client_next_products`, `raw.client_next_purchases`, the wide view."""

from __future__ import annotations

import pyarrow as pa

NEXT_PRODUCTS_TABLE, NEXT_PURCHASES_TABLE, WIDE_TABLE = (
    "client_next_products",
    "client_next_purchases",
    "client_scores_wide",
)

# One row per client, date and proposal. `rank` from 1 by falling probability over all kinds; `probability` of a
# purchase within the horizon of the model's card; `amount` = probability x what is spent on it in a day of purchase, in
# the company's currency. `product_id` is a product or a category, as settings scoring.next_product_level says.
CLIENT_NEXT_PRODUCTS = pa.schema(
    [
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("as_of_date", pa.date32(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("product_name", pa.string(), nullable=False),
        pa.field("product_line", pa.string()),
        pa.field("kind", pa.string(), nullable=False),  # repeat | cross_sell | up_sell
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
    ]
)

# One row per client, date and product line that the client buys from regularly. Days from the date on: median, and the
# 80 % interval; what is due by a term has its days alone.
CLIENT_NEXT_PURCHASES = pa.schema(
    [
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("as_of_date", pa.date32(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("days", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("model_version", pa.string(), nullable=False),
    ]
)
