"""Why a product is proposed, in a sentence of the business; and what products are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.scoring.next_product.history import Ints, Level, Reader

# Names of the products that a model knows; a category has the department that most of it lies in.
_PRODUCTS = """
select
    product_key as item, product_name as name, coalesce(product_line, department) as line,
    coalesce(substitute_group, category) as kind
from dim_products
"""
_CATEGORIES = """
select
    category as item, category as name, min(coalesce(product_line, department)) as line, cast(null as varchar) as kind
from dim_products
where category is not null
group by category
"""


@dataclass(frozen=True)
class Names:
    """By product: `keys`, `names` (the key where there is none), `lines` (may be null), `group` (-1: none)."""

    keys: pa.Array
    names: pa.Array
    lines: pa.Array
    group: Ints


def names_of(reader: Reader, keys: pa.Array, level: Level) -> Names:
    """What the published catalogue says of the products."""
    table = reader.query(_PRODUCTS if level == "product" else _CATEGORIES, {})
    place = pc.index_in(keys, value_set=table.column("item").combine_chunks().cast(pa.string()))

    def taken(name: str) -> pa.Array:
        return table.column(name).combine_chunks().cast(pa.string()).take(place)

    kinds = taken("kind").dictionary_encode().indices
    group = np.asarray(pc.fill_null(kinds, -1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return Names(keys, pc.coalesce(taken("name"), keys), taken("line"), group)


def reasons(proposals: Any, names: Names) -> pa.Array:
    """One sentence per proposal."""
    what = proposals.kind
    others = names.names.take(pa.array(np.maximum(proposals.because, 0)))
    days = pa.array(proposals.days.astype(np.int64)).cast(pa.string())
    ages = pa.array(proposals.last_age.astype(np.int64)).cast(pa.string())
    again = pc.binary_join_element_wise("bought on ", days, " days, last ", ages, " days ago", "")
    together = pc.binary_join_element_wise("bought with ", others, " by clients like this", "")
    dearer = pc.binary_join_element_wise("the dearer choice beside ", others, ", which they buy", "")
    popular = pa.array(["bought by many lately"] * len(what), pa.string())
    has_other = pa.array(proposals.because >= 0)
    new = pc.if_else(has_other, together, popular)
    return pc.if_else(pa.array(what == 0), again, pc.if_else(pa.array(what == 2), dearer, new))  # noqa: PLR2004
