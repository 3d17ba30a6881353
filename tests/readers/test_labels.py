from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaitbench.errors import InputError
from gaitbench.readers.labels import read_labels, subject_key
from tests.goldens import unpacked_folder


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_a_line_a_subject(tmp_path: Path) -> None:
    found = read_labels(table(tmp_path, "subject,Female,Backpack\n001,1,0.25\nann,0,1\n"))
    assert list(found) == ["Female", "Backpack"]
    assert list(found.index) == ["1", "ann"]
    assert (found.dtypes == np.float32).all()
    assert found.to_numpy().tolist() == [[1, 0.25], [0, 1]]


def test_the_authors_table_of_sequences(tmp_path: Path) -> None:
    """What describes a sequence is passed over, the age too, and gender is Female."""
    text = "file_name,track_id,session_id,run_id,age,gender\n"
    text += "a,1,1,1,22,0\nb,001,1,2,22,0\nc,2,1,1,40,1\n"
    found = read_labels(table(tmp_path, text))
    assert list(found) == ["Female"]
    assert found["Female"].to_dict() == {"1": 0.0, "2": 1.0}


def test_lines_are_counted_over_blank_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels.csv line 5: Female is '2', expected a number"):
        read_labels(table(tmp_path, "subject,Female\n1,0\n\n2,1\n3,2\n"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("subject,Female\n1,\n", r"line 2: Female is '', expected a number from 0 to 1"),
        ("subject,Female\n1,nan\n", r"line 2: Female is 'nan'"),
        ("subject,Female\n1,0\n2,yes\n", r"line 3: Female is 'yes'"),
        ("subject,Height\n1,178\n", r"Height is '178'.*or remove what is no attribute"),
        (
            "track_id,gender\n1,0\n2,1\n1,1\n",
            r"line 4: Female of subject 1 is 1, in another line 0",
        ),
        ("subject,gender,Female\n1,0,0\n", r"has the column Female twice"),
        ("name,Female\n1,0\n", r"has no column subject \(its columns are name, Female\)"),
        ("subject,age\n1,20\n", r"has no attribute"),
        ("subject,Female\n", r"has no row"),
        ("", r"cannot be read"),
        ("subject,Female\n1,0,3\n2,1,1\n", r"lines have more values than line 1"),
        ("subject,Female\n1,0,3\n2,1\n1,2,3,4,5\n", r"cannot be read"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as raised:
        read_labels(table(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_labels(tmp_path / "absent.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff\xe0 no text")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "image.csv")


def test_numbers_are_told_apart_by_value() -> None:
    assert subject_key("007") == subject_key(" 7 ") == "7"
    assert subject_key("00") == subject_key("0") == "0"
    assert subject_key("0" * 5000 + "7") == "7"
    assert subject_key("7" * 5000) == "7" * 5000
    assert subject_key("a07") == "a07"


@pytest.mark.parametrize(("name", "people"), [("casia_gender", 124), ("fvg_gender", 226)])
def test_the_reference_s_tables(name: str, people: int) -> None:
    """A line for each sequence, of which those of a subject agree."""
    path = unpacked_folder("evaluators") / f"{name}_annotations.csv"
    lines = pd.read_csv(path)
    found = read_labels(path)
    assert list(found) == ["Female"]
    assert len(found) == lines["track_id"].nunique() <= people
    expected = lines.groupby("track_id")["gender"].first()
    assert found.loc[expected.index.astype(str), "Female"].tolist() == expected.tolist()
