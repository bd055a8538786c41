"""The metric dictionary: what each column of `client_metrics` means, one YAML file per metric in `dbt_project/metrics`.

A file describes one metric, or with `windows` one metric over several windows. Everything that is written of a metric
elsewhere (docs/metrics.md, the descriptions of the dbt contract, `perennial metrics`) is made from these files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Frozen
from perennial.core.yamlfile import read_yaml, validate

HEADLINES = 12
TOPICS = {
    "money": "Money",
    "change": "Change against the window before",
    "time": "Recency and tenure",
    "rhythm": "Rhythm",
    "assortment": "Assortment",
    "decision": "Decision",
    "attention": "Marketing and mail",
    "voice": "Voice",
    "deals": "Deals and peers",
    "portrait": "Portrait",
    "standing": "Standing",
}
_PLACE = "{window}"

Window = Annotated[int, Field(ge=1)] | Literal["total"]
_Sentence = Annotated[str, Field(min_length=9, pattern=r"\.\n?$")]


@dataclass(frozen=True)
class Metric:
    """One column of `client_metrics` as people are told of it; `path` is its file."""

    name: str
    label: str
    topic: str
    owner: str
    unit: str
    type: str
    formula: str
    window: str
    sources: tuple[str, ...]
    reading: str
    is_headline: bool
    path: Path


class MetricFile(Frozen):
    """A file of the dictionary. `{window}`, `{span}` and `{before}` stand for each of `windows`, in words or names."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\{window\})?$")]
    label: Annotated[str, Field(min_length=3)]
    topic: Literal[
        "money", "change", "time", "rhythm", "assortment", "decision", "attention", "voice", "deals", "portrait",
        "standing",
    ]  # fmt: skip
    owner: Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")]
    unit: Annotated[str, Field(min_length=2)]
    type: Literal["text", "date", "bigint", "double precision", "decimal(18,4)"]
    formula: _Sentence
    window: Annotated[str, Field(min_length=4)] | None = None
    windows: tuple[Window, ...] = ()
    sources: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")], ...], Field(min_length=1)]
    reading: _Sentence
    headline: bool | tuple[Window, ...] = False

    @model_validator(mode="after")
    def _windows_are_told_once(self) -> MetricFile:
        if (self.window is None) != bool(self.windows):
            raise ValueError("give either window, in words, or windows, a list of days and `total`")
        if (_PLACE in self.name) != bool(self.windows):
            raise ValueError("a metric over windows is called <name>_{window}, one without has no {window} in its name")
        if isinstance(self.headline, tuple) and not set(self.headline) <= set(self.windows):
            raise ValueError("a headline is one of the windows")
        left = [text for metric in self.metrics(Path()) for text in (metric.formula, metric.reading) if "{" in text]
        if left:
            raise ValueError("only {window}, {span} and {before} are filled in, and only where there are windows")
        return self

    @property
    def stem(self) -> str:
        """What the file is called, but for its ending."""
        return self.name.removesuffix(_PLACE).removesuffix("_")

    def metrics(self, path: Path) -> Iterator[Metric]:
        """The metric, or one for each of the windows in their order."""
        if not self.windows:
            yield self._metric(path, {}, self.window or "", is_headline=bool(self.headline))
        for window in self.windows:
            is_headline = self.headline if isinstance(self.headline, bool) else window in self.headline
            told = "life" if window == "total" else f"{window} days"
            if self.topic == "change":
                told += " against those before"
            yield self._metric(path, _words(window), told, is_headline=is_headline)

    def _metric(self, path: Path, words: dict[str, str], window: str, *, is_headline: bool) -> Metric:
        def filled(text: str) -> str:
            for place, word in words.items():
                text = text.replace(place, word)
            return " ".join(text.split())

        return Metric(
            filled(self.name), self.label, self.topic, self.owner, self.unit, self.type, filled(self.formula), window,
            self.sources, filled(self.reading), is_headline, path,
        )  # fmt: skip


def _words(window: int | str) -> dict[str, str]:
    if window == "total":
        return {_PLACE: "total", "{span}": "of all time"}
    return {
        _PLACE: f"{window}d",
        "{span}": f"of the last {window} days",
        "{before}": f"of the {window} days before",
    }


def metric_dictionary(project_dir: Path) -> list[Metric]:
    """Every metric by topic, then by file; of one file by window.

    Raises ConfigError that names file, line and field of every mistake: of a file, a metric described twice, a file
    that is called otherwise than its metric, and a number of headlines other than twelve.
    """
    problems: list[Problem] = []
    metrics: list[Metric] = []
    paths = sorted((project_dir / "metrics").glob("*.yml"))
    for path in paths:
        try:
            metrics += _read(path)
        except ConfigError as error:
            problems += error.problems
    problems += list(_problems_together(metrics, project_dir / "metrics")) if not problems else []
    if problems:
        raise ConfigError(problems)
    order = list(TOPICS)
    return sorted(metrics, key=lambda metric: order.index(metric.topic))


def _read(path: Path) -> list[Metric]:
    document = read_yaml(path)
    file = validate(document, MetricFile)
    if file.stem != path.stem:
        where = f"{path}:{document.line_of(('name',))}:name"
        raise ConfigError(Problem(where, f"the file of {file.name} is not called so", f"call it {file.stem}.yml"))
    return list(file.metrics(path))


def _problems_together(metrics: list[Metric], folder: Path) -> Iterator[Problem]:
    counts = Counter(metric.name for metric in metrics)
    for metric in metrics:
        if counts[metric.name] > 1:
            yield Problem(f"{metric.path}", f"{metric.name} is described more than once", "one definition, one file")
    headlines = [metric.name for metric in metrics if metric.is_headline]
    if len(headlines) != HEADLINES:
        problem = f"{len(headlines)} metrics are headlines: {', '.join(headlines)}"
        yield Problem(str(folder), problem, f"mark {HEADLINES} with `headline`")
