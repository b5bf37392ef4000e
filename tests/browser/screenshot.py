"""The README's picture of lesson 09's explorer, taken from a real page: `make screenshot`."""

import io
import tempfile
from pathlib import Path

from PIL import Image

from course_lib.classroom.tools import files

from . import lab

PICTURE = files.ROOT / "data" / "images" / "learn2mix_explorer.png"
PRESSES = 6  # of the key that adds 5 % to the mixing rate, so that the setting before is seen too


def take() -> str:
    """Save the picture; what its explorer says of it."""
    with tempfile.TemporaryDirectory() as folder, lab.browser() as chromium:
        course, state = Path(folder, "course"), Path(folder, "state")
        course.mkdir()
        lab.lay_course(course)
        with lab.serve(course, state) as server:
            lesson = lab.Lesson(server, chromium, "work/09_learn2mix.ipynb")
            lesson.run_all()
            explorer = lesson.explorers()[0]
            handle = next(one for one in explorer.controls() if "mixing rate" in one.name)
            for _ in range(PRESSES):
                handle.move()
            handle.node.blur()
            picture = Image.open(io.BytesIO(explorer.node.screenshot()))
            said = explorer.sentence
            lesson.close()
    PICTURE.parent.mkdir(exist_ok=True)
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    return said


if __name__ == "__main__":
    words = take()
    print(
        f"{files.shown(PICTURE)} is taken. The explorer says of it, for the alt text in the README:\n{words}"
    )
