"""A host's dashboard in the web frontend of Zabbix 7.0, as a person sees it in a real browser. Asserts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.browser import Browser

TABS = "//div[contains(@class,'dashboard-navigation-tabs')]"
TIME_FILTER = "//a[contains(@class,'btn-time')]"
BUSY = "//*[contains(@class,'dashboard-grid')]//*[contains(@class,'is-loading')]"

_READ = """
const number = colour => (colour.match(/\\d+/g) || []).map(part => (+part).toString(16).padStart(2, '0')).join('').toUpperCase();
const isCut = element => element.scrollWidth > element.clientWidth;
return Array.from(document.querySelectorAll('.dashboard-grid-widget')).filter(widget => widget.offsetParent).map(widget => {
    const body = widget.querySelector('.dashboard-grid-widget-body'), all = css => Array.from(body.querySelectorAll(css));
    const images = all('img'), first = body.firstElementChild;
    return {
        title: widget.querySelector('h4').innerText,
        text: body.innerText.trim(),
        colour: first ? number(first.style.backgroundColor) : '',
        cells: all('.svg-honeycomb-cell').map(cell => [
            ...Array.from(cell.querySelectorAll('.svg-honeycomb-label')).map(label => label.innerText.trim()),
            cell.style.getPropertyValue('--fill').trim().replace('#', ''),
        ]),
        legend: all('.svg-graph-legend-item').map(item => item.innerText.trim()),
        colours: all('.svg-graph-legend-item').map(item => item.style.getPropertyValue('--color').trim().replace('#', '')),
        lines: all('.svg-graph-line').length,
        thresholds: all('.svg-graph-simple-trigger text').map(text => text.textContent.trim()),
        problems: all('.svg-graph-problem-handle').length,
        rows: all('tbody tr').map(row => Array.from(row.cells).map(cell => cell.innerText.trim())),
        is_graph: images.length > 0,
        is_cut: all('.item-value .value, .svg-graph-legend-item').some(isCut),
        is_filled: body.innerText.trim() !== '' || (images.length > 0 && images.every(image => image.complete && image.naturalWidth)),
    };
});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one widget shows. `cells` are label, value and colour; `is_cut`: a text is too long for its place."""

    title: str
    text: str
    colour: str
    cells: list[list[str]]
    legend: list[str]
    colours: list[str]
    lines: int
    thresholds: list[str]
    problems: int
    rows: list[list[str]]
    is_graph: bool
    is_cut: bool
    is_filled: bool


def page(browser: Browser, host_id: str, name: str, height: int) -> dict[str, Seen]:
    """Return the widgets on a page of the host's dashboard, by title, once all are filled, in a window so high that all are seen."""
    browser.resize(height)
    browser.open(f"zabbix.php?action=host.dashboard.view&hostid={host_id}")
    tab = f"{TABS}//*[normalize-space()='{name}']"
    browser.click_to(tab, f"{TABS}//*[contains(@class,'selected-tab')][.//*[normalize-space()='{name}']]")
    if "ui-tabs-active" in str(browser.see(f"//li[.{TIME_FILTER}]").get_attribute("class")):
        browser.click(TIME_FILTER)  # the form over graphs, which is open at first, takes their place

    def filled() -> dict[str, Seen] | None:
        if browser.all(BUSY):
            return None
        seen = [Seen(**widget) for widget in browser.run(_READ)]
        return {each.title: each for each in seen} if seen and all(each.is_filled for each in seen) else None

    return browser.wait_until(filled, f"every widget of {name} is filled")
