"""The training loop of every lesson: rounds of steps, with per-class losses gathered on the way."""

from course_lib.training.batches import SplitLoader
from course_lib.training.loop import RoundStats, fit, pick_device, predict, prepare, rounds
