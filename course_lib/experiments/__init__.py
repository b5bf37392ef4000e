"""Comparing recipes fairly: same splits, initial weights, steps and data path for all, one tidy table out.

A seed fixes split, initial weights and batch order together, so that differences are paired. Whatever is tuned is
tuned on validation, with as many tries for every recipe; the test part is read once, at the end.
"""

from course_lib.experiments.comparing import RunError, RunRefused, compare, learning_rates
from course_lib.experiments.keys import describe
from course_lib.experiments.reading import (
    BETTER,
    EQUAL,
    UNCLEAR,
    WORSE,
    differences,
    summarise,
    validation_curves,
    verdict,
)
from course_lib.experiments.trials import Rival, Trained, average, execute
