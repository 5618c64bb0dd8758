"""The whole tool from Python: a function for each command, with its names and defaults.

Each calls the function that the command calls, and returns its result. `import toolchain as rtl`
hands them out. docs/python.md walks through them; docs/api.md is made from their docstrings.
"""

from toolchain.api.adapting import adapt
from toolchain.api.benchmarks import bench
from toolchain.api.comparisons import cross_validate, try_strategies
from toolchain.api.images import check_data, predict
from toolchain.api.models import export, inspect, verify
from toolchain.api.runs import evaluate, find_lr, finetune, report, resume

__all__ = [
    "adapt",
    "bench",
    "check_data",
    "cross_validate",
    "evaluate",
    "export",
    "find_lr",
    "finetune",
    "inspect",
    "predict",
    "report",
    "resume",
    "try_strategies",
    "verify",
]
