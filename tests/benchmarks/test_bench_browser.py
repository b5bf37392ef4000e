"""From a key press to the new picture on the page, in a real browser, for every explorer; and how long another cell
waits while the live panel trains. Recorded with their aims; nothing is asserted about time.
"""

import itertools
import statistics
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from browser import lab, workbench

PRESSES = 20
LESSONS = sorted(path.name for path in (lab.commands.ROOT / "notebooks").glob("*.ipynb"))
# Lessons whose explorer fits models at every move; the others only compute and draw.
TRAINING = ("09_learn2mix.ipynb",)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(5 * lab.PATIENCE),
    pytest.mark.skipif(lab.find_browser() is None, reason="no Chromium on the path"),
]


@pytest.fixture(scope="module")
def table(request):
    """One line per measurement, printed below each other at the end."""
    lines = []
    yield lines
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\n{'in the browser, milliseconds':<68}{'median':>8}{'largest':>9}   aim")
        for what, times, aim in lines:
            print(f"{what:<68}{statistics.median(times):8.0f}{max(times):9.0f}   {aim}")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Opens a lesson and runs it."""
    folder, opened = tmp_path_factory.mktemp("course"), []
    lab.lay_course(folder)
    workbench.lay(folder / "work")
    with lab.browser() as chromium, lab.serve(folder, tmp_path_factory.mktemp("jupyter")) as server:

        def open_page(name):
            if not opened or opened[-1].path != f"work/{name}":
                while opened:
                    opened.pop().close()
                opened.append(lab.Lesson(server, chromium, f"work/{name}"))
                opened[-1].run_all()
            return opened[-1]

        yield open_page


def presses(explorer):
    """PRESSES handles to move one step, in turn, from their low ends: settings that were not seen before."""
    handles = [handle for handle in explorer.controls() if handle.kind == "slider"]
    for handle in handles:
        if not handle.at_end("Home"):
            handle.move("Home")
    explorer.time_keys()
    for number in range(PRESSES):
        able = [handle for handle in handles if not handle.at_end("End")] or handles
        yield able[number % len(able)]
        explorer.times(number + 1)


@pytest.mark.parametrize("name", [workbench.NAME, *LESSONS])
@pytest.mark.benchmark(group="browser: from key to picture")
def test_key_to_picture(benchmark, page, table, name):
    explorers = page(name).explorers()
    if not explorers:
        pytest.skip("no explorer in this lesson")
    for explorer in explorers:  # the first move of all makes the kernel start a thread
        explorer.controls()[0].move()
    handles = itertools.chain.from_iterable(map(presses, explorers))

    def next_handle():
        return (next(handles),), {}

    benchmark.pedantic(lambda handle: handle.move(), setup=next_handle, rounds=PRESSES * len(explorers))
    for explorer in explorers:
        times = explorer.times(PRESSES)
        aim = "median under 1000" if name in TRAINING else "median under 300, none over 1000"
        benchmark.extra_info[explorer.title] = times
        table.append((f"{name[:2]} · {explorer.title}", times, aim))


@pytest.mark.parametrize("name", ["09_learn2mix.ipynb"])
@pytest.mark.benchmark(group="browser: another cell while the live panel trains")
def test_another_cell_while_training(benchmark, page, table, name):
    lesson = page(name)
    (panel,) = lesson.panels()
    times = []

    def ask():
        if panel.node.locator(".course-status", has_text="training").count() == 0:
            panel.press("Reset")
            panel.ready()
            panel.press("Start")
            panel.training(least=1)
        cell = lesson.new_cell(f"print('answer', 1000 + {len(times)})")
        began = time.perf_counter()
        lesson.page.keyboard.press("Control+Enter")
        cell.get_by_text(f"answer {1000 + len(times)}").wait_for()
        times.append(1000 * (time.perf_counter() - began))

    benchmark.pedantic(ask, rounds=PRESSES)
    benchmark.extra_info["milliseconds"] = times
    table.append(("09 · another cell answers while the panel trains", times, "none over 1000"))
