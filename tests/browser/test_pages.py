"""The exported pages in a real browser: nothing that axe finds, nothing that is cut off, formulas that are drawn."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from course_lib.classroom.tools import pages

NAMES = ["index", *sorted(path.stem for path in pages.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("html")
    assert pages.write(out=out) == 0
    return out


@pytest.fixture
def page(chromium, exported, request):
    context = chromium.new_context(viewport={"width": 1000, "height": 800})
    one = context.new_page()
    one.goto((exported / f"{request.param}.html").as_uri())
    yield one
    context.close()


each_page = pytest.mark.parametrize("page", NAMES, indirect=True)


@each_page
def test_axe_finds_nothing(page):
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@each_page
def test_nothing_wider_than_the_page(page):
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


@each_page
def test_formulas_are_drawn_with_a_height(page):
    heights = page.evaluate(
        "() => [...document.querySelectorAll('math')].map(f => f.getBoundingClientRect().height)"
    )
    assert all(5 < height < 400 for height in heights), heights


def test_axe_would_find_something(chromium):
    context = chromium.new_context()
    page = context.new_page()
    picture = "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>"
    page.set_content(f"<title>x</title><table><tr><th></th></tr></table>{picture}")
    rules = {violation["id"] for violation in Axe().run(page).response["violations"]}
    context.close()
    assert {"image-alt", "empty-table-header", "html-has-lang"} <= rules
