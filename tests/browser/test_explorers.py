"""Every control of every explorer by keyboard: the picture follows, the sentence says what changed, Reset goes back."""

import io

import numpy as np
import pytest
from PIL import Image

# WCAG's contrast of each text in a card to the ground that it stands on; the worst one and its text.
CONTRAST = """card => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(c => { c /= 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
  const ground = node => { for (; node; node = node.parentElement) {
    const colour = channels(getComputedStyle(node).backgroundColor);
    if (colour.length === 3 || colour[3] > 0.99) return colour; }
    return [255, 255, 255]; };
  const worst = {ratio: 99, text: ''};
  for (const node of card.querySelectorAll('*')) {
    const text = [...node.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    if (!text || node.tagName === 'STYLE' || !node.offsetParent) continue;
    const [a, b] = [light(channels(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) { worst.ratio = ratio; worst.text = text; } }
  return worst; }"""
# Long enough for the way from one card's first control to its last.
FAR = 60


@pytest.fixture
def explorers(lesson):
    found = lesson.explorers()
    if not found:
        pytest.skip("no explorer in this lesson")
    return found


def test_every_control_moves_the_picture_and_the_sentence(explorers):
    for explorer in explorers:
        assert explorer.sentence and explorer.controls(), explorer
        for handle in explorer.controls():
            said, at = explorer.sentence, handle.value
            handle.move()
            where = f"{explorer}: {handle.name}"
            assert handle.value != at, where
            assert explorer.sentence and explorer.sentence != said, f"{where}: the sentence stays: {said}"
            assert explorer.alt, where
            assert explorer.alerts() == [], where
        explorer.reset()


def test_reset_goes_back_to_the_first_setting(explorers):
    for explorer in explorers:
        explorer.controls()[0].move()
        explorer.reset()  # another test may have gone away and come back, and the sentence would tell of it
        first = explorer.values, explorer.sentence
        for handle in explorer.controls():
            handle.move()
        assert explorer.values != first[0]
        explorer.reset()
        explorer.settle()  # a slider set to what it cannot show would answer with a move of its own
        assert (explorer.values, explorer.sentence) == first, explorer
        assert explorer.alerts() == [], explorer


def test_passing_by_changes_nothing(explorers):
    """Tab goes through every control and every number; nothing moves for it, least of all to a rounded number."""
    for explorer in explorers:
        handles = [handle for handle in explorer.controls() if handle.kind == "slider"]
        for handle in handles:
            handle.move()
        shown, said = explorer.src, explorer.sentence
        handles[0].node.focus()
        for _ in range(2 * len(handles) + 1):
            explorer.page.keyboard.press("Tab")
        explorer.settle()
        assert (explorer.src, explorer.sentence) == (shown, said), explorer
        explorer.reset()


def test_reset_shows_the_first_picture(every_control):
    """To the last pixel; lesson 00 keeps a trail of what was visited on purpose."""
    explorer = every_control.explorers()[0]
    explorer.controls()[0].move()
    explorer.reset()
    first = explorer.src
    for handle in explorer.controls():
        handle.move()
    explorer.reset()
    explorer.settle()
    assert explorer.src == first


def test_a_setting_that_fails_says_so_and_reset_mends_it(every_control):
    explorer = every_control.explorers()[0]
    shown, said = explorer.src, explorer.sentence
    explorer.node.locator("select").focus()
    explorer.page.keyboard.press("End")
    explorer.node.locator("[role=alert]").wait_for()
    assert "kind must be possible" in explorer.alerts()[0]
    assert (explorer.src, explorer.sentence) == (shown, said)
    explorer.press("Reset")
    explorer.node.locator("[role=alert]").wait_for(state="detached")


def test_both_ends_of_every_control_can_be_shown(every_control):
    """Home and End are keys of a slider. What each lesson shows there: tests/lessons/test_all_explorers.py."""
    for explorer in every_control.explorers():
        for handle in explorer.controls():
            if handle.kind != "slider":
                continue
            for key in ("End", "Home"):
                if not handle.at_end(key):
                    handle.move(key)
                assert explorer.alerts() == [], f"{explorer}: {handle.name} at {handle.value}"
            explorer.reset()


def test_the_numbers_are_there_as_a_table(explorers):
    for explorer in explorers:
        explorer.press("Numbers as a table")
        explorer.node.locator("td").first.wait_for()
        assert explorer.node.locator("th").count() > 0
        explorer.press("Numbers as a table")
        explorer.node.locator("td").first.wait_for(state="detached")


def pixels(page, box, margin=6):
    clip = {
        "x": max(0, box["x"] - margin), "y": max(0, box["y"] - margin),
        "width": box["width"] + 2 * margin, "height": box["height"] + 2 * margin,
    }  # fmt: skip
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"), dtype=int)


def test_tab_reaches_every_control_and_shows_where_it_is(lesson):
    """From the card's cell on, without the mouse; a focus that cannot be seen is as good as none."""
    page = lesson.page
    for card in lesson.cards():
        wanted = card.node.locator("[role=slider], select, input, button").all()
        names = {one.evaluate("(node, number) => node.dataset.courseStop = number", number): one
                 for number, one in enumerate(wanted)}  # fmt: skip
        wanted[0].scroll_into_view_if_needed()
        wanted[0].focus()
        page.keyboard.press("Shift+Tab")  # out of the card, so that its first control is reached by Tab too
        reached, unseen = set(), []
        for _ in range(FAR):
            page.keyboard.press("Tab")
            stop = page.evaluate("() => document.activeElement.dataset.courseStop")
            if stop is None or stop in reached:
                continue
            reached.add(stop)
            box = page.evaluate(
                """() => { const box = document.activeElement.getBoundingClientRect();
                   return {x: box.x, y: box.y, width: box.width, height: box.height}; }"""
            )
            focused = pixels(page, box)
            page.evaluate("() => { window.courseWas = document.activeElement; courseWas.blur(); }")
            if np.abs(pixels(page, box) - focused).max() < 40:
                unseen.append(
                    page.evaluate("() => courseWas.getAttribute('aria-label') || courseWas.textContent")
                )
            page.evaluate("() => window.courseWas.focus({focusVisible: true})")
            if len(reached) == len(names):
                break
        assert len(reached) == len(names), f"{card}: Tab reaches {len(reached)} of {len(names)} controls"
        assert not unseen, f"{card}: no focus is seen on {unseen}"


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_cards_can_be_read_in_both_themes(lesson, theme, tmp_path_factory, request):
    """WCAG AA asks for 4.5. The pictures are kept, to be looked at."""
    lesson.theme(theme)
    folder = tmp_path_factory.getbasetemp() / "themes"
    folder.mkdir(exist_ok=True)
    for number, card in enumerate(lesson.cards()):
        name = f"{request.node.callspec.id}-{number}.png".replace(" ", "_")
        card.node.screenshot(path=folder / name)
        worst = card.node.evaluate(CONTRAST)
        assert worst["ratio"] >= 4.5, f"{card}: {worst}"
