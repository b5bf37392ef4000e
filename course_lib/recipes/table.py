"""The course's table: one `Recipe` per row, by name in `RECIPES`, and as a frame from `table()`."""

from collections.abc import Iterable

import pandas as pd

from course_lib.recipes import feedback, parts
from course_lib.recipes.core import ANY, Recipe, as_is, no_change, no_feedback, no_weight, plain
from course_lib.recipes.parameters import said

_LEARN2MIX = "Venkatasubramanian & Tarokh 2024, arXiv:2412.16482, Algorithm 1"
_ROWS = (
    Recipe("plain", "first, always", kinds=ANY),
    Recipe("threshold", "a good model and a fixed metric or cost",
           "Elor & Averbuch-Elor 2022, arXiv:2201.08528", decide=parts.tuned),
    Recipe("em_prior", "classes will be more or less frequent, and nobody knows how much",
           "Saerens et al. 2002, doi:10.1162/089976602753284446, eq. 2.9", decide=parts.em_prior),
    Recipe("prior_correction", "classes will be more or less frequent where the model is used",
           "Saerens et al. 2002, doi:10.1162/089976602753284446, eq. 2.4", decide=parts.prior_corrected),
    Recipe("posthoc_adjustment", "balanced error matters, and the network is trained already",
           "Menon et al. 2021, arXiv:2007.07314, eq. 9", decide=parts.adjusted_logits),
    Recipe("tau_norm", "a long tail, and the network is trained already",
           "Kang et al. 2020, arXiv:1910.09217, eq. 5", decide=parts.tau_normalised),
    Recipe("crt", "features are good and the last layer leans to the common classes",
           "Kang et al. 2020, arXiv:1910.09217, section 4.2", feedback=feedback.retrain_head),
    Recipe("class_weights", "the loss has to know that some errors cost more", "King & Zeng 2001",
           weigh=parts.inverse_frequency, kinds=ANY),
    Recipe("effective_number", "inverse frequency is too harsh on a long tail",
           "Cui et al. 2019, arXiv:1901.05555, Proposition 1", weigh=parts.effective_number, kinds=ANY),
    Recipe("focal", "most examples are easy and drown the few hard ones",
           "Lin et al. 2017, arXiv:1708.02002, eq. 4", loss=parts.focal),
    Recipe("prioritised", "one class must not be missed", "the course, lesson 05", weigh=parts.prioritised,
           kinds=ANY),
    Recipe("auxiliary", "one class must not be missed, and weights are not enough",
           "the course, lesson 05", loss=parts.with_auxiliary),
    Recipe("label_smoothing", "labels are noisy or the network too sure",
           "Szegedy et al. 2016, arXiv:1512.00567, section 7", loss=parts.smoothed),
    Recipe("logit_adjustment", "balanced error matters, many classes",
           "Menon et al. 2021, arXiv:2007.07314, eq. 10", loss=parts.logit_adjusted),
    Recipe("ldam", "a long tail and a deep network",
           "Cao et al. 2019, arXiv:1906.07413, section 3.2 and Algorithm 1", loss=parts.ldam,
           feedback=feedback.deferred_weights, adapt=parts.cosine_head),
    Recipe("random_oversample", "few examples and no wish to touch the loop", "He & Garcia 2009",
           resample=parts.oversample, batches=parts.uniform_mix, kinds=ANY),
    Recipe("random_undersample", "far more common examples than there is time for", "He & Garcia 2009",
           resample=parts.undersample, batches=parts.uniform_mix, kinds=ANY),
    Recipe("smote", "small tables of numbers, weak learners", "Chawla et al. 2002, arXiv:1106.1813",
           resample=parts.smote, batches=parts.uniform_mix),
    Recipe("augmentation", "changes are known that keep the label", "the course, lesson 07",
           augment=parts.label_safe),
    Recipe("mixup", "a network that memorises its tail", "Zhang et al. 2018, arXiv:1710.09412, eq. 1",
           augment=parts.mix_up),
    Recipe("balanced_ensemble", "undersampling throws too much away", "Liu et al. 2009, EasyEnsemble",
           resample=parts.undersample, batches=parts.uniform_mix, members=5),
    Recipe("uniform", "batches have to show every class", "the obligatory control for learn2mix",
           batches=parts.uniform_mix, kinds=ANY),
    Recipe("shuffled", "what every tutorial does; the control for batches of exact counts", "torch.utils.data",
           batches=parts.shuffled, kinds=ANY),
    Recipe("power_mix", "uniform repeats the rare examples too often", "Mikolov et al. 2013, arXiv:1310.4546; "
           "Kang et al. 2020, arXiv:1910.09217, eq. 1", batches=parts.power_mix, kinds=ANY),
    Recipe("progressive_mix", "first features from all data, then every class alike",
           "Kang et al. 2020, arXiv:1910.09217, eq. 2", feedback=feedback.progress_to_uniform, kinds=ANY),
    Recipe("weighted_sampler", "what WeightedRandomSampler is meant to do", "torch.utils.data",
           batches=parts.weighted_draw, kinds=ANY),
    Recipe("importance", "a few examples carry most of the gradient",
           "Katharopoulos & Fleuret 2018, arXiv:1803.00942", batches=parts.by_example,
           feedback=feedback.follow_examples, kinds=ANY),
    Recipe("curriculum", "hard examples are mostly noise",
           "Bengio et al. 2009, doi:10.1145/1553374.1553380", batches=parts.easy_first, feedback=feedback.easiest_part,
           kinds=ANY),
    Recipe("alternating", "classes arrive one at a time", "the course, lesson 08",
           batches=parts.one_class_at_a_time, kinds=ANY),
    Recipe("learn2mix", "some classes are harder, and steps are few", _LEARN2MIX, feedback=feedback.follow_losses,
           kinds=ANY),
    Recipe("group_dro", "the worst class counts (control for learn2mix)",
           "Sagawa et al. 2020, arXiv:1911.08731, Algorithm 1", feedback=feedback.follow_losses_with_weights,
           kinds=ANY),
    Recipe("cdb", "classes that are wrong on validation need more (control for learn2mix)",
           "Sinha et al. 2022, arXiv:2207.14499, CDB-W", feedback=feedback.follow_difficulty),
    Recipe("excess_loss_mix", "only loss that can still fall asks for more data (control for learn2mix)",
           "Xie et al. 2023, arXiv:2305.10429, Algorithm 1", feedback=feedback.follow_excess_losses, kinds=ANY),
)  # fmt: skip
RECIPES: dict[str, Recipe] = {row.name: row for row in _ROWS}

_PLACES = {
    "data": ("resample", "augment"),
    "batch": ("batches",),
    "loss": ("weigh", "loss"),
    "decision": ("decide",),
}


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
            row[place] = "; ".join(map(said, acts)) or idle
        row["feedback"] = "" if recipe.feedback is no_feedback else said(recipe.feedback)
        if recipe.members > 1:
            row["decision"] = f"average of {recipe.members} members, then {row['decision']}"
        rows.append({**row, "when": recipe.when})
    return pd.DataFrame(rows).set_index("method")
