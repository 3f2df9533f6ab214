"""A mail server on loopback that keeps what it gets, for whoever sends mail as Zabbix does: in plain SMTP (RFC 5321)."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import EmailMessage

    from typing_extensions import Self


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        to = ""
        self._say("220 lab")
        while line := self.rfile.readline().decode().strip():
            command = line.upper()
            if command.startswith("RCPT TO:"):
                to = line.partition("<")[2].partition(">")[0]
            self._say({"DATA": "354 go on", "QUIT": "221 bye"}.get(command, "250 ok"))
            if command == "QUIT":
                return
            if command == "DATA":
                lines = iter(self.rfile.readline, b".\r\n")
                text = b"".join(part.removeprefix(b".") for part in lines)
                assert isinstance(self.server, Mailboxes)
                self.server.mails[to].append(email.message_from_bytes(text, policy=email.policy.default))
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Mailboxes(socketserver.ThreadingTCPServer):
    """Listens while the context lasts. `mails` are those of each address, in the order in which they came."""

    def __init__(self) -> None:
        self.mails: defaultdict[str, list[EmailMessage]] = defaultdict(list)
        super().__init__(("127.0.0.1", 0), _Conversation)

    @property
    def port(self) -> int:
        """On loopback."""
        return int(self.server_address[1])

    @property
    def count(self) -> int:
        """Of all mails."""
        return sum(map(len, self.mails.values()))

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
