"""The program as a whole: `run.py` is its page; `recorded.py` and `live.py` drive the stages, each in its own way."""

from streamheal.pipeline.run import Pipeline
from streamheal.pipeline.stages import Progress, Summary

__all__ = ["Pipeline", "Progress", "Summary"]
