"""Zabbix's web frontend, version 6.0, as its users find their way in it. Knows its menus, forms and pages; asserts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

    from lab.browser import Browser
    from lab.zabbix_stack import ZabbixStack

DIALOG = "(//div[@role='dialog'])[last()]"
FOOTER = f"{DIALOG}//div[contains(@class,'overlay-dialogue-footer')]"
MESSAGE = "//output[contains(@class,'msg-good')]"
WIDGET = "//div[@class='dashboard-grid-widget']"
GRAPH = "//main//img[contains(@src,'chart')]"
FILTER = "//li[contains(@class,'tabfilter-item-label') and contains(@class,'selected')]"
TIME_FILTER = "//a[contains(@class,'btn-time')]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """What a dashboard shows in one place; the image of a graph, or None. `is_cut`: the text is too long for it."""

    title: str
    text: str
    is_cut: bool
    graph: WebElement | None


def complaints(zabbix: ZabbixStack) -> list[str]:
    """Return what PHP has to say against the frontend's pages, such as a graph that it could not draw."""
    # That it starts, and that two requests of one page wrote their session at one moment, says nothing of a page; of the
    # latter 7.0 then makes two more lines.
    usual = (" Development Server (", "Failed to write session data", "/debug/CProfiler.php")
    lines = [line for line in zabbix.web_log.splitlines() if "PHP " in line]
    return [line for line in lines if not any(words in line for words in usual)]


def button(name: str) -> str:
    """Return the XPath of a button, to be put behind that of what it is in."""
    return f"//button[normalize-space()='{name}']"


def link(name: str) -> str:
    """Return the XPath of a link, likewise."""
    return f"//a[normalize-space()='{name}']"


def row(text: str) -> str:
    """Return the XPath of the rows of a list in which `text` is the whole text of a link or a cell."""
    return f"//table[contains(@class,'list-table')]//tr[.//*[self::a or self::td][normalize-space()='{text}']]"


class Frontend:
    """What a logged-in user does in `browser`."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def log_in(self, user: str, password: str) -> None:
        """By the form on the first page."""
        self.browser.open("")
        self.browser.type("//label[.='Username']/following::input[1]", user)
        self.browser.type("//label[.='Password']/following::input[1]", password)
        self.browser.click(button("Sign in"))
        self.browser.see("//nav//a[.='Sign out']")

    def menu(self, section: str, page: str) -> None:
        """Choose a page in the menu at the left."""
        entry = f"//nav//li[a[normalize-space()='{section}']]"
        if "is-expanded" not in str(self.browser.see(entry).get_attribute("class")):
            self.browser.click(f"{entry}/a")
        self.browser.click_to(f"{entry}/ul{link(page)}", f"//h1[.='{page}']")

    def import_template(self, file: Path) -> str:
        """With the Import button of the list of templates, and its defaults; what the frontend says to it."""
        self.menu("Configuration", "Templates")
        self.browser.click(f"//header{button('Import')}")
        self.browser.upload(f"{DIALOG}//input[@type='file']", file)
        self.browser.click(FOOTER + button("Import"))
        self.browser.see(f"{DIALOG}//h4[.='Templates']")  # a preview of what will change
        self.browser.click(FOOTER + button("Import"))
        return self.browser.see(MESSAGE).text

    def create_host(self, name: str, template: str, group: str) -> str:
        """With the Create host button, the template linked in the same form; what the frontend says to it."""
        self.menu("Configuration", "Hosts")
        self.browser.click(f"//header{button('Create host')}")
        self.browser.type(f"{DIALOG}//label[.='Host name']/following::input[1]", name)
        self._choose("Templates", template)
        self._choose("Groups", group)
        self.browser.click(FOOTER + button("Add"))
        return self.browser.see(MESSAGE).text

    def visit(self, host: str, page: str) -> None:
        """Go to a host's Latest data, Problems, Graphs or Dashboards, from the list of the monitored hosts."""
        self.menu("Monitoring", "Hosts")
        self.browser.click(f"{row(host)}//a[starts-with(normalize-space(),'{page}')]")

    def latest_data(self, host: str, until: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Return the last value of each item on the page, by the item's name, once `until` holds for them."""

        def values() -> dict[str, str] | None:
            self.visit(host, "Latest data")
            rows = self.browser.table("//form[@name='items']//table")
            found = {row["Name"]: row["Last value"] for row in rows if "Last value" in row}
            return found if until(found) else None

        return self.browser.wait_until(values, "the values are there")

    def dashboard(self, host: str, page: str) -> dict[str, Widget]:
        """Return the widgets on a page of the host's dashboard, by title, once all are filled."""
        self.visit(host, "Dashboards")
        self.fold_time_filter()
        self.browser.click(f"//ul[contains(@class,'sortable-list')]//*[normalize-space()='{page}']")
        self.browser.see(f"//*[contains(@class,'selected-tab')][normalize-space()='{page}']")
        return self.browser.wait_until(self._widgets, "every widget is filled")

    def graphs(self, host: str) -> list[WebElement]:
        """Return the images of all graphs of the host, loaded."""
        self.visit(host, "Graphs")
        self.fold_time_filter()

        def images() -> list[WebElement] | None:
            found = self.browser.all(GRAPH)
            return found if all(self.browser.is_loaded(image) for image in found) else None

        return self.browser.wait_until(images, "every graph is drawn")

    def problems(self, host: str, at_least: int) -> list[dict[str, str]]:
        """Return the host's rows in the list of problems, by head of column, once there are so many."""

        def rows() -> list[dict[str, str]] | None:
            self.menu("Monitoring", "Problems")
            found = [row for row in self.browser.table("//form[@name='problem']//table") if row.get("Host") == host]
            return found if len(found) >= at_least else None

        return self.browser.wait_until(rows, "the problems are listed")

    def show_operational_data(self) -> None:
        """Let the list of problems have a column of it, by its filter; as shipped it has none."""
        self.menu("Monitoring", "Problems")
        if "expanded" not in str(self.browser.see(FILTER).get_attribute("class")):
            self.browser.click(f"{FILTER}//a")
        self.browser.click("//label[.='Separately']")
        self.browser.click(button("Apply"))
        self.browser.see("//form[@name='problem']//th[.='Operational data']")
        self.fold_filter()

    def event(self, problem: str) -> dict[str, str]:
        """Return the details of a problem's event, to which its time in the list of problems leads."""
        self.menu("Monitoring", "Problems")
        self.browser.click(f"{row(problem)}/td[contains(@class,'timeline-date')]/a")
        self.browser.see("//h1[.='Event details']")
        return dict(self.browser.rows("//table[.//td[.='Operational data']]"))

    def fold_time_filter(self) -> None:
        """Let the form over graphs, which is open at first, not take their place."""
        tab = f"//li[.{TIME_FILTER}]"
        if "ui-tabs-active" in str(self.browser.see(tab).get_attribute("class")):
            self.browser.click(TIME_FILTER)

    def fold_filter(self) -> None:
        """Let the form over Latest data, which is open at first, not take the place of the list."""
        if "expanded" in str(self.browser.see(FILTER).get_attribute("class")):
            self.browser.click(f"{FILTER}//a")
        self.browser.see(f"{FILTER}[not(contains(@class,'expanded'))]")

    def _widgets(self) -> dict[str, Widget] | None:
        """None while one is empty."""
        if self.browser.all("//*[contains(@class,'dashboard-grid')]//*[contains(@class,'is-loading')]"):
            return None
        widgets = [self._widget(place) for place in self.browser.all(WIDGET)]
        is_filled = widgets and all(w.text or (w.graph and self.browser.is_loaded(w.graph)) for w in widgets)
        return {widget.title: widget for widget in widgets} if is_filled else None

    def _widget(self, place: WebElement) -> Widget:
        script = """
            const content = arguments[0].querySelector('.dashboard-grid-widget-content');
            const texts = Array.from(content.querySelectorAll('.type-text .value'));
            const isCut = texts.some(text => text.scrollWidth > text.clientWidth);
            return [arguments[0].querySelector('h4').innerText, content.innerText.trim(), isCut, content.querySelector('img')];
        """
        title, text, is_cut, graph = self.browser.run(script, place)
        return Widget(title=title, text=text, is_cut=is_cut, graph=graph)

    def _choose(self, field: str, entry: str) -> None:
        """Type into a field that makes suggestions, and take the one."""
        at = f"{DIALOG}//label[.='{field}']/following::div[contains(@class,'multiselect')][1]"
        self.browser.type(f"{at}//input[@type='text']", entry)
        self.browser.click(f"//*[contains(@class,'multiselect-suggest')]//li[@data-label='{entry}']")
        self.browser.see(f"{at}//li[normalize-space()='{entry}']")
