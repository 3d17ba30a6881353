"""Train and judge a method on OUMVLP-Pose: ``python gait_oumvlp.py fit --config ...``."""

from gaitbench.cli import script
from gaitbench.datamodules import OumvlpPose

if __name__ == "__main__":
    raise SystemExit(script(OumvlpPose))
