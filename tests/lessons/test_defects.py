"""Every defect of the source texts stands in exactly one lesson, in a cell whose metadata says `"defect": "<key>"`.

The table says which lesson. A lesson that is not written yet is passed over; one that is has all its defects.
"""

from collections import Counter

import pytest

from tests.lessons.books import LESSONS, NOTEBOOKS, read

DEFECTS = {
    # training basics
    "scheduler_never_stepped": "03",
    "no_train_or_eval_mode": "03",
    "last_batch_of_one_crashes_batch_norm": "03",
    "adam_weight_decay_is_not_adamw": "03",
    "early_stopping_named_not_shown": "03",
    "unstratified_split": "03",
    # weighting
    "weights_unrelated_to_counts": "04",
    "penalise_the_minority_less": "04",
    "per_sample_weights_to_cross_entropy": "04",
    "per_class_weights_to_sampler": "04",
    "float64_weights": "04",
    "missing_class_nan": "04",
    "corrections_listed_as_additive": "04",
    # focal loss and a prioritised class
    "random_labels": "05",
    "focal_of_the_mean": "05",
    "no_class_factor": "05",
    "good_for_outliers": "05",
    "auxiliary_criterion_without_parameters": "05",
    "auxiliary_on_positives_only": "05",
    "auxiliary_batch_without_the_class": "05",
    # SMOTE
    "smote_on_two_rows": "06",
    "smote_one_neighbour_on_integers": "06",
    "smote_before_the_split": "06",
    "no_random_state": "06",
    "resampled_and_never_used": "06",
    # augmentation and ensembles
    "split_list_freezes_augmentation": "07",
    "validation_gets_training_transforms": "07",
    "flips_and_rotations_of_digits": "07",
    "ensembles_inherently_handle_imbalance": "07",
    "augmentation_and_ensembles_without_code": "07",
    # alternating classes
    "same_first_examples_every_visit": "08",
    "fixed_order_of_classes": "08",
    "batch_norm_on_one_class": "08",
    "new_loader_at_every_visit": "08",
    "rows_of_the_whole_set_on_a_subset": "08",
    "subset_has_no_targets": "08",
    "stratified_split_for_stratified_batches": "08",
    "no_class_iteration": "08",
    "numpy_shuffle_escapes_the_seed": "08",
    "index_array_on_a_map_style_set": "08",
    "length_of_the_loader": "08",
    "collate_bypassed": "08",
    "labels_that_are_not_there": "08",
    # learn2mix
    "strong_convexity_of_a_network": "09",
}
WRITTEN = {lesson[:2]: lesson for lesson in LESSONS}
# Lessons whose authors have marked their defects; an older lesson joins when it does.
MARKED = ("03", "04", "05", "06", "07", "08", "09")


def marks(lesson):
    """The defects that the cells of a lesson are marked with."""
    cells = read(NOTEBOOKS / f"{lesson}.ipynb").cells
    return [cell.metadata["defect"] for cell in cells if "defect" in cell.metadata]


@pytest.mark.parametrize("number", MARKED)
def test_a_lesson_holds_every_defect_that_is_its_own(number):
    own = [key for key, lesson in DEFECTS.items() if lesson == number]
    assert own and sorted(set(marks(WRITTEN[number]))) == sorted(own)


def test_no_defect_stands_twice_or_in_another_lesson_or_under_an_unknown_name():
    found = [(key, number) for number, lesson in WRITTEN.items() for key in set(marks(lesson))]
    assert set(found) <= set(DEFECTS.items())
    assert max(Counter(key for key, _ in found).values()) == 1


@pytest.mark.parametrize("number", MARKED)
def test_a_marked_cell_is_code_that_shows_a_check_fail_or_pass(number):
    cells = read(NOTEBOOKS / f"{WRITTEN[number]}.ipynb").cells
    for cell in cells:
        if "defect" in cell.metadata:
            printed = "".join(output.get("text", "") for output in cell.outputs)
            assert cell.cell_type == "code" and "failed:" in printed, cell.metadata["defect"]


@pytest.mark.parametrize("number", sorted(set(WRITTEN) & set(DEFECTS.values())))
def test_a_lesson_that_marks_any_defect_marks_all_of_its_own(number):
    """So that an author cannot forget to join MARKED."""
    assert not marks(WRITTEN[number]) or number in MARKED
