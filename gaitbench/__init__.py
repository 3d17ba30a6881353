"""gaitbench: gait recognition that can be reproduced."""

__version__ = "0.1.0"
