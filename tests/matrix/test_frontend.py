"""What a host's dashboard (before 5.2: screen) of the older forms shows in every version's own frontend, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lab.matrix import grouped

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

    from lab.browser import Browser
    from lab.zabbix_stack import ZabbixStack

FIGURES = ("ESTABLISHED", "TIME_WAIT", "CLOSE_WAIT", "SYN_RECV", "SYN_SENT")
FIGURE = "//div[@class='dashboard-grid-widget'][.//h4[.='{}']]//div[contains(@class,'item-value-content')]"
GRAPH = "//main//img[contains(@src,'chart')]"
GRAPHS = 4  # on the first page


def page(zabbix: ZabbixStack, host: str) -> str:
    """Where the host's dashboard is."""
    (known,) = zabbix.api.host.get(filter={"host": host}, output=["hostid"])
    place = "zabbix.php?action=host.dashboard.view&hostid=" if zabbix.version >= (5, 2) else "host_screen.php?hostid="
    return f"{place}{known['hostid']}"


def colour(zabbix: ZabbixStack, host: str, key: str) -> str:
    """Return that of an item in the graph of all states."""
    (item,) = zabbix.api.item.get(host=host, filter={"key_": key}, output=["itemid"])
    (graph,) = zabbix.api.graph.get(
        itemids=item["itemid"], filter={"name": "TCP: States"}, selectGraphItems=["itemid", "color"]
    )
    return next(str(line["color"]) for line in graph["gitems"] if line["itemid"] == item["itemid"])


@pytest.mark.parametrize("imported", grouped("3.4", "6.0"), indirect=True)  # today's: test_boards.py
def test_the_dashboard_shows_the_story(imported: Any, host: str, told: dict[str, str], browser: Browser) -> None:
    """Every graph is drawn, every figure is the last value, and the page has no error to show."""
    zabbix = imported.zabbix
    browser.open(page(zabbix, host))

    def graphs() -> list[WebElement] | None:
        images = browser.all(GRAPH)
        return images if len(images) >= GRAPHS and all(browser.is_loaded(image) for image in images) else None

    images = browser.wait_until(graphs, "every graph is drawn")
    for state, share in (("ESTABLISHED", 0.6), ("CLOSE_WAIT", 0.35)):  # the whole hour, and two thirds of it
        wanted = colour(zabbix, host, f"tcp.status[{state}]")
        assert max(browser.drawn(image, wanted) for image in images) > share, state
    if imported.pair.format == "6.0":  # an older file has no figures
        shown = {state: "".join(browser.see(FIGURE.format(state)).text.split()) for state in FIGURES}
        assert {state: float(text) for state, text in shown.items()} == {
            state: float(told[f"tcp.status[{state}]"]) for state in FIGURES
        }
    assert [error.text for error in browser.all("//*[contains(@class,'msg-bad')]")] == []


@pytest.mark.usefixtures("told")
def test_what_goes_wrong_is_a_problem(zabbix: ZabbixStack, host: str) -> None:
    """The story raises the same three problems in every version, and no other."""
    (known,) = zabbix.api.host.get(filter={"host": host}, output=["hostid"])

    def problems() -> list[str]:
        found = zabbix.api.trigger.get(
            hostids=known["hostid"], filter={"value": 1}, output=["description"], expandDescription=True
        )
        return sorted(trigger["description"] for trigger in found)

    expected = [
        "TCP port 8080 http-alt: Accept queue is full",
        "TCP port 8080 http-alt: Many connections in CLOSE_WAIT",
        "TCP: Many connections in CLOSE_WAIT",
    ]
    zabbix.wait_until(lambda: len(problems()) >= len(expected), "the problems are there", 60)
    assert problems() == expected
