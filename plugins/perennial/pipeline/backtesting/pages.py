"""The report as Markdown (plots beside it) and as one HTML page that needs nothing from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from perennial.pipeline.backtesting.report import Report, as_data, cells_of, findings, header_of, heading_of
from perennial.pipeline.backtesting.svg import plot
from perennial.scoring.protocols import Curve, Judged

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #111827; background: #fff; margin: 0 auto; padding: 24px;
  max-width: 1400px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 8px; border-top: 1px solid #e5e7eb;
  padding-top: 20px; }
p.about { color: #4b5563; margin: 0 0 16px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 8px 0; }
th, td { padding: 4px 8px; border-bottom: 1px solid #e5e7eb; text-align: right; white-space: nowrap; }
th { color: #374151; font-weight: 600; border-bottom: 1px solid #9ca3af; }
th.word, td.word { text-align: left; }
tr.model td { font-weight: 600; background: #eef6fd; }
tr.first td { border-top: 1px solid #9ca3af; }
.plots { display: flex; flex-wrap: wrap; gap: 16px; margin-top: 12px; }
.plots figure { margin: 0; border: 1px solid #e5e7eb; max-width: 100%; } .plots svg { display: block; max-width: 100%;
  height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; font-size: 14px; color: #374151; }
dt { font-weight: 600; } dd { margin: 0; }
code { background: #f3f4f6; padding: 1px 4px; overflow-wrap: anywhere; } li { margin: 2px 0; }
@media (max-width: 600px) { body { padding: 12px; } dl { grid-template-columns: 1fr; } }
"""
_WORDS = (0, 2)  # columns of the table that are words


def write_pages(report: Report, out: Path) -> tuple[Path, Path]:
    """Write report.html, report.md with its plots, and report.json into `out`; gives the first two."""
    out.mkdir(parents=True, exist_ok=True)
    html, markdown = out / "report.html", out / "report.md"
    for name, svg in _plots(report):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(svg + "\n", encoding="utf-8")
    html.write_text(as_html(report), encoding="utf-8")
    markdown.write_text(as_markdown(report), encoding="utf-8")
    data = json.dumps(as_data(report), indent=1, ensure_ascii=False, default=str)
    (out / "report.json").write_text(data + "\n", encoding="utf-8")
    return html, markdown


def _plots(report: Report) -> Iterator[tuple[str, str]]:
    for judged in report.judged:
        for curve in judged.curves:
            yield plot_name(judged, curve), plot(curve)


def plot_name(judged: Judged, curve: Curve) -> str:
    """The file of a plot, below the folder of the report."""
    words = " ".join([judged.task, str(judged.horizon_days or ""), curve.title, curve.cut])
    return f"plots/{re.sub('[^a-z0-9]+', '-', words.lower()).strip('-')}.svg"


def as_markdown(report: Report) -> str:
    """The report as Markdown; plots are linked by their names."""
    lines = [f"# Backtest: {_line(report.title)}", ""]
    lines += [f"Data: {_line(report.dataset.source)}", ""] if report.dataset.source else []
    lines += [
        f"`{report.command}`",
        "",
        *_table(["", ""], [[name, _shown(n)] for name, n in report.counts.items()]),
        "",
    ]
    lines += [f"- {_line(note)}" for note in (*report.notes, *report.unjudged)]
    for judged in report.judged:
        lines += ["", f"## {heading_of(judged)}", ""]
        if judged.rows:
            rows = [cells_of(judged, row) for row in judged.rows]
            bold = [row.is_model for row in judged.rows]
            shown = [[*r[:2], f"**{r[2]}**", *r[3:]] if b else r for r, b in zip(rows, bold, strict=True)]
            lines += [*_table(header_of(judged), shown), ""]
        lines += [f"- {_line(sentence)}" for sentence in findings(judged)]
        lines += ["", *(f"![{_line(c.title)} {c.cut}]({plot_name(judged, c)})" for c in judged.curves)]
        lines += ["", *(f"- `{name}`: {_line(words)}" for name, words in judged.definitions.items())]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in report.cpu_seconds.items())
    lines += ["", f"CPU seconds: {seconds}. Versions: {versions}."]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _line(text: str | None) -> str:
    """One line that Markdown leaves as it is."""
    flat = " ".join((text or "").split())
    return re.sub(r"([|\\`*_<\[\]])", r"\\\1", flat) if re.search(r"[|<\[\]*`\\]", flat) else flat


def _shown(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruler = ["---" if index in _WORDS else "---:" for index in range(len(header))]
    return [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in (header, ruler, *rows)]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def as_html(report: Report) -> str:
    """The report as one page: style and plots inside, no script, no link."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>Backtest: {escape(report.title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Backtest: {escape(report.title)}</h1>",
        f'<p class="about">{escape(report.dataset.source or "")}</p>',
        f"<p><code>{escape(report.command)}</code></p>",
        _html_table(["", ""], [[name, _shown(n)] for name, n in report.counts.items()], words=(0,)),
        _html_list([*report.notes, *report.unjudged]),
    ]
    for judged in report.judged:
        parts += _html_task(judged)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in report.cpu_seconds.items())
    parts += [f"<h2>How it was made</h2><p>CPU seconds: {escape(seconds)}. Versions: {escape(versions)}.</p>"]
    return "\n".join([*parts, "</body></html>", ""])


def _html_task(judged: Judged) -> list[str]:
    parts = [f"<h2>{escape(heading_of(judged))}</h2>"]
    if judged.rows:
        rows = [cells_of(judged, row) for row in judged.rows]
        classes = [_classes(judged, index) for index in range(len(rows))]
        parts.append(_html_table(header_of(judged), rows, words=_WORDS, classes=classes))
    parts.append(_html_list(findings(judged)))
    if judged.curves:
        figures = "\n".join(f"<figure>{plot(curve)}</figure>" for curve in judged.curves)
        parts.append(f'<div class="plots">{figures}</div>')
    terms = "".join(f"<dt>{escape(n)}</dt><dd>{escape(words)}</dd>" for n, words in judged.definitions.items())
    return [*parts, f"<dl>{terms}</dl>" if terms else ""]


def _classes(judged: Judged, index: int) -> str:
    row = judged.rows[index]
    is_first = index > 0 and judged.rows[index - 1].cut != row.cut
    return " ".join(name for name, holds in (("model", row.is_model), ("first", is_first)) if holds)


def _html_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int], classes: Sequence[str] = ()
) -> str:
    def cells(values: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag} class='word'>{escape(value)}</{tag}>" if index in words else f"<{tag}>{escape(value)}</{tag}>"
            for index, value in enumerate(values)
        )

    head = f"<thead><tr>{cells(header, 'th')}</tr></thead>" if any(header) else ""
    kinds = classes or [""] * len(rows)
    body = "".join(f'<tr class="{kind}">{cells(row, "td")}</tr>' for row, kind in zip(rows, kinds, strict=True))
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def _html_list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>" if sentences else ""
