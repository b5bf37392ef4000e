"""From a network's scores to a decision: thresholds, costs, budgets, and probabilities that fit their use.

A `Decision` has two halves: `adjust` changes the scores (so the probabilities move), `choose` turns scores
into a label (so only the label moves). Whatever is tuned is tuned on the validation part, handed over as
(outputs, y); the test part never comes here. Scores are computed in float64. Both halves are small objects
that print their numbers and can be pickled.
"""

from course_lib.decisions.core import (
    Cheapest,
    Cut,
    Decision,
    Divide,
    Shift,
    Then,
    ToEstimatedPrior,
    argmax,
    as_is,
    compose,
    cost_matrix,
    em_prior,
    estimate_prior,
    highest,
    logit_adjustment,
    prior_correction,
    temperature,
    threshold,
    threshold_for_costs,
)
from course_lib.decisions.tuning import (
    CUT_METRICS,
    LABEL_METRICS,
    alert_budget,
    fit_temperature,
    tune_class_offsets,
    tune_tau,
    tune_threshold,
    tuned,
)
