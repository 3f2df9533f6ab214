"""Zabbix's web frontend, version 6.0, as its users find their way in it. Knows its menus, forms and pages; asserts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from support.browser import Browser

DIALOG = "(//div[@role='dialog'])[last()]"
FOOTER = f"{DIALOG}//div[contains(@class,'overlay-dialogue-footer')]"
MESSAGE = "//output[contains(@class,'msg-good')]"


def button(name: str) -> str:
    """The XPath of a button, to be put behind that of what it is in."""
    return f"//button[normalize-space()='{name}']"


def link(name: str) -> str:
    """The XPath of a link, likewise."""
    return f"//a[normalize-space()='{name}']"


def row(text: str) -> str:
    """The XPath of the rows of a list in which `text` is the whole text of a link or a cell."""
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
        self.browser.click(f"{entry}/ul{link(page)}")
        self.browser.see(f"//h1[.='{page}']")

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

    def latest_data(self, host: str, expect: str) -> dict[str, str]:
        """The last value of each item that the page shows, as it shows it, once there is one for the item `expect`."""
        self.visit(host, "Latest data")

        def values() -> dict[str, str]:
            rows = self.browser.table("//form[@name='items']//table")
            return {row["Name"]: row["Last value"] for row in rows}

        return self.browser.wait_until(lambda: (found := values()).get(expect) and found, f"{expect} has a value")

    def _choose(self, field: str, entry: str) -> None:
        """Type into a field that makes suggestions, and take the one."""
        at = f"{DIALOG}//label[.='{field}']/following::div[contains(@class,'multiselect')][1]"
        self.browser.type(f"{at}//input[@type='text']", entry)
        self.browser.click(f"//*[contains(@class,'multiselect-suggest')]//li[@data-label='{entry}']")
        self.browser.see(f"{at}//li[normalize-space()='{entry}']")
