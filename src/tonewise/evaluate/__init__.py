"""How good a model is on labelled texts: evaluate, calibrate, compare, reproduce, audit."""

from tonewise.evaluate.calibrate import Calibrated, calibrate
from tonewise.evaluate.compare import Comparison, compare
from tonewise.evaluate.evaluation import Evaluation, Mistake, evaluate
from tonewise.evaluate.quality import Figure
from tonewise.evaluate.reproduce import Reproduction, reproduce
from tonewise.evaluate.slices import Slice

__all__ = [
    "Calibrated",
    "Comparison",
    "Evaluation",
    "Figure",
    "Mistake",
    "Reproduction",
    "Slice",
    "calibrate",
    "compare",
    "evaluate",
    "reproduce",
]
