"""Small files of transactions and of labelled clients, and the way to read them."""

from __future__ import annotations

import csv
import gzip

import pytest
import yaml

from perennial.contracts.backtests import read_dataset
from perennial.pipeline.backtesting.canonical import write_lines
from perennial.pipeline.backtesting.reading import Place, read_files


class Bench:
    """A folder with data and a YAML, read as the command reads them."""

    def __init__(self, folder):
        self.folder = folder

    def file(self, name, rows, *, delimiter=",", header=("who", "when", "what", "worth")):
        opened = gzip.open if name.endswith(".gz") else open
        with opened(self.folder / name, "wt", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter=delimiter)
            if header:
                writer.writerow(header)
            writer.writerows(rows)
        return name

    def yaml(self, **values):
        path = self.folder / "set.yml"
        columns = {"client": "who", "time": "when", "product": "what", "amount": "worth"}
        values = {"name": "small", "kind": "transactions", "columns": columns, **values}
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return path

    def lines(self, **values):
        """(what is told, canonical lines as tuples) of the data set."""
        path = self.yaml(**values)
        dataset, target = read_dataset(path), self.folder / "lines.parquet"
        with read_files(dataset, Place(path), self.folder, self.folder / "scratch") as given:
            told = write_lines(given, dataset, Place(path), target)
            order = "order_key, client_key, ordered_at, product_key, quantity, amount"
            rows = given.rows(f"select {order} from read_parquet('{target}') order by all")
        (self.folder / "scratch" / "given.duckdb").unlink()
        return told, rows


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)
