"""One row of the course's table per `Recipe`: where a method acts (data, batch, loss, decision) and how."""

from course_lib.recipes.core import *  # noqa: F403
from course_lib.recipes.parts import *  # noqa: F403
from course_lib.recipes.table import *  # noqa: F403
