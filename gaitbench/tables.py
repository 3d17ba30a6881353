"""A table of words and figures, in the forms that people read and paste."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

Lines = Sequence[Sequence[str]]

LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}
"""Signs that mean something else to LaTeX, and how they are written there."""

# plain on purpose: what is copied into a mail or a thesis keeps its form
STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;"
    "color:#1a1a1a;background:#fff}"
    "div{overflow-x:auto}"
    "table{border-collapse:collapse;margin:1.5rem 0;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;font-weight:600;padding-bottom:.5rem}"
    "th,td{padding:.25rem .75rem;text-align:right;white-space:nowrap}"
    "thead th{border-top:2px solid;border-bottom:1px solid}"
    "tbody tr:last-child td{border-bottom:2px solid}"
    ".word{text-align:left}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#16181c}}"
)


@dataclass(frozen=True)
class Table:
    """Head and rows of cells.

    Attributes:
        title: one phrase.
        head: names of the columns.
        rows: cells, as many a row as there are columns.
        words: how many columns, from the first on, hold words and start on the left; the others
            hold figures and end on the right.
    """

    title: str
    head: Sequence[str]
    rows: Lines
    words: int = 1


def to_text(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """For a terminal: columns of one width each."""
    blocks = []
    for table in tables:
        lines = [table.head, *table.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = [
            "  ".join(
                cell.ljust(width) if place < table.words else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        blocks.append("\n".join([table.title, "", padded[0], rule, *padded[1:]]))
    if notes:
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def to_markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """For documents that are kept as text."""
    blocks = []
    for table in tables:
        rows = [[cell.replace("|", r"\|") for cell in row] for row in table.rows]
        blocks.append(
            "\n".join([f"**{table.title}**", "", *markdown(table.head, rows, table.words)])
        )
    if notes:
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def to_latex(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """For LaTeX with the package ``booktabs``; notes as comments."""
    lines = []
    for table in tables:
        lines += [f"% {table.title}", *latex(table.head, table.rows, table.words)]
    return "\n".join([*lines, *(f"% {note}" for note in notes)]) + "\n"


def to_html(title: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    """A page of its own that needs nothing else."""
    told = html.escape(title)
    lines = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{told}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{told}</h1>",
    ]
    for table in tables:
        lines.append(f"<div><table>\n<caption>{html.escape(table.title)}</caption>")
        lines.append(f"<thead>{_html_row(table.head, table.words, 'th')}</thead>\n<tbody>")
        lines += [_html_row(row, table.words, "td") for row in table.rows]
        lines.append("</tbody>\n</table></div>")
    if notes:
        lines += ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in notes), "</ul>"]
    return "\n".join([*lines, "</body>\n</html>\n"])


def markdown(head: Sequence[str], rows: Lines, words: int = 1) -> list[str]:
    """Lines of one table in Markdown; see :class:`Table`."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return ["| " + " | ".join(line) + " |" for line in (head, rule, *rows)]


def latex(head: Sequence[str], rows: Lines, words: int = 1) -> list[str]:
    """Lines of one table for ``booktabs``; see :class:`Table`."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join("".join(LATEX.get(sign, sign) for sign in c) for c in cells) + r" \\"

    return [
        r"\begin{tabular}{" + "l" * words + "r" * (len(head) - words) + "}",
        r"\toprule",
        line(head),
        r"\midrule",
        *(line(row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _html_row(cells: Sequence[str], words: int, tag: str) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    kinds = [' class="word"' if place < words else "" for place in range(len(cells))]
    told = "".join(
        f"<{tag}{scope}{kind}>{html.escape(cell)}</{tag}>"
        for kind, cell in zip(kinds, cells, strict=True)
    )
    return f"<tr>{told}</tr>"
