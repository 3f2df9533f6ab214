"""A real Chromium without a window, in which a test clicks and types. The only importer of selenium. Needs root.

Whatever is asked of a page waits until the page is that far. Browser and driver live exactly as long as the context, in a
cage (see program.py) and with a profile of their own; in a network namespace that has nothing but loopback, as the one
that makes them should be, they can reach nothing else.
"""

from __future__ import annotations

import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.file_detector import UselessFileDetector
from selenium.webdriver.support.wait import WebDriverWait

from lab.program import Program
from lab.zabbix_stack import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement
    from typing_extensions import Self

T = TypeVar("T")

WIDTH, HEIGHT = 1600, 1000
PATIENCE_S = 60  # a page of a busy machine; only a test that fails waits so long
LOST_S = 15  # after which a click that has led nowhere is taken for lost
FLAGS = (
    "--headless",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",  # in a container /dev/shm may be too small for a page
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--lang=en-GB",
    f"--window-size={WIDTH},{HEIGHT}",
)
# What a page that is still changing does to whoever touches it: to be tried again.
_UNSETTLED = (
    NoSuchElementException,
    StaleElementReferenceException,
    ElementClickInterceptedException,
    ElementNotInteractableException,
)

_DRAWN = """
const [image, wanted] = arguments, {naturalWidth: width, naturalHeight: height} = image;
const context = Object.assign(document.createElement('canvas'), {width, height}).getContext('2d');
context.drawImage(image, 0, 0);
const pixels = context.getImageData(0, 0, width, height).data, found = new Set();
for (let at = 0; at < pixels.length; at += 4)
    if (wanted.every((value, n) => Math.abs(pixels[at + n] - value) < 32)) found.add(at / 4 % width);
return found.size / width;
"""


class Browser:
    """A context manager: one tab, of which `address` is the site. Elements are named by XPath, the first visible counts."""

    def __init__(self, directory: Path, address: str) -> None:
        self._directory = directory
        self._address = address
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            (port,) = free_ports(1)
            self._directory.mkdir()
            command = ["chromedriver", f"--port={port}"]
            environment = {"HOME": str(self._directory), "TMPDIR": str(self._directory)}
            driver = Program("chromedriver", command, self._directory / "log", environment=environment)
            stack.callback(driver.kill)
            url = f"http://127.0.0.1:{port}"
            driver.wait_until(lambda: _is_ready(url), "it is ready")
            self._driver = stack.enter_context(
                Remote(url, options=self._options(), file_detector=UselessFileDetector())
            )
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def open(self, path: str) -> None:
        """Go to a page of the site."""
        self._driver.get(self._address + path)

    def see(self, xpath: str) -> WebElement:
        """Return the first visible element at `xpath`, as soon as there is one."""
        return self.wait_until(lambda: self._visible(xpath), f"{xpath} is seen")

    def click(self, xpath: str) -> None:
        """Click on it, as soon as it can be clicked on."""

        def click_on_it() -> bool:
            self._visible(xpath).click()
            return True

        self.wait_until(click_on_it, f"{xpath} can be clicked on")

    def click_to(self, xpath: str, then: str) -> None:
        """Click on it until `then` is seen: on a busy machine a click may be lost, and a person clicks again."""
        self.click(xpath)
        try:
            self.wait_until(lambda: self._visible(then), f"{then} is seen", LOST_S)
        except AssertionError:
            self.click(xpath)
            self.see(then)

    def type(self, xpath: str, text: str) -> None:
        """Type `text` into a field in place of what is there."""

        def type_it() -> bool:
            field = self._visible(xpath)
            field.clear()
            field.send_keys(text)
            return True

        self.wait_until(type_it, f"{xpath} can be typed into")

    def upload(self, xpath: str, file: Path) -> None:
        """Choose `file` in a file field."""
        self.wait_until(lambda: self._driver.find_element(By.XPATH, xpath), f"{xpath} is there").send_keys(str(file))

    def all(self, xpath: str) -> list[WebElement]:
        """Every element there is at `xpath` now."""
        return self._driver.find_elements(By.XPATH, xpath)

    def is_loaded(self, image: WebElement) -> bool:
        """Whether it is there, and an image."""
        return bool(self.run("return arguments[0].complete && arguments[0].naturalWidth", image))

    def drawn(self, image: WebElement, colour: str) -> float:
        """In which share of a loaded image's width there is `colour` (RRGGBB), or what it is when laid on white thinly."""
        wanted = [int(colour[at : at + 2], 16) for at in (0, 2, 4)]
        return float(self.run(_DRAWN, image, wanted))

    def table(self, xpath: str) -> list[dict[str, str]]:
        """Return the rows of a table: the text of each cell by that of its head."""
        head, *rows = self.rows(xpath)
        return [dict(zip(head, cells, strict=False)) for cells in rows]

    def rows(self, xpath: str) -> list[list[str]]:
        """Return the text of each cell of a table, that of its head included."""
        script = (
            "return Array.from(arguments[0].rows).map(row => Array.from(row.cells).map(cell => cell.innerText.trim()))"
        )
        rows: list[list[str]] = self.run(script, self.see(xpath))
        return rows

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a piece of JavaScript returns."""
        return self._driver.execute_script(script, *arguments)

    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
        """Return what `condition` returns, as soon as that is true."""
        try:
            found: T = WebDriverWait(self._driver, timeout_s, 0.1, _UNSETTLED).until(lambda _driver: condition())  # type: ignore[assignment]
        except TimeoutException:
            page = self._driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(
                f"waited {timeout_s} s in vain until {what}; {self._driver.current_url} says:\n{page}"
            ) from None
        return found

    def picture(self, path: Path, height: int = HEIGHT) -> None:
        """Write what is seen now, in a window as high, as a PNG."""
        self.resize(height)
        path.write_bytes(self._driver.get_screenshot_as_png())

    def resize(self, height: int) -> None:
        """Let the page be so high."""
        frame = self.run("return window.outerHeight - window.innerHeight")
        self._driver.set_window_size(WIDTH, height + frame)

    def _visible(self, xpath: str) -> WebElement:
        for element in self._driver.find_elements(By.XPATH, xpath):
            if element.is_displayed():
                return element
        raise NoSuchElementException(xpath)

    def _options(self) -> ChromeOptions:
        options = ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS, f"--user-data-dir={self._directory / 'profile'}"):
            options.add_argument(flag)
        return options


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/status"):  # noqa: S310  http
            return True
    except OSError:
        return False
