"""Train a method on DenseGait: ``python gait_densegait.py fit --config ...``."""

from gaitbench.cli import script
from gaitbench.datamodules import DenseGait

if __name__ == "__main__":
    raise SystemExit(script(DenseGait))
