"""Kinematic people who walk, seen by cameras and a fallible pose detector.

Fake data in the true raw formats, so that readers, training, evaluation and drawing can be run
and tested without any licensed data set: people and their gait in `people`, what a pose estimator
makes of them in `cameras`, what they look like in `figures`, what a camera records of that in
`render` and `films`, and a file for each data set that writes it as its owner would.
"""

from gaitbench.synthetic.cameras import Camera, Detector, detect, project
from gaitbench.synthetic.casia_b import casia_b_subjects, synthesize_casia_b
from gaitbench.synthetic.casia_b_video import synthesize_casia_b_video
from gaitbench.synthetic.densegait import synthesize_densegait
from gaitbench.synthetic.fvg import fvg_subjects, synthesize_fvg
from gaitbench.synthetic.kinect import synthesize_biwi, synthesize_ias_lab, synthesize_kgbd
from gaitbench.synthetic.oumvlp import synthesize_oumvlp
from gaitbench.synthetic.people import JOINTS, Subject, joints_of, walk
from gaitbench.synthetic.render import Flow
from gaitbench.synthetic.tum_gaid import synthesize_tum_gaid

__all__ = [
    "JOINTS",
    "Camera",
    "Detector",
    "Flow",
    "Subject",
    "casia_b_subjects",
    "detect",
    "fvg_subjects",
    "joints_of",
    "project",
    "synthesize_biwi",
    "synthesize_casia_b",
    "synthesize_casia_b_video",
    "synthesize_densegait",
    "synthesize_fvg",
    "synthesize_ias_lab",
    "synthesize_kgbd",
    "synthesize_oumvlp",
    "synthesize_tum_gaid",
    "walk",
]
