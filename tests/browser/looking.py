"""What tests look for on a page, and what they ask the page itself, in its language."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

#: Notes in ``window.touched`` which pools' rows are written to; the time since something happened is no news.
WATCH = """() => {
  window.touched = new Set();
  const note = ({ target }) => {
    const element = target.closest ? target : target.parentElement;
    const row = element && element.closest("tr");
    if (row && !element.dataset.since) window.touched.add(row.querySelector("a").textContent);
  };
  const everything = { subtree: true, childList: true, characterData: true, attributes: true };
  const rows = document.querySelector("[aria-labelledby=t-pools] tbody");
  new MutationObserver((all) => all.forEach(note)).observe(rows, everything);
}"""

#: Returns the texts whose contrast to what is behind them is less than 4.5, as WCAG AA asks.
FAINT = r"""() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return text.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const part = (value) => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * part(r / 255) + .7152 * part(g / 255) + .0722 * part(b / 255);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] > .9) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility() || element.closest("script, style, noscript")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) faint.push(`${text.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}"""


def row(page: Page, name: str) -> Locator:
    """Return the row of a pool on the overview."""
    return page.get_by_role("table", name="Pools").get_by_role("row").filter(has_text=name)
