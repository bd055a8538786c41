"""The look of the campaign calendar: one style sheet, light and dark, that prints."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5b6675; --line: #dde2e8; --paper: #ffffff; --page: #f4f6f8;
  --bad: #b3261e; --badsoft: #fdecea; --good: #1e6b3a; --end: #eef1f4;
  --acquisition: 268 45% 48%; --development: 212 70% 45%; --retention: 158 60% 32%; --win_back: 24 80% 45%; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #a3adba; --line: #36404c; --paper: #1b2129;
  --page: #12161b; --bad: #ff9a90; --badsoft: #3d1f1d; --good: #7fd3a0; --end: #232b35;
  --acquisition: 268 60% 72%; --development: 212 80% 68%; --retention: 158 50% 55%; --win_back: 24 85% 62%; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1500px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 18px; margin: 32px 0 10px; } h3 { font-size: 16px; margin: 0; }
.lead { color: var(--soft); margin: 2px 0 16px; font-size: 17px; }
.figures { display: flex; flex-wrap: wrap; gap: 12px; list-style: none; margin: 0; padding: 0; }
.figures li { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px; }
.figures b { display: block; font-size: 20px; } .figures span { color: var(--soft); font-size: 13px; }
.fine { color: var(--good); margin: 20px 0 0; }
.clashes { background: var(--badsoft); border-left: 5px solid var(--bad); border-radius: 6px; padding: 2px 18px 10px;
  margin-top: 20px; }
.clashes h2 { color: var(--bad); margin-top: 12px; } .clashes ul { margin: 0; padding-left: 18px; }
.clashes li { margin-bottom: 10px; } .clashes li > span { display: block; font-size: 14px; }
.when { color: var(--soft); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--paper); }
.grid { border-collapse: separate; border-spacing: 0; width: 100%; font-variant-numeric: tabular-nums; }
.grid th, .grid td { padding: 4px 3px; text-align: center; border-bottom: 1px solid var(--line); font-size: 12px;
  min-width: 36px; height: 40px; font-weight: 400; }
.grid thead th { color: var(--soft); line-height: 1.25; } .grid thead i { display: block; font-style: normal;
  font-weight: 600; color: var(--ink); min-height: 15px; } .grid thead span { display: block; font-size: 11px; }
.grid .name { position: sticky; left: 0; z-index: 1; background: var(--paper); text-align: left; min-width: 210px;
  padding-left: 12px; font-size: 14px; font-weight: 600; border-right: 1px solid var(--line); }
.grid .name a { color: inherit; text-decoration: none; } .grid .name a:hover { text-decoration: underline; }
.grid .name small { display: block; color: var(--soft); font-weight: 400; font-size: 12px; }
.grid .end { background: var(--end); } .grid .sum { font-weight: 600; padding: 0 10px; text-align: right;
  border-left: 1px solid var(--line); }
.grid tfoot td, .grid tfoot th { font-weight: 600; border-bottom: 0; }
tr.acquisition, article.acquisition, .legend .acquisition { --hue: var(--acquisition); }
tr.development, article.development, .legend .development { --hue: var(--development); }
tr.retention, article.retention, .legend .retention { --hue: var(--retention); }
tr.win_back, article.win_back, .legend .win_back { --hue: var(--win_back); }
tbody .name { box-shadow: inset 5px 0 0 hsl(var(--hue)); }
.grid td.l1 { background: hsl(var(--hue) / .16); } .grid td.l2 { background: hsl(var(--hue) / .3); }
.grid td.l3 { background: hsl(var(--hue) / .48); } .grid td.l4 { background: hsl(var(--hue) / .66); font-weight: 600; }
.grid td.due { color: var(--soft); } .grid td.flag { box-shadow: inset 0 0 0 2px var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: 16px; color: var(--soft); font-size: 13px; margin: 8px 0 0; }
.legend span[class]:not(.due):not(.flag)::before { content: ""; display: inline-block; width: 12px; height: 12px;
  border-radius: 3px; background: hsl(var(--hue)); margin-right: 6px; vertical-align: -1px; }
.legend .flag { box-shadow: inset 0 0 0 2px var(--bad); padding: 0 6px; }
article { background: var(--paper); border: 1px solid var(--line); border-left: 5px solid hsl(var(--hue));
  border-radius: 8px; padding: 14px 18px; margin-bottom: 12px; scroll-margin-top: 12px; }
article > p { margin: 2px 0 8px; color: var(--soft); } article .remark { color: var(--bad); margin: 8px 0 0; }
dl { display: grid; grid-template-columns: 110px 1fr; gap: 2px 12px; margin: 0; font-size: 14px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; } code { font: 13px ui-monospace, monospace; }
article ol { margin: 8px 0 4px; padding-left: 22px; font-size: 14px; }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; max-width: 900px; }
@media print { .scroll { overflow: visible; } body { background: #fff; } article { break-inside: avoid; } }
"""
