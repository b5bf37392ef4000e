"""A notebook with every kind of control that `widgets` has, a setting that fails, and a panel that trains nothing.

The lessons' own explorers are sliders mostly; what later ones use is held here to the same tests.
"""

from pathlib import Path

import nbformat

from course_lib.classroom.tools import notebooks

NAME = "every_control.ipynb"
EXPLORER = '''\
from matplotlib.figure import Figure
from course_lib.classroom import live, plots, widgets

def compute(slope, scale, count, kind, flip):
    if kind == "impossible":
        raise ValueError("kind must be possible")
    return slope * scale * count * (-1 if flip else 1) * (2 if kind == "double" else 1)

def draw(result, ghost):
    fig = Figure(figsize=(6, 3))
    fig.subplots().plot([0, 1], [[0, ghost or 0], [result, 0]])
    return fig

def describe(result, previous):
    return f"The slope is {result:.4g}." + ("" if previous is None else f" It was {previous:.4g}.")

widgets.Explorer(
    compute, draw, describe,
    {
        "slope": widgets.slider("slope (units)", 1.0, 0.5, 2.0, 0.1),
        "scale": widgets.log_slider("scale", 0.5, 0.01, 10),
        "count": widgets.slider("count", 3, 1, 9, 1),
        "kind": widgets.choice("kind", ["single", "double", "impossible"]),
        "flip": widgets.toggle("turn it round"),
    },
    table=lambda result: [{"slope": result}],
    title="Does every control answer?",
)
'''  # fmt: skip
AT_THE_END = """\
widgets.Explorer(
    lambda rate: rate, draw, describe, {"rate": widgets.log_slider("rate", 0.01, 1e-4, 1)},
    table=lambda result: [{"slope": result}], continuous=False, title="Does it wait for the end of a drag?",
)
"""
PANEL = '''\
import time
from types import SimpleNamespace
import numpy as np

class Session:
    def __init__(self, values):
        self.values, self.mix = dict(values), np.array([0.7, 0.3])
        self.rounds = self.run()

    def run(self):
        loss = np.array([2.0, 3.0])
        for number in range(100_000):
            time.sleep(0.02)
            loss = loss * (1 - self.values["learning_rate"] / 100)
            self.mix = self.mix + self.values["mixing_rate"] * (loss / loss.sum() - self.mix)
            yield SimpleNamespace(round=number, class_loss=loss, class_count=np.array([7, 3]))

    def set(self, name, value):
        self.values[name] = value

live.LivePanel(Session, ["common", "rare"], title="Does the panel answer?")
'''  # fmt: skip


def lay(folder: Path) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in (EXPLORER, AT_THE_END, PANEL)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebooks.clean(notebook)
    nbformat.write(notebook, folder / NAME)
