"""Reading the time column of a data set, whatever it holds, as local moments of the company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from perennial.contracts.backtests import DataSet, TimeUnit
from perennial.core.errors import ConfigError, Problem
from perennial.core.sqltext import identifier, literal
from perennial.pipeline.backtesting.reading import Given, Place, actual, is_number

_FORMATS = (
    "%Y%m%d", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%Y.%m.%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%y",
    "%m/%d/%y %H:%M", "%d/%m/%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%y", "%d/%m/%y %H:%M",
    "%d-%m-%Y", "%d-%m-%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%b %d, %Y", "%d%b%Y",
    "%Y%m%d%H%M%S", "%Y%m%d %H:%M:%S", "%a %b %d %H:%M:%S %Y",
)  # fmt: skip
_SAMPLE = 20_000
_ENOUGH = 0.9  # of the sample must be read by a format
_SECONDS = {
    "nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0,
    "day": 86_400.0, "week": 604_800.0, "month": 2_629_746.0,
}  # fmt: skip
_EPOCHS: tuple[tuple[TimeUnit, float, float], ...] = (
    ("second", 1e8, 5e9),
    ("millisecond", 1e11, 5e12),
    ("microsecond", 1e14, 5e15),
    ("nanosecond", 1e17, 5e18),
)
_CALENDAR_UNITS = ("day", "week", "month")
_ORIGIN = date(1970, 1, 1)


@dataclass(frozen=True)
class Moments:
    """`sql`: the local moment of a row of `given` as a timestamp, null where it cannot be read. `how`: in words.

    `unit_days` is set where the column counts: how many days one of it is, from `origin`.
    """

    sql: str
    how: str
    unit_days: float | None = None
    origin: date = _ORIGIN

    def cut(self, cut: date | int) -> date:
        """A cut of the YAML as a day."""
        if isinstance(cut, date):
            return cut
        return self.origin + timedelta(days=round(cut * (self.unit_days or 1.0)))


def moments_of(given: Given, dataset: DataSet, where: Place) -> Moments:
    """How the time column is read. Raises ConfigError when it cannot be told, or could be read in two ways."""
    name = actual(given.columns, str(dataset.columns.time))
    column, kind = identifier(name), given.columns[name].upper()
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return Moments(f"timezone({literal(dataset.zone)}, {column})", f"moments, in {dataset.zone}")
    if kind.startswith(("TIMESTAMP", "DATE")):
        return Moments(_placed(f"cast({column} as timestamp)", dataset), "dates" if kind == "DATE" else "moments")
    if is_number(kind) or given.sniffed.get(name) == "double":
        return _numbers(given, dataset, column, where)
    return _texts(given, dataset, column, where)


def _placed(sql: str, dataset: DataSet) -> str:
    """A stamp without an offset, in the company's zone: as it stands unless the format names another zone."""
    stamps = dataset.format.timestamps_in
    if stamps is None or stamps == dataset.zone:
        return sql
    return f"timezone({literal(dataset.zone)}, timezone({literal(stamps)}, {sql}))"


def _texts(given: Given, dataset: DataSet, column: str, where: Place) -> Moments:
    text, place = f"trim({column})", where("columns", "time")
    zoned = f"regexp_matches({text}, '[0-9](Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') and {text} like '%:%'"
    if dataset.format.time_format:
        return _by_format(dataset.format.time_format, text, dataset)
    options = [("moments with an offset", zoned, f"timezone({literal(dataset.zone)}, try_cast({text} as timestamptz))")]
    options.append(("dates as in ISO 8601", "true", _placed(f"try_cast({text} as timestamp)", dataset)))
    options += [(f"dates as {one}", "true", _by_format(one, text, dataset).sql) for one in _FORMATS]
    shares = _shares(given, column, [f"{sql} is not null and {test}" for _, test, sql in options])
    best = max(shares)
    if best < _ENOUGH:
        fix = "say in format: time_format, in the codes of strptime (%d.%m.%Y)"
        raise ConfigError(Problem(place, f"{1 - best:.0%} of the times cannot be read in any known way", fix))
    chosen = shares.index(best)
    ways = [how for (how, _, _), share in zip(options, shares, strict=True) if share == best]
    both = {how.replace("%m/%d", "%d/%m") for how in ways if "/" in how}
    if len(both) < len([how for how in ways if "/" in how]):
        fix = "say in format: time_format: '%m/%d/%Y' or '%d/%m/%Y' (with %H:%M)"
        raise ConfigError(Problem(place, "days and months can be read either way round", fix))
    return Moments(options[chosen][2], options[chosen][0])


def _by_format(codes: str, text: str, dataset: DataSet) -> Moments:
    parsed = f"try_strptime({text}, {literal(codes)})"
    sql = f"timezone({literal(dataset.zone)}, {parsed})" if "%z" in codes else _placed(parsed, dataset)
    return Moments(sql, f"dates as {codes}")


def _shares(given: Given, column: str, tests: Sequence[str]) -> list[float]:
    """The share of a sample of known times that each test holds for."""
    counts = ", ".join(f"count(*) filter (where {test})" for test in tests)
    sample = f"(select {column} from given where {column} is not null limit {_SAMPLE})"
    known, *found = given.rows(f"select count(*), {counts} from {sample}")[0]
    return [held / known if known else 0.0 for held in found]


def _numbers(given: Given, dataset: DataSet, column: str, where: Place) -> Moments:
    number = f"try_cast({column} as double)"
    digits = f"cast(try_cast({number} as bigint) as varchar)"
    as_date = f"try_strptime({digits}, '%Y%m%d')"
    plain = f"{number} between 19000101 and 21001231 and {as_date} is not null"
    tests = [plain, *(f"abs({number}) between {low:g} and {high:g}" for _, low, high in _EPOCHS)]
    shares = _shares(given, column, tests)
    unit = dataset.time_unit
    if shares[0] >= _ENOUGH and unit in (None, *_CALENDAR_UNITS):
        return Moments(_placed(as_date, dataset), "dates as %Y%m%d")
    if dataset.format.time_format:
        return _by_format(dataset.format.time_format, digits, dataset)
    if unit is None:
        likely = next((name for (name, _, _), s in zip(_EPOCHS, shares[1:], strict=True) if s >= _ENOUGH), None)
        if likely is None:
            fix = "say time_unit: second, millisecond, day, week or month (and time_origin, if it is not 1970-01-01)"
            raise ConfigError(Problem(where("columns", "time"), "the times are numbers: what do they count?", fix))
        unit = likely
    return _counted(number, unit, dataset)


def _counted(number: str, unit: TimeUnit, dataset: DataSet) -> Moments:
    origin = dataset.time_origin or _ORIGIN
    seconds = f"({number} * {_SECONDS[unit]!r})"
    safe = f"case when abs({seconds}) < 1e11 then {seconds} end"
    sql = f"(timestamp '{origin.isoformat()}' + to_microseconds(cast({safe} * 1e6 as bigint)))"
    counted = f"{unit}s since {origin}"
    if unit in _CALENDAR_UNITS:
        return Moments(sql, counted, unit_days=_SECONDS[unit] / 86_400.0, origin=origin)
    return Moments(_epoch(sql, dataset), counted, unit_days=_SECONDS[unit] / 86_400.0, origin=origin)


def _epoch(sql: str, dataset: DataSet) -> str:
    """Seconds since 1970 count in UTC."""
    if dataset.zone == "UTC" or dataset.time_origin is not None:
        return sql
    return f"timezone({literal(dataset.zone)}, timezone('UTC', {sql}))"
