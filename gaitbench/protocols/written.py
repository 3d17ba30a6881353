"""Protocols that users write for their own data, as a few lines of YAML."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from gaitbench.errors import InputError
from gaitbench.protocols.distances import Distance
from gaitbench.protocols.protocol import Protocol, Selection

ID = re.compile(r"own\.[A-Za-z0-9_-]+")
"""Never the id of a dataset's protocol, so that no published figure is put beside."""

TEXTS = ("subject", "condition", "split", "sequence")
NUMBERS = ("number", "view")
"""Columns that sequences are selected by."""

VIEWS: Mapping[str, tuple[Literal["each", "pooled"], bool]] = {
    "pooled": ("pooled", False),
    "others": ("pooled", True),
    "each": ("each", False),
    "each_other": ("each", True),
}
"""What ``views`` may be -> views of the gallery, and whether the probe's own is left out."""

CHOICES: Mapping[str, Sequence[object]] = {
    "views": tuple(VIEWS),
    "unmatched": ("skip", "wrong"),
    "distance": get_args(Distance),
    "normalize": (True, False),
    "repeated": ("all", "last"),
}
"""Settings that may be left out, and what they may be; the first is taken, see ``Protocol``."""

FIELDS = ("id", "description", "gallery", "probes", *CHOICES)


def read_protocol(path: Path) -> Protocol:
    """The protocol in a YAML file.

    Raises:
        InputError: if it cannot be read or is none.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "strerror", None) or error
        raise InputError(f"{path}{place} cannot be read as YAML ({reason}); mend it") from error
    return written_protocol(content, f"{path}: ")


def written_protocol(content: object, where: str = "data.protocol.") -> Protocol:
    """The protocol that a mapping describes.

    Args:
        content: ``id``, ``gallery`` (column to a value or a list of them), ``probes`` (name to
            the same), and any of the other :data:`FIELDS`.
        where: it stands, for messages; before the name of a field.

    Raises:
        InputError: naming the field that is not as expected.
    """
    if not isinstance(content, Mapping):
        raise InputError(
            f"{where.rstrip('.: ')} holds {content!r:.60}, expected the fields {_list(FIELDS)}"
        )
    for name in content:
        if name not in FIELDS:
            raise InputError(f"{where}{name} is no field of a protocol; {_meant(name, FIELDS)}")
    for name in ("id", "gallery", "probes"):
        if name not in content:
            raise InputError(f"{where}{name} is missing; a protocol has an id, gallery and probes")
    if not isinstance(content["id"], str) or not ID.fullmatch(content["id"]):
        raise InputError(
            f"{where}id is {content['id']!r:.60}, expected `own.` and a name of letters, digits, _ "
            "and -, such as own.second_day"
        )
    gallery = _selection(content["gallery"], f"{where}gallery")
    sets = content["probes"]
    if not isinstance(sets, Mapping) or not sets:
        raise InputError(
            f"{where}probes is {sets!r:.60}, expected names with what each selects, such as "
            "bag: {condition: bag}"
        )
    probes = {}
    for name, selected in sets.items():
        if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9_-]+", name):
            raise InputError(
                f"{where}probes.{name} is no name of letters, digits, _ and -; give it one"
            )
        if name == "overall":
            raise InputError(f"{where}probes.{name} is taken for a mean; give it another name")
        probes[name] = _selection(selected, f"{where}probes.{name}")
    settings = {name: _chosen(content, name, where) for name in CHOICES}
    views, others = VIEWS[settings.pop("views")]
    description = content.get("description") or _described(gallery, probes)
    if not isinstance(description, str):
        raise InputError(f"{where}description is {description!r:.60}, expected a sentence")
    return Protocol(
        id=content["id"],
        description=description,
        gallery=gallery,
        probes=probes,
        gallery_views=views,
        exclude_same_view=others,
        **settings,
    )


def _chosen(content: Mapping[str, Any], name: str, where: str) -> Any:
    value = content.get(name, CHOICES[name][0])
    for choice in CHOICES[name]:  # 1 is no truth value here
        if type(value) is type(choice) and value == choice:
            return choice
    raise InputError(
        f"{where}{name} is {value!r:.60}, expected one of "
        f"{_list([str(c).lower() if isinstance(c, bool) else str(c) for c in CHOICES[name]])}"
    )


def _selection(content: object, where: str) -> Selection:
    """Column to the values that are selected."""
    columns = (*TEXTS, *NUMBERS)
    if not isinstance(content, Mapping) or not content:
        raise InputError(
            f"{where} is {content!r:.60}, expected columns with a value or a list of them, such as "
            "split: gallery"
        )
    selection: dict[str, tuple[Any, ...]] = {}
    for column, given in content.items():
        if column not in columns:
            raise InputError(
                f"{where}.{column} is no column of the labels; {_meant(column, columns)}"
            )
        values = tuple(given) if isinstance(given, list) else (given,)
        kind, what = (int, "a whole number") if column in NUMBERS else (str, "text, in quotes")
        for value in values or ("nothing",):
            if type(value) is not kind or not values:
                raise InputError(f"{where}.{column} is {value!r:.60}, expected {what}")
        selection[column] = values
    return selection


def _described(gallery: Selection, probes: Mapping[str, Selection]) -> str:
    sets = "; ".join(f"{name}: {_said(selected)}" for name, selected in probes.items())
    return f"Gallery: {_said(gallery)}. Probes: {sets}."


def _said(selection: Selection) -> str:
    return ", ".join(
        f"{column} {'/'.join(map(str, values))}" for column, values in selection.items()
    )


def _meant(name: object, known: Sequence[str]) -> str:
    """What may have been meant, and what else there is."""
    close = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {close[0]}?" if close else f"choose from {_list(known)}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
