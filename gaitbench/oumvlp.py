"""OUMVLP-Pose's facts, for those who read the dataset and those who write what looks like it."""

VIEWS = (*range(0, 91, 15), *range(180, 271, 15))
NUMBERS = (0, 1)
"""Numbers of the two recordings that each view has of a subject."""

SUBJECTS = tuple(f"{subject:05d}" for subject in range(1, 10_308))
IMAGE = (1280, 980)
"""Width and height of the recordings in pixels, which are 25 frames a second."""

KEYPOINTS = ("openpose", "alphapose")
"""The two pose estimators; a folder each."""

ID_LIST = "ID_list.csv"
"""Name of the table of training and test subjects."""

FOLDER = "OUMVLP-Pose"
"""Name of the dataset's folder in a published tree."""

PERSONS = ("first", "largest", "most_confident", "smoothest")
"""Ways to choose one person of a frame that lists several; see ``readers/people.py``."""
