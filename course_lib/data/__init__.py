"""What is to be learned: tasks, splits, carried sets, made sets with exact posteriors, and sets that are fetched."""

from course_lib.data.downloads import california_housing, fashion_mnist, mnist, wine_quality
from course_lib.data.small import digits, rare_cancer, table_task
from course_lib.data.synthetic import Fraud, Gaussians, fraud_like, gaussian_classes, mean_estimation
from course_lib.data.task import (
    FEWEST_POSITIVES,
    KINDS,
    Batch,
    Split,
    Task,
    cross_entropy_each,
    imbalanced_counts,
    make_imbalanced,
    squared_error_each,
    standardise,
    stratified_split,
)
