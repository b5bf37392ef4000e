"""Answers handed in to the checks of the lessons, as a class hands them in."""

import pytest

from course_lib.classroom import checks


def refused(key, *given):
    """Why an answer is not right yet: the sentence that the student reads."""
    with pytest.raises(checks.NotYet) as caught:
        checks.require(key, *given)
    return str(caught.value)


def passes(key, *given, times=5):
    """The answer is right, and stays so: most checks draw fresh input every time."""
    for _ in range(times):
        checks.require(key, *given)
