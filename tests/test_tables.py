import xml.etree.ElementTree as ElementTree

from gaitbench.tables import Table, to_html, to_latex, to_markdown, to_text

TABLE = Table(
    "A_b & c", ["run", "who", "rank-1 (%)"], [["a|b", "<x>", "1.0"], ["c#1", "y", "10.5"]], 2
)
NOTES = ["R&D, 5 % off."]


def test_text_has_columns_of_one_width() -> None:
    assert to_text([TABLE], NOTES).splitlines() == [
        "A_b & c",
        "",
        "run  who  rank-1 (%)",
        "--------------------",
        "a|b  <x>         1.0",
        "c#1  y          10.5",
        "",
        "- R&D, 5 % off.",
    ]


def test_markdown_keeps_a_bar_within_its_cell() -> None:
    assert to_markdown([TABLE], NOTES).splitlines()[2:6] == [
        "| run | who | rank-1 (%) |",
        "| --- | --- | ---: |",
        r"| a\|b | <x> | 1.0 |",
        "| c#1 | y | 10.5 |",
    ]


def test_latex_escapes_what_it_would_take_for_commands() -> None:
    text = to_latex([TABLE], NOTES)
    assert r"\begin{tabular}{llr}" in text
    assert r"run & who & rank-1 (\%) \\" in text
    assert r"c\#1 & y & 10.5 \\" in text
    assert text.splitlines()[0] == "% A_b & c"
    assert text.splitlines()[-1] == "% R&D, 5 % off."
    odd = Table("t", ["x"], [["5 ± 1 % of ~/a_b^2 {$}\\"]])
    assert (
        r"5 $\pm$ 1 \% of \textasciitilde{}/a\_b\textasciicircum{}2 \{\$\}\textbackslash{} \\"
        in to_latex([odd], [])
    )


def test_html_is_whole_and_fetches_nothing() -> None:
    page = to_html("R & D", [TABLE], NOTES)
    assert "http" not in page
    # the document type and the tags without an end are not XML's
    body = page[page.index("<body>") : page.index("</html>")]
    tree = ElementTree.fromstring(body)
    assert [cell.text for cell in tree.iter("th")] == TABLE.head
    assert {cell.get("scope") for cell in tree.iter("th")} == {"col"}
    rows = [[cell.text for cell in row.iter("td")] for row in tree.iter("tr")][1:]
    assert rows == TABLE.rows
    assert [note.text for note in tree.iter("li")] == NOTES
