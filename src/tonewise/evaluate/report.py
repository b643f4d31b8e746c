"""An evaluation as one HTML page that needs nothing beside itself, and no script."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from tonewise.evaluate import pictures
from tonewise.evaluate.evaluation import Evaluation
from tonewise.evaluate.quality import Figure, confidence
from tonewise.evaluate.words import NAMES, count, interval, label_table, number, shown, slice_table

STYLE = """
:root { color-scheme: light dark;
  --ink: #1f2328; --faint: #656d76; --line: #d8dee4; --paper: #fff; --card: #f6f8fa; --mark: #3b7dd8 }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6edf3; --faint: #9198a1; --line: #30363d; --paper: #0d1117; --card: #161b22; --mark: #6ea8fe } }
@media print { :root {
  --ink: #000; --faint: #444; --line: #bbb; --paper: #fff; --card: #fff; --mark: #3b7dd8 }
  section, figure, tr { break-inside: avoid } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
p { color: var(--faint); margin: .3rem 0; max-width: 60rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0 }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .7rem .9rem }
.cards b { display: block; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums }
.cards span, .cards small { color: var(--faint); display: block; font-size: .85rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem 1rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { font-weight: normal; color: var(--faint) }
.l { text-align: left } .where { overflow-wrap: anywhere }
.text { min-width: 22rem; white-space: pre-wrap; overflow-wrap: anywhere }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { margin: 0 }
figcaption { color: var(--faint); font-size: .9rem } svg { max-width: 100%; height: auto }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: 0 }
dt { color: var(--faint) } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
"""
LONGEST_TEXT = 600
"""Characters of a text that are shown."""


def report(evaluation: Evaluation) -> str:
    """The page. Every text in it is escaped; pictures are inside."""
    return "\n".join(_page(evaluation)) + "\n"


def _page(of: Evaluation) -> Iterator[str]:
    title = f"{of.model['ref']} · {of.model['head']}"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}: evaluation</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    yield f"<h1>{escape(title)}</h1>"
    yield f"<p>{escape(count(of))}</p>"
    yield '<div class="cards">'
    yield from (_card(name, figure) for name, figure in of.figures.items())
    yield "</div>"
    yield from (f"<p>{escape(line)}</p>" for line in shown(of))
    yield from _section("Labels", _table(*label_table(of), left=1))
    yield from _section("Pictures", _pictures(of))
    if of.slices:
        yield from _section("Slices", _table(*slice_table(of), left=2))
    if of.worst:
        yield from _section("Mistakes that were made with the most confidence", _worst(of))
    yield from _section("What was evaluated", _facts(of))
    yield "</body>\n</html>"


def _card(name: str, figure: Figure) -> str:
    value, chance = number(name, figure.value), interval(name, figure.interval)
    return f"<div><span>{NAMES[name]}</span><b>{value}</b><small>{chance}</small></div>"


def _section(title: str, inside: Iterable[str]) -> Iterator[str]:
    yield f"<section>\n<h2>{escape(title)}</h2>"
    yield from inside
    yield "</section>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> Iterator[str]:
    """Words as a table; the first `left` columns stand at the left."""
    yield '<div class="wide"><table>'
    yield _row("th", columns, left)
    yield from (_row("td", row, left) for row in rows)
    yield "</table></div>"


def _row(tag: str, cells: Sequence[str], left: int) -> str:
    how = [' class="l"' if place < left else "" for place in range(len(cells))]
    inside = "".join(f"<{tag}{one}>{escape(cell)}</{tag}>" for one, cell in zip(how, cells, strict=True))
    return f"<tr>{inside}</tr>"


def _pictures(of: Evaluation) -> Iterator[str]:
    told, correct = confidence(of.gold, of.answers, multi_label=of.multi_label)
    what = "every label's score" if of.multi_label else "the best score"
    drawn = [
        (f"Reliability of {what}", pictures.reliability_diagram(of.reliability, of.figures["ece"].value))
    ]
    if of.multi_label:
        apart = "Scores of labels that hold and of those that do not, as shares of each"
        drawn.append((apart, pictures.scores_apart(told.ravel(), correct.ravel())))
    else:
        drawn.append((f"Answers by {what}", pictures.score_histogram(told, correct)))
    if of.confusion is not None:
        drawn.append(("Confusion", pictures.confusion_matrix(of.labels, of.confusion)))
    yield '<div class="pictures">'
    for title, figure in drawn:
        yield f"<figure>{pictures.as_svg(figure)}<figcaption>{escape(title)}</figcaption></figure>"
    yield "</div>"


def _worst(of: Evaluation) -> Iterator[str]:
    scored = "score of" if of.multi_label else "score"
    yield '<div class="wide"><table>'
    yield _row("th", ["gold", "found", scored, "text", "where"], 5)
    for one in of.worst:
        cut = one.text if len(one.text) <= LONGEST_TEXT else f"{one.text[:LONGEST_TEXT]}…"
        score = f"{one.label} {one.score:.3f}" if of.multi_label else f"{one.score:.3f}"
        cells = [", ".join(one.gold) or "—", ", ".join(one.found) or "—", score]
        inside = "".join(f'<td class="l">{escape(cell)}</td>' for cell in cells)
        where = escape(one.where or str(one.id))
        yield f'<tr>{inside}<td class="l text">{escape(cut)}</td><td class="l where">{where}</td></tr>'
    yield "</table></div>"


def _facts(of: Evaluation) -> Iterator[str]:
    """What a reader needs to run it again."""
    files = [("file", f"{name}, sha256 {sha256}") for name, sha256 in of.data["files"].items()]
    rows = [("rows", f"{of.data['rows']:,}"), ("data fingerprint", of.data["fingerprint"])]
    mapping = of.model["mapping"]
    pairs = None if mapping is None else ", ".join(f"{label} → {other}" for label, other in mapping.items())
    facts = [
        *{**of.model, "mapping": pairs}.items(),
        *files,
        *rows,
        ("data labels", ", ".join(of.data["labels"])),
        *of.made.items(),
    ]
    yield "<dl>"
    for name, value in facts:
        if value is not None:
            yield f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(str(value))}</dd>"
    yield "</dl>"
