"""The course's table: one `Recipe` per row, by name in `RECIPES`, and as a frame from `table()`."""

from collections.abc import Callable, Iterable
from functools import partial

import pandas as pd

from course_lib.recipes.core import ANY, Recipe, as_is, no_change, no_feedback, no_weight, plain
from course_lib.recipes.parts import (
    adjusted_logits,
    by_example,
    cosine_head,
    deferred_weights,
    easiest_part,
    easy_first,
    effective_number,
    focal,
    follow_example_losses,
    follow_losses,
    follow_losses_with_weights,
    inverse_frequency,
    label_safe,
    ldam,
    logit_adjusted,
    mix_up,
    one_class_at_a_time,
    oversample,
    prior_corrected,
    prioritised,
    smoothed,
    smote,
    tuned,
    undersample,
    uniform_mix,
    weighted_draw,
    with_auxiliary,
)  # fmt: skip

_LEARN2MIX = "Venkatasubramanian & Tarokh 2024, arXiv:2412.16482, Algorithm 1"
_ROWS = (
    Recipe("plain", "first, always", kinds=ANY),
    Recipe("threshold", "a good model and a fixed metric or cost",
           "Elor & Averbuch-Elor 2022, arXiv:2201.08528", decide=tuned),
    Recipe("prior_correction", "classes will be more or less frequent where the model is used",
           "Saerens et al. 2002, doi:10.1162/089976602753284446, eq. 2.4", decide=prior_corrected),
    Recipe("posthoc_adjustment", "balanced error matters, and the network is trained already",
           "Menon et al. 2021, arXiv:2007.07314, eq. 9", decide=adjusted_logits),
    Recipe("class_weights", "the loss has to know that some errors cost more", "King & Zeng 2001",
           weigh=inverse_frequency, kinds=ANY),
    Recipe("effective_number", "inverse frequency is too harsh on a long tail",
           "Cui et al. 2019, arXiv:1901.05555, Proposition 1", weigh=effective_number, kinds=ANY),
    Recipe("focal", "most examples are easy and drown the few hard ones",
           "Lin et al. 2017, arXiv:1708.02002, eq. 4", loss=focal),
    Recipe("prioritised", "one class must not be missed", "the course, lesson 05", weigh=prioritised,
           kinds=ANY),
    Recipe("auxiliary", "one class must not be missed, and weights are not enough",
           "the course, lesson 05", loss=with_auxiliary),
    Recipe("label_smoothing", "labels are noisy or the network too sure",
           "Szegedy et al. 2016, arXiv:1512.00567, section 7", loss=smoothed),
    Recipe("logit_adjustment", "balanced error matters, many classes",
           "Menon et al. 2021, arXiv:2007.07314, eq. 10", loss=logit_adjusted),
    Recipe("ldam", "a long tail and a deep network",
           "Cao et al. 2019, arXiv:1906.07413, section 3.2 and Algorithm 1", loss=ldam,
           feedback=deferred_weights, adapt=cosine_head),
    Recipe("random_oversample", "few examples and no wish to touch the loop", "He & Garcia 2009",
           resample=oversample, batches=uniform_mix, kinds=ANY),
    Recipe("random_undersample", "far more common examples than there is time for", "He & Garcia 2009",
           resample=undersample, batches=uniform_mix, kinds=ANY),
    Recipe("smote", "small tables of numbers, weak learners", "Chawla et al. 2002, arXiv:1106.1813",
           resample=smote, batches=uniform_mix),
    Recipe("augmentation", "changes are known that keep the label", "the course, lesson 07",
           augment=label_safe),
    Recipe("mixup", "a network that memorises its tail", "Zhang et al. 2018, arXiv:1710.09412, eq. 1",
           augment=mix_up),
    Recipe("balanced_ensemble", "undersampling throws too much away", "Liu et al. 2009, EasyEnsemble",
           resample=undersample, batches=uniform_mix, members=5),
    Recipe("uniform", "batches have to show every class", "the obligatory control for learn2mix",
           batches=uniform_mix, kinds=ANY),
    Recipe("weighted_sampler", "what WeightedRandomSampler is meant to do", "torch.utils.data",
           batches=weighted_draw, kinds=ANY),
    Recipe("importance", "a few examples carry most of the gradient",
           "Katharopoulos & Fleuret 2018, arXiv:1803.00942", batches=by_example,
           feedback=follow_example_losses, kinds=ANY),
    Recipe("curriculum", "hard examples are mostly noise",
           "Bengio et al. 2009, doi:10.1145/1553374.1553380", batches=easy_first, feedback=easiest_part,
           kinds=ANY),
    Recipe("alternating", "classes arrive one at a time", "the course, lesson 08",
           batches=one_class_at_a_time, kinds=ANY),
    Recipe("learn2mix", "some classes are harder, and steps are few", _LEARN2MIX, feedback=follow_losses,
           kinds=ANY),
    Recipe("group_dro", "the worst class counts (control for learn2mix)",
           "Sagawa et al. 2020, arXiv:1911.08731, Algorithm 1", feedback=follow_losses_with_weights,
           kinds=ANY),
)  # fmt: skip
RECIPES: dict[str, Recipe] = {row.name: row for row in _ROWS}

_PLACES = {
    "data": ("resample", "augment"),
    "batch": ("batches",),
    "loss": ("weigh", "loss"),
    "decision": ("decide",),
}


def summary(factory: Callable) -> str:
    """What the table says of a factory: the first line of its docstring."""
    doc = (factory.func if isinstance(factory, partial) else factory).__doc__
    return (doc or "").strip().partition("\n")[0]


def table(recipes: Iterable[Recipe] | None = None) -> pd.DataFrame:
    """The course's table, one row per recipe: what it does in each place where imbalance can be acted on."""
    rows = []
    for recipe in RECIPES.values() if recipes is None else recipes:
        row = {"method": recipe.name}
        for place, names in _PLACES.items():
            acts = [
                f
                for f in (getattr(recipe, name) for name in names)
                if f not in (as_is, no_change, no_weight, plain)
            ]
            idle = {"data": "as is", "loss": "1"}.get(place, "")
            row[place] = "; ".join(map(summary, acts)) or idle
        row["feedback"] = "" if recipe.feedback is no_feedback else summary(recipe.feedback)
        if recipe.members > 1:
            row["decision"] = f"average of {recipe.members} members, then {row['decision']}"
        rows.append({**row, "when": recipe.when})
    return pd.DataFrame(rows).set_index("method")
