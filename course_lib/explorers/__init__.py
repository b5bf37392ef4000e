"""The big explorer of each lesson: a pure `compute`, a pure `draw`, a sentence, wired by `widgets.Explorer`."""
