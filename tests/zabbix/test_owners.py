"""A service that leaks is named in its problem, and in the mail about it: from its sockets to a real Zabbix.

All is real but for the time, in which a second is a minute (see lab/fast_host.py).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from lab.fast_host import HEALTHY, LEAKING, FastHost, Operator, end
from lab.mail import Mailboxes
from lab.program import standing_still

if TYPE_CHECKING:
    from lab.zabbix_stack import ZabbixStack

HOST = "app-01"
NGINX, BACKEND = ("nginx.service", 80), ("backend.service", 8080)
VISITORS, LEAKED = 20, 560
WINDOW = 15  # minutes for which the trigger waits
CLOSE_WAIT = "tcp.service.status[CLOSE_WAIT,{}]"
MANY = "TCP: Many connections in CLOSE_WAIT"
DETAIL = " (over 100 for 15m)"
ON_PORT = "TCP port 8080 http-alt: Many connections in CLOSE_WAIT"
DATA = f"Current: {LEAKED}, mostly backend.service {LEAKED}"
WHOSE = f"Whose they are, as last reported: backend.service {LEAKED}"

SHIPPED, WITH_RUNBOOK = "shipped@example.com", "with-runbook@example.com"
"""Who gets mail in the words of a new Zabbix, and who in words with the trigger's description."""
WORDS = "Operational data: {EVENT.OPDATA}\n\n{TRIGGER.DESCRIPTION}"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the operator has seen: before the leak, while it was a problem, and in the end."""

    well: dict[str, str]
    problems: dict[str, str]
    runbooks: dict[str, str]
    mails: dict[str, dict[str, str]]  # by address and subject
    history: dict[str, list[tuple[int, str]]]

    def course(self, key: str) -> list[int]:
        """Return the figures that an item had, one after the other."""
        return [int(value) for value, _ in groupby(value for _, value in self.history[key])]


@pytest.fixture(scope="module")
def seen(zabbix: ZabbixStack, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Two services are well. Then one is started in another version, which leaks, until it is started as it was."""
    with ExitStack() as stack:
        mailboxes = stack.enter_context(Mailboxes())
        operator = Operator(zabbix, HOST)
        send_mail(zabbix, operator.host_id, mailboxes.port)
        host = FastHost(zabbix, tmp_path_factory.mktemp("daemon"), stack, HOST)
        host.serve(*NGINX, HEALTHY)
        backend = host.serve(*BACKEND, HEALTHY)
        for _ in range(VISITORS):
            stack.enter_context(host.connect(NGINX[1]))
        daemon = host.count()
        operator.wait_until(lambda: CLOSE_WAIT.format(BACKEND[0]) in operator.history(), "the services are known")
        operator.wait_for_minutes(WINDOW + 1)
        well = operator.problems()
        end(backend)
        backend = host.serve(*BACKEND, LEAKING)
        with standing_still(daemon):  # a sample of nearly as many would be named, and the rest no news
            for _ in range(LEAKED):
                host.connect(BACKEND[1]).close()
        both = {MANY + DETAIL, ON_PORT + DETAIL}
        operator.wait_until(lambda: operator.problems().keys() >= both, "the leak is a problem")
        problems, runbooks = operator.problems(), operator.runbooks()
        operator.wait_until(lambda: mailboxes.count == len(both) * 2, "all mails came")
        end(backend)
        host.serve(*BACKEND, HEALTHY)
        operator.wait_until(lambda: not operator.problems(), "no problem is left")
        return Seen(
            well=well,
            problems=problems,
            runbooks=runbooks,
            mails={
                address: {mail["Subject"]: mail.get_content() for mail in mails}
                for address, mails in mailboxes.mails.items()
            },
            history=operator.history(),
        )


def send_mail(zabbix: ZabbixStack, host_id: str, port: int) -> None:
    """Let Zabbix send Admin mail about this host: by the media type of a new Zabbix, and by one with the description."""
    api = zabbix.api
    server = {"smtp_server": "127.0.0.1", "smtp_port": port, "smtp_helo": "lab", "smtp_email": "zabbix@example.com"}
    (shipped,) = api.mediatype.get(filter={"name": "Email"}, output=["mediatypeid"])
    api.mediatype.update(mediatypeid=shipped["mediatypeid"], status=0, **server)
    words = {"eventsource": 0, "recovery": 0, "subject": "Problem: {EVENT.NAME}", "message": WORDS}
    other = api.mediatype.create(name="with the runbook", type=0, content_type=0, message_templates=[words], **server)
    ways = {SHIPPED: shipped["mediatypeid"], WITH_RUNBOOK: other["mediatypeids"][0]}
    admin = "1"
    medias = [{"mediatypeid": way, "sendto": [address]} for address, way in ways.items()]
    api.user.update(userid=admin, medias=medias)
    of_host = {"evaltype": 0, "conditions": [{"conditiontype": 1, "operator": 0, "value": host_id}]}
    send = {"operationtype": 0, "opmessage": {"default_msg": 1}, "opmessage_usr": [{"userid": admin}]}
    api.action.create(name=f"tell of {HOST}", eventsource=0, filter=of_host, operations=[send])


def test_the_problem_names_the_service(seen: Seen) -> None:
    """There is none while all is well. Then there is that of the host and of the port, and the host's says who leaks."""
    assert seen.well == {}
    assert seen.problems == {MANY + DETAIL: DATA, ON_PORT + DETAIL: f"Current: {LEAKED}"}
    assert seen.runbooks.keys() == {MANY, ON_PORT}
    assert seen.runbooks[MANY].splitlines()[0] == WHOSE
    assert "UNIT is the service that is named first" in seen.runbooks[MANY]


def test_each_service_has_its_figures(seen: Seen) -> None:
    """The leak is in that of its service, which comes back to 0; the other has its visitors all the time."""
    backend = seen.course(CLOSE_WAIT.format("backend.service"))
    assert (backend[0], max(backend), backend[-1]) == (0, LEAKED, 0)
    assert seen.course(CLOSE_WAIT.format("nginx.service")) == [0]
    assert seen.course("tcp.service.status[ESTABLISHED,nginx.service]") == [VISITORS]


def test_the_problem_begins_after_its_window(seen: Seen) -> None:
    """For fifteen minutes the text has named the service before anybody is woken up."""
    texts = seen.history["tcp.status.top[CLOSE_WAIT]"]
    assert texts[0][1] == texts[-1][1] == "none"
    assert f"backend.service {LEAKED}" in [text for _, text in texts]
    high = [clock for clock, value in seen.history["tcp.status[CLOSE_WAIT]"] if int(value) > 100]
    assert high[-1] - high[0] >= WINDOW * 60


def test_the_mail_names_the_service(seen: Seen) -> None:
    """In the words of a new Zabbix with the operational data, and first in the runbook where a mail has that."""
    subject = f"Problem: {MANY}{DETAIL}"
    shipped, with_runbook = (seen.mails[address][subject] for address in (SHIPPED, WITH_RUNBOOK))
    assert f"Host: {HOST}" in shipped.splitlines()
    assert f"Operational data: {DATA}" in shipped.splitlines()
    assert with_runbook.splitlines()[:3] == [f"Operational data: {DATA}", "", WHOSE]
    assert "  systemctl status UNIT" in with_runbook.splitlines()
