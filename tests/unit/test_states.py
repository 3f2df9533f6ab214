"""The states for people: one meaning and one colour each, in `show`, in the template and in its page alike."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from lab.documents import REPOSITORY
from sender.commands.show.tables import state_table
from sender.model import Snapshot, TcpState
from sender.states import STATES

XML = ET.parse(REPOSITORY / "templates" / "tcp_states_template.xml")  # noqa: S314  our own file


def shown() -> dict[str, str]:
    """Return the line of each state in `show`, on a terminal that has every colour."""
    page = io.StringIO()
    snapshot = Snapshot(clock=1, ns=1, duration_s=0, states=dict.fromkeys(TcpState, 1))
    console = Console(file=page, force_terminal=True, color_system="truecolor", width=200)
    console.print(state_table([snapshot], 200))
    lines = {re.sub(r"\x1b\[[0-9;]*m", "", line).partition(" ")[0]: line for line in page.getvalue().splitlines()}
    return {state.name: lines[state.name] for state in TcpState}


def graph_colours() -> dict[str, set[str]]:
    """Return the colours that each state has in the graphs of the template."""
    found: dict[str, set[str]] = {}
    for line in XML.iter("graph_item"):
        key = re.fullmatch(r"tcp\.(?:remote\.)?status\[([A-Z_0-9]+).*\]", line.findtext("item/key") or "")
        if key and key[1] in TcpState.__members__:
            found.setdefault(key[1], set()).add(line.findtext("color") or "")
    return found


def test_every_state_is_there_in_the_kernels_order() -> None:
    """No state is left out, and each has a colour of its own."""
    assert list(STATES) == list(TcpState)
    assert len({about.colour for about in STATES.values()}) == len(TcpState)


@pytest.mark.parametrize("state", TcpState)
def test_show_has_the_colours_of_the_template(state: TcpState) -> None:
    """A state's bar in `show` has the colour that the state has in every graph."""
    red, green, blue = re.findall(r"38;2;(\d+);(\d+);(\d+)m█", shown()[state.name])[0]
    assert graph_colours()[state.name] == {f"{int(red):02X}{int(green):02X}{int(blue):02X}"}


@pytest.mark.parametrize("state", TcpState)
def test_show_has_the_meanings_of_the_template(state: TcpState) -> None:
    """An item's description begins with the words that `show` has for its state."""
    description = next(
        item.findtext("description") or ""
        for item in XML.iter("item")
        if item.findtext("key") == f"tcp.status[{state.name}]"
    )
    assert description.startswith(f"{STATES[state].meaning}. ")
    assert STATES[state].meaning in shown()[state.name]
