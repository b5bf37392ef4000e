// What ipywidgets leaves out of a page, added to the card that this part stands in: a name for a slider's handle and
// for its number, the value of a log slider (ipywidgets tells its exponent), live regions, and arrow keys that stay in
// a list (JupyterLab takes them to move between cells). And a number that the focus merely passed is no number typed
// (0.56 for 0.561).

function name(card) {
  for (const handle of card.querySelectorAll("[role=slider]")) {
    const row = handle.closest(".widget-inline-hbox");
    const label = row.querySelector("label");
    const number = row.querySelector(".widget-readout");
    if (label) handle.setAttribute("aria-label", label.textContent);
    if (!number || handle.courseTold) continue;
    number.setAttribute("role", "textbox");
    if (label) number.setAttribute("aria-label", `${label.textContent}, as a number`);
    const tell = () => {
      if (handle.getAttribute("aria-valuetext") !== number.textContent)
        handle.setAttribute("aria-valuetext", number.textContent);
    };
    handle.courseTold = new MutationObserver(tell);
    handle.courseTold.observe(handle, { attributes: true, attributeFilter: ["aria-valuetext"] });
    tell();
  }
  for (const list of card.querySelectorAll("select")) list.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const region of card.querySelectorAll(".course-live .widget-html-content")) {
    region.setAttribute("aria-live", "polite");
    region.setAttribute("aria-atomic", "true");
  }
}

function passBy(card) {
  const isNumber = (event) => event.target.matches(".widget-readout");
  card.addEventListener("focus", (event) => {
    if (isNumber(event)) event.target.courseText = event.target.textContent;
  }, true);
  card.addEventListener("blur", (event) => {
    if (isNumber(event) && event.target.courseText === event.target.textContent) event.stopPropagation();
  }, true);
}

export default {
  render({ el }) {
    const observer = new MutationObserver(() => name(el.closest(".course-card")));
    let waiting = null;
    const begin = () => {
      const card = el.closest(".course-card"); // there is none until the card is in the page
      if (!card) { waiting = setTimeout(begin, 20); return; }
      name(card);
      passBy(card);
      observer.observe(card, { childList: true, subtree: true });
    };
    begin();
    return () => { clearTimeout(waiting); observer.disconnect(); };
  },
};
