"""JupyterLab in a real browser, used as a student uses it: menus, keys, and what the page shows.

with serve(folder) as server, browser() as chromium:
    lesson = Lesson(server, chromium, "work/01_imbalance.ipynb")
    lesson.run_all()
    for card in lesson.cards():
        ...
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator, TimeoutError, sync_playwright

from course_lib.classroom.tools import files, notebooks
from course_lib.classroom.tools.lab import lay_copies

PATIENCE = 120  # seconds; the machine may be busy with other tests
VIEW = {"width": 1280, "height": 900}
WIDGET = notebooks.WIDGET
# Nothing that a container lacks, and no calls home.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
]
# What JupyterLab itself writes to the console without anything being wrong.
NOISE: tuple[str, ...] = ()
# What stands where a widget ought to be.
NO_WIDGET = re.compile(
    r"<(?:Explorer|LivePanel)\b|\b(?:Explorer|LivePanel|[VH]Box|FloatSlider|IntSlider|HTML)\(|"
    r"Error (?:displaying|creating) widget|Loading widget|Failed to load model|Sliders do not work here"
)


def find_browser() -> str | None:
    """Chromium, or a browser built from it, on the path."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield chromium
        chromium.close()


# ---- the server -------------------------------------------------------------------------------------------


@dataclass
class Server:
    url: str
    token: str
    log: Path

    def ask(self, path: str, method: str = "GET"):
        """The answer of JupyterLab's own interface."""
        request = urllib.request.Request(
            f"{self.url}/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def stop_kernels(self) -> None:
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", "DELETE")


@contextlib.contextmanager
def serve(folder: Path, state: Path) -> Iterator[Server]:
    """JupyterLab over `folder` on a free port of this machine; settings and caches of its own in `state`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = state / "settings"
    news = settings / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": true}')
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
    }  # fmt: skip
    token, log = "course", state / "server.log"
    options = {
        "ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "ServerApp.port_retries": 0,
        "ServerApp.root_dir": folder, "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,  # the page's notebook can be read as data
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    # What the tests' own conftest sets, a student's kernel does not have.
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MPLBACKEND")
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env={
                **inherited,
                **{name: str(state / place) for name, place in places.items()},
                "JUPYTER_PREFER_ENV_PATH": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", token, log)
    try:
        _await_answer(server, process)
        yield server
        with contextlib.suppress(OSError):
            server.stop_kernels()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await_answer(server: Server, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            server.ask("api/status")
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"JupyterLab does not answer:\n{server.log.read_text()[-3000:]}") from None
            time.sleep(0.1)


def lay_course(folder: Path) -> None:
    """The course as `make lab` shows it, in `folder`: the student's copies in work/, beside what they link to."""
    for name in ("README.md", "course_lib", "data", "notebooks"):
        if (files.ROOT / name).is_dir():
            shutil.copytree(
                files.ROOT / name, folder / name, ignore=shutil.ignore_patterns("downloads", "__pycache__")
            )
        else:
            shutil.copy(files.ROOT / name, folder / name)
    lay_copies(files.ROOT / "notebooks", folder / "work")


# ---- a lesson ---------------------------------------------------------------------------------------------

CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.map((cell, index) => {
  const shown = cell.node.querySelector('.jp-Cell-outputWrapper');
  return {...cell.model.toJSON(), index, shown: shown ? shown.textContent : '',
          widgets: cell.node.querySelectorAll('.jp-OutputArea .jupyter-widgets').length}; })"""
# Run All sends every cell at once, so what is asked of the kernel next is answered after the last of them. (The stars
# beside the cells say nothing: JupyterLab takes them all away at the first error, also at one that is meant.)
WATCH = """() => { window.courseRan = false; (async () => {
  const {content, sessionContext} = jupyterapp.shell.currentWidget;
  const running = cell => cell.model.type === 'code' && cell.model.executionState === 'running';
  while (!content.widgets.some(running)) await new Promise(done => setTimeout(done, 20));
  await sessionContext.session.kernel.requestExecute({code: '', silent: true}).done;
  window.courseRan = true; })(); }"""
# In the page, so that nothing of the test's own time is counted: from the key to the frame with the new picture.
TIMER = """card => {
  const picture = () => card.querySelector('img:not([alt=""])');
  const again = card.courseTimes; card.courseTimes = []; if (again) return;
  let pressed = null, before = null;
  card.addEventListener('keydown', () => { pressed = performance.now(); before = picture().src; }, true);
  new MutationObserver(() => {
    const now = picture();
    if (pressed === null || !now || now.src === before) return;
    const since = pressed; pressed = null;
    now.decode().then(() => requestAnimationFrame(() => card.courseTimes.push(performance.now() - since)));
  }).observe(card, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']}); }"""


class Lesson:
    """A notebook in a tab of its own, its kernel started."""

    def __init__(self, server: Server, chromium: Browser, path: str) -> None:
        self.server, self.path = server, path
        self.context = chromium.new_context(viewport=VIEW)
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.complaints: list[str] = []  # of the page, in the order in which they came
        self.page.on("console", lambda message: self._heard(message.type, message.text, message.location))
        self.page.on("pageerror", lambda error: self._heard("error", str(error), {}))
        self.page.goto(f"{server.url}/lab/tree/{path}?token={server.token}&reset")
        # Before this the kernel is not there, and a run would be lost.
        self.status("| Idle").wait_for()

    def _heard(self, kind: str, text: str, location: dict) -> None:
        if kind == "error" and not any(re.search(noise, text) for noise in NOISE):
            self.complaints.append(f"{text[:500]} ({location.get('url', '')[:200]})")

    # Text is asked for as `text_content`: JupyterLab leaves cells out of view unrendered, and `inner_text` empty.

    def status(self, text: str) -> Locator:
        return self.page.locator("#jp-main-statusbar").get_by_text(text)

    def close(self) -> None:
        self.context.close()
        self.server.stop_kernels()

    def run_all(self) -> None:
        """By the menu; returns when no cell waits any more."""
        self.page.evaluate(WATCH)
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
        self.page.wait_for_function("() => window.courseRan", timeout=3000 * PATIENCE)
        self.status("| Idle").wait_for()
        with contextlib.suppress(TimeoutError):  # a widget's code is fetched when the first one is shown
            self.page.wait_for_function(
                "() => !document.querySelector('.jp-Notebook').textContent.includes('Loading widget')",
                timeout=5000,
            )

    def save(self) -> None:
        """As Ctrl+S does; returns when the server has written it."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.context.save()")

    def cells(self) -> list[dict]:
        """Every cell as nbformat has it, and `shown`, the text of its output on the page, and `widgets`, how many."""
        return self.page.evaluate(CELLS)

    def new_cell(self, source: str) -> Locator:
        """A cell below the last one, written by keyboard and not yet run: its node."""
        page, last = self.page, self.page.locator(".jp-Notebook .jp-Cell").last
        last.locator(".jp-InputPrompt").click()
        page.keyboard.press("Escape")
        page.keyboard.press("b")
        page.wait_for_function(
            "count => document.querySelectorAll('.jp-Notebook .jp-Cell').length > count",
            arg=page.locator(".jp-Notebook .jp-Cell").count() - 1,
        )
        page.keyboard.press("Enter")
        page.keyboard.insert_text(source)
        return page.locator(".jp-Notebook .jp-Cell.jp-mod-active")

    def theme(self, name: str) -> None:
        """JupyterLab Light or JupyterLab Dark."""
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        light = "false" if "Dark" in name else "true"
        self.page.locator(f'body[data-jp-theme-name="{name}"][data-jp-theme-light="{light}"]').wait_for(
            state="attached"
        )
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def cards(self) -> list["Card"]:
        """The explorers and panels on the page, in order."""
        found = self.page.locator(".jp-OutputArea .course-card")
        return [Card(self, found.nth(number)) for number in range(found.count())]

    def explorers(self) -> list["Card"]:
        return [card for card in self.cards() if not card.is_panel]

    def panels(self) -> list["Card"]:
        return [card for card in self.cards() if card.is_panel]


# ---- an explorer or a panel -------------------------------------------------------------------------------

CONTROLS = "[role=slider], select, input, textarea, button"
STEPS = {"ArrowRight": "ArrowLeft", "ArrowDown": "ArrowUp", "Space": "Space"}


class Card:
    """Controls, a picture and a sentence, by keyboard and as seen."""

    def __init__(self, lesson: Lesson, node: Locator) -> None:
        self.lesson, self.node, self.page = lesson, node, lesson.page
        self.title = node.locator("[role=heading]").first.text_content()
        self.is_panel = node.locator("button", has_text="Start").count() > 0
        self.picture = node.locator('img:not([alt=""])').first

    def __repr__(self) -> str:
        return self.title

    def controls(self) -> list["Handle"]:
        """All that changes the setting; buttons are asked for by name."""
        found = self.node.locator("[role=slider], select, input, textarea, .widget-toggle-button").all()
        return [Handle(self, one) for one in found if one.text_content() != "Numbers as a table"]

    def button(self, name: str) -> Locator:
        return self.node.get_by_role("button", name=name, exact=True)

    def press(self, name: str) -> None:
        """A button, by keyboard."""
        self.button(name).focus()
        self.page.keyboard.press("Enter")

    def reset(self) -> None:
        """Of an explorer: back to its first setting; the picture may be the first already."""
        self.press("Reset")
        self.settle()

    def settle(self) -> None:
        """Until the kernel has answered all that the page sent: the table, asked for last, comes and goes."""
        for state in ("attached", "detached"):
            self.press("Numbers as a table")
            self.node.locator("td").first.wait_for(state=state)

    @property
    def src(self) -> str:
        return self.picture.get_attribute("src")

    @property
    def alt(self) -> str:
        return self.picture.get_attribute("alt")

    @property
    def sentence(self) -> str:
        """What a screen reader is told: the text of the live region."""
        return self.node.locator("[aria-live=polite]").first.text_content().strip()

    @property
    def values(self) -> list[str]:
        return [handle.value for handle in self.controls()]

    def alerts(self) -> list[str]:
        return [one.text_content() for one in self.node.locator("[role=alert]").all()]

    def await_picture(self, other_than: str) -> None:
        """Until a picture that differs is there and whole, and nothing is being computed."""
        self.page.wait_for_function(
            """([card, before]) => {
              const now = card.querySelector('img:not([alt=""])');
              return now && now.src !== before && now.complete && now.naturalWidth > 0
                && !card.querySelector('.course-busy'); }""",
            arg=[self.node.element_handle(), other_than],
        )

    def training(self, least: int = 0) -> int:
        """Of a panel: wait until it trains and `least` that round is done; the round."""
        return self._state("training", least)

    def resting(self, least: int = 0) -> int:
        """Of a panel: wait until it is paused, and sentence and picture tell of the same round; the round."""
        return self._state("paused", least)

    def ready(self) -> None:
        """Of a panel: wait until nothing is trained."""
        self._state("ready", 0)

    def _state(self, word: str, least: int) -> int:
        found = self.page.wait_for_function(
            """([card, word, least]) => {
              const state = card.querySelector('.course-status').textContent.match(/round (\\d+) · (\\w+)/);
              if (!state || state[2] !== word || Number(state[1]) < least) return null;
              const told = [card.querySelector('.course-sentence').textContent,
                            card.querySelector('img:not([alt=""])').alt];
              const sign = word === 'paused' ? `round ${state[1]} ` : word === 'ready' ? 'Nothing to see yet' : '';
              return told.every(text => text.includes(sign)) ? {round: Number(state[1])} : null; }""",
            arg=[self.node.element_handle(), word, least],
        )
        return found.json_value()["round"]

    def time_keys(self) -> None:
        """From now on, keep the time from key to picture."""
        self.node.evaluate(TIMER)

    def times(self, count: int) -> list[float]:
        """Milliseconds from key to picture, of `count` keys since `time_keys`, once all of them are known."""
        found = self.page.wait_for_function(
            "([card, count]) => card.courseTimes.length >= count && card.courseTimes",
            arg=[self.node.element_handle(), count],
        )
        return found.json_value()


class Handle:
    """One control and the key that moves it."""

    def __init__(self, card: Card, node: Locator) -> None:
        self.card, self.node = card, node
        self.kind = node.evaluate(
            "node => node.getAttribute('role') || node.type || node.tagName.toLowerCase()"
        )
        self.name = node.evaluate(
            """node => node.getAttribute('aria-label')
              || (node.labels && node.labels[0] && node.labels[0].textContent) || node.textContent"""
        ).strip()

    @property
    def value(self) -> str:
        return self.node.evaluate(
            """node => node.getAttribute('role') === 'slider' ? node.getAttribute('aria-valuetext')
              : node.type === 'checkbox' ? String(node.checked)
              : node.getAttribute('aria-pressed') || node.value"""
        )

    def key(self) -> str:
        """The key that moves it on, or back from its end."""
        if self.kind == "slider":
            return "ArrowLeft" if self.at_end("End") else "ArrowRight"
        if self.kind == "select-one":
            return "ArrowDown" if self.node.evaluate("n => n.selectedIndex < n.length - 1") else "ArrowUp"
        if self.kind in ("checkbox", "button", "submit"):
            return "Space"
        raise ValueError(f"{self.card}: no key is known for a control of kind {self.kind!r}")

    def at_end(self, key: str) -> bool:
        """Whether Home or End would leave a slider where it is. By its place: aria-valuenow is rounded to a tenth."""
        place = self.node.evaluate("node => node.parentElement.style.transform")
        shift = float(re.search(r"translate\(([-\d.e]+)%", place)[1])  # from -1000 at the low end to 0
        return abs(shift - {"Home": -1000, "End": 0}[key]) < 1e-3

    def move(self, key: str | None = None) -> None:
        """One key press, and wait for its picture."""
        before, key = self.card.src, key or self.key()
        self.node.focus()
        self.card.page.keyboard.press(key)
        self.card.await_picture(before)
