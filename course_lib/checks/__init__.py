"""Instant checks of exercises: `checks.check("01.2", answer)` and `checks.hint("01.2")`.

The checks of a lesson are in `lesson_NN`; what all of them are made of is in `core`.
"""

import importlib
import pkgutil

from course_lib.checks.core import EXERCISES, NotYet, check, hint

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)  # registers the exercises of one lesson

__all__ = ["EXERCISES", "NotYet", "check", "hint"]
