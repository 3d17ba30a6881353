"""FVG's facts, for those who read the dataset and those who write what looks like it."""

from types import MappingProxyType

SUBJECTS = tuple(f"{subject:03d}" for subject in range(1, 227))
TRAIN_SUBJECTS = SUBJECTS[:136]
"""Those trained on; the 90 others are tested on."""

SESSION_SUBJECTS = MappingProxyType(
    {
        1: SUBJECTS[:147],
        2: SUBJECTS[147:],
        3: tuple(SUBJECTS[n - 1] for n in (1, 2, 4, 7, 8, 12, 13, 17, 31, 40, 48, 77)),
    }
)
"""Session -> who came to it; source: the dataset's page at Michigan State University."""

NUMBERS = range(1, 13)
"""Numbers of a subject's videos in a session."""

ANNOTATIONS = "FVG-andy/data/annotations.csv"
"""The table of sequences, below the folder that its ``file_name`` counts from."""
