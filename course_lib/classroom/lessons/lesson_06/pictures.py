"""The figure of lesson 06 that follows networks through their training."""

from collections.abc import Mapping, Sequence

import numpy as np

from course_lib.classroom import plots

NEAR = 5  # found of 100 that a way may lack from its best, to be near it


def soonest(found, steps: Sequence[int]) -> int:
    """The first number of steps after which the mean over the parts, found (parts, moments, 2), is near its best."""
    mean = np.asarray(found, dtype=float)[..., -1].mean(0)
    return steps[int(np.argmax(mean >= mean.max() - NEAR))]


def by_steps(found: Mapping[str, Mapping[str, Sequence]], steps: Sequence[int], voted: int) -> None:
    """How many ill people are found after so many steps: a panel per data set, a line per way.

    found  data set -> way -> (training parts, moments, 2): of 100 ill people in the validation and the test part; the
           test part is drawn
    steps  the moments; a data set with fewer moments was trained up to the last of them
    voted  the number of steps that the vote was about, as a dotted line
    """
    fig, axes = plots.plt.subplots(1, len(found), figsize=(5 * len(found), 3.8), sharey=True, squeeze=False)
    said = []
    for ax, (place, ways) in zip(axes[0], found.items(), strict=True):
        means = {way: np.asarray(values, dtype=float)[..., -1].mean(0) for way, values in ways.items()}
        ax.axvline(voted, color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=1.6)
        for mean, style in zip(means.values(), plots.looks(means), strict=True):
            ax.plot(steps[: len(mean)], mean, **style.style)
            best = int(mean.argmax())
            said.append(
                f"{place}, {style.label}: {mean[0]:.0f} after {steps[0]} steps, best {mean[best]:.0f} after "
                f"{steps[best]:,}, {mean[-1]:.0f} after {steps[len(mean) - 1]:,}"
            )
        shown = steps[: max(map(len, means.values()))]
        ax.set_xscale("log")
        ax.set_xticks(shown, [f"{step:,}" for step in shown], fontsize=10)
        ax.minorticks_off()
        near = ", ".join(
            f"{plots.look(way).label} {soonest(ways[way], steps):,}" for way in ("plain", "smote")
        )
        ax.set(xlabel="steps (dotted: the vote)", title=f"{place}: near its best after\n{near}")
        ax.set(ylim=(0, 72))
    axes[0, 0].set_ylabel("ill people found of 100")
    for ax in axes[0]:
        plots.direct_labels(ax)
    plots.show(
        fig, f"Ill people found of 100 at 10 false alarms, mean of the training parts. {'; '.join(said)}."
    )
