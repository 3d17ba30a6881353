"""Train and judge a method on CASIA-B: ``python gait_casia_b.py fit --config ...``."""

from gaitbench.cli import script
from gaitbench.datamodules import CasiaB

if __name__ == "__main__":
    raise SystemExit(script(CasiaB))
