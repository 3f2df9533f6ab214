"""Registration: when a destination is asked to make the host known, what is said of it, and that nothing waits for it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lab.registering import KNOWN, METADATA, NOT_FOUND, REQUEST, failed, says
from lab.trapper import MUTE, Trapper
from sender.delivery.registration import Pace, Registration, Registrations
from sender.settings import section
from sender.settings.schema import Settings
from sender.zabbix.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = Pace(again_s=0.01, soon_s=0.1, late_s=3600)
HASTY = Pace(again_s=0.01, soon_s=0.02, late_s=0.03)


def settings(*ports: int, metadata: str | None = METADATA) -> Settings:
    """For host web-01, to the given ports as destinations d0, d1 and so on."""
    destinations = [{"name": f"d{n}", "nodes": [f"127.0.0.1:{port}"]} for n, port in enumerate(ports)]
    wanted = {"autoregistration": {"metadata": metadata}} if metadata else {}
    return section.read(Settings, {"host": "web-01", "destinations": destinations, **wanted})


def registration(trapper: Trapper, pace: Pace = QUICK) -> Registration:
    """At that trapper, as d0."""
    (destination,) = settings(trapper.port).destinations
    return Registration("d0", Uplink(destination).ask, host="web-01", metadata=METADATA, pace=pace)


@contextmanager
def running(subject: Registration) -> Iterator[None]:
    """Run it while the context lasts."""
    thread = threading.Thread(target=subject.run)
    thread.start()
    yield
    subject.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_the_request_is_an_agents(logged: Callable[[], list[str]]) -> None:
    """Host and metadata go out as an agent sends them; a host that is not known yet is nothing to speak of, nor is one that is."""
    with Trapper(NOT_FOUND) as trapper:
        assert registration(trapper).register()
        trapper.answer = KNOWN
        assert registration(trapper).register()
    assert trapper.requests == [REQUEST, REQUEST]
    assert logged() == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (failed("host [web-01] not monitored"), "host [web-01] not monitored"),
        (failed("host [WEB-01] not found"), "host [WEB-01] not found"),
        (failed({"a": []}), "{'info': {'a': []}, 'response': 'failed'}"),
        (failed("\x1b[2J\n"), r"{'info': '\x1b[2J\n', 'response': 'failed'}"),
        (says(), "{}"),
        (failed("x" * 1000), "x" * 200),
    ],
)
def test_other_answers_are_said_once(
    answer: Callable[[dict[str, Any]], bytes], said: str, logged: Callable[[], list[str]]
) -> None:
    """What stands in the way stands in the log once, and so does its end."""
    with Trapper(answer) as trapper:
        subject = registration(trapper)
        assert subject.register()
        assert subject.register()
        assert logged() == [f"d0: Zabbix does not register host 'web-01': {said}"]
        trapper.answer = KNOWN
        subject.register()
        subject.register()
        assert logged() == ["d0: Zabbix knows host 'web-01'"]


def test_no_answer_is_said_once(logged: Callable[[], list[str]]) -> None:
    """Neither does a destination that is away fill the log."""
    with Trapper(lambda _: b"") as trapper:
        subject = registration(trapper)
        assert not subject.register()
        assert not subject.register()
    (line,) = logged()
    assert line.startswith(
        f"d0: could not ask for registration of host 'web-01': 127.0.0.1:{trapper.port}: it closed the connection"
    )


def test_a_long_list_of_checks() -> None:
    """A host that has an agent, too, gets the list of all its active checks: it may have a thousand and more."""
    checks = [{"key": f"vfs.fs.size[/srv/data/{n},pused]", "delay": "60", "itemid": 10_000 + n} for n in range(2_000)]
    with Trapper(says(response="success", data=checks)) as trapper:
        assert registration(trapper).register()


def test_it_asks_again_in_time() -> None:
    """The first request is at once, and others follow by themselves, though nothing was refused."""
    with Trapper(NOT_FOUND) as trapper, running(registration(trapper, HASTY)):
        trapper.wait_for(5)
        trapper.answer = lambda _: b""
        trapper.wait_for(len(trapper.requests) + 5)


def test_it_asks_again_when_woken() -> None:
    """While all is well the next request is an hour away, unless the host may be unknown; however often that is said."""
    with Trapper(KNOWN) as trapper:
        subject = registration(trapper)
        with running(subject):
            trapper.wait_for(1)
            for _ in range(1000):
                subject.wake()
            begin = time.monotonic()
            trapper.wait_for(2)
            assert time.monotonic() - begin > QUICK.soon_s / 2
            time.sleep(3 * QUICK.soon_s)  # nothing can be waited for that must not happen
    assert len(trapper.requests) == 2


def test_a_destination_that_answers_no_more_is_left() -> None:
    """A registration that waits for an answer does not hold up the end of the daemon."""
    with Trapper(lambda _: MUTE) as trapper:
        subject = Registrations()
        subject.apply(settings(trapper.port))
        trapper.wait_for(1)
        begin = time.monotonic()
        subject.stop()
        assert time.monotonic() - begin < 1


def test_a_reload_changes_what_has_changed() -> None:
    """New metadata are sent at once, to a new destination too; what stays is not sent anew; without the key nothing is."""
    with Trapper(KNOWN) as one, Trapper(KNOWN) as other:
        subject = Registrations()
        subject.apply(settings(one.port, metadata=None))
        subject.apply(settings(one.port))
        one.wait_for(1)
        subject.apply(settings(one.port, other.port))
        other.wait_for(1)
        subject.apply(settings(one.port, other.port, metadata="new"))
        one.wait_for(2)
        other.wait_for(2)
        subject.apply(settings(one.port, metadata=None))
        assert not [
            thread for thread in threading.enumerate() if thread.name.startswith("registration at") and woken(thread)
        ]
    assert one.requests == other.requests == [REQUEST, {**REQUEST, "host_metadata": "new"}]


def woken(thread: threading.Thread) -> bool:
    """Whether it is still there after a while in which it should end."""
    thread.join(20)
    return thread.is_alive()


def test_a_destination_that_may_not_know_the_host_is_woken() -> None:
    """It is asked again; another one is not, nor is it a mistake to name one that is gone, or where nobody registers."""
    with Trapper(KNOWN) as one, Trapper(KNOWN) as other:
        subject = Registrations()
        subject.wake("d0")
        subject.apply(settings(one.port, other.port))
        one.wait_for(1)
        other.wait_for(1)
        woken_at = [running[1]._wake for running in subject._running.values()]  # noqa: SLF001  two minutes otherwise
        subject.wake("d1")
        subject.wake("d9")
        assert [wake.is_set() for wake in woken_at] == [False, True]
        subject.stop()
