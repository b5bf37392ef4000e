"""Until the lessons of today have landed: `commands run --force NN` is `notebooks --force NN`."""

import sys

from course_lib.classroom.tools import notebooks

if __name__ == "__main__":
    sys.exit(notebooks.main(sys.argv[2:]))
