"""Kernel TCP sockets in each of the eleven states, IPv4 and IPv6. Knows TCP packets; knows nothing of sock_diag.

A holder (see namespace.py), to be started by root in a fresh network namespace. Behind a TUN device sits a peer written
by hand, which answers or stays silent as each state requires. Every state and family has a count of its own, so that
any mix-up shows. The sockets stay as they are for 60 s, the kernel's time for TIME_WAIT and for orphans in FIN_WAIT2.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import fcntl
import json
import os
import platform
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DEADLINE_S = 10
POLL_S = 0.002
ISN = 1000  # the peer's initial sequence number, always the same: so the peer needs no memory
BACKLOG = 128  # the kernel gives up on SYN_RECV early once a backlog is half full
SYSCTLS = {"tcp_syn_retries": 10, "tcp_synack_retries": 10}  # by default SYN_RECV ends after 63 s
CLOSE_SINCE = (6, 8)  # the first Linux that reports sockets which are only bound
LINGER_OFF, LINGER_RESET = struct.pack("ii", 0, 0), struct.pack("ii", 1, 0)  # struct linger, socket(7)
TUN = Path("/dev/net/tun")
TUN_NUMBER = os.makedev(10, 200)  # Documentation/admin-guide/devices.txt
TUNSETIFF = 0x400454CA  # _IOW('T', 202, int), include/uapi/linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000  # include/uapi/linux/if_tun.h

# netstat's names with the kernel's numbers: ESTABLISHED is 1 (include/net/tcp_states.h).
State = enum.IntEnum(
    "State", "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What differs between the two IP families."""

    name: str
    domain: socket.AddressFamily
    host: str
    peer: str
    table: str
    offset: int

    @property
    def counts(self) -> dict[State, int]:
        """How many sockets there shall be: 1 to 11 of IPv4, 12 to 22 of IPv6."""
        return {state: self.offset + state for state in State}


IPV4 = Family(name="4", domain=socket.AF_INET, host="192.0.2.1", peer="192.0.2.2", table="tcp", offset=0)
IPV6 = Family(name="6", domain=socket.AF_INET6, host="2001:db8::1", peer="2001:db8::2", table="tcp6", offset=11)
FAMILIES = (IPV4, IPV6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How a connection that we open comes into a state: what the peer does, and whether we close."""

    answers: bool = True  # the peer answers our SYN
    hangs_up: Literal["never", "first", "second"] = "never"  # the peer sends FIN: unasked, or when it sees ours
    we_close: bool = False  # we send FIN, where the peer hangs up first: after that
    acknowledges: bool = False  # the peer acknowledges our FIN


SCRIPTS = {
    State.SYN_SENT: Script(answers=False),
    State.ESTABLISHED: Script(),
    State.CLOSE_WAIT: Script(hangs_up="first"),
    State.LAST_ACK: Script(hangs_up="first", we_close=True),
    State.FIN_WAIT1: Script(we_close=True),
    State.FIN_WAIT2: Script(we_close=True, acknowledges=True),
    State.CLOSING: Script(we_close=True, hangs_up="second"),
    State.TIME_WAIT: Script(we_close=True, hangs_up="second", acknowledges=True),
}
# The peer's port tells it which script to follow: 7000 and the state's number. From 8000 on it only sends SYNs.
SCRIPT_PORTS, SYN_PORTS = 7000, 8000


class Flags(enum.IntFlag):
    """Those of the TCP header that matter here (RFC 9293, 3.1)."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    ACK = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A TCP segment without data. Addresses are packed; their length says which IP it is."""

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    seq: int
    ack: int
    flags: Flags

    @property
    def end(self) -> int:
        """The number that acknowledges the whole segment."""
        return (self.seq + bool(self.flags & (Flags.SYN | Flags.FIN))) % 2**32

    def reply(self, seq: int, ack: int, flags: Flags) -> Segment:
        """Return a segment the other way."""
        return Segment(source=self.target, target=self.source, seq=seq, ack=ack, flags=flags)


def parse(packet: bytes) -> Segment | None:
    """Return the TCP segment in an IP packet; None for anything else, such as the router solicitations of IPv6."""
    if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP:
        source, target, start = packet[12:16], packet[16:20], (packet[0] & 0x0F) * 4
    elif packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_TCP:
        source, target, start = packet[8:24], packet[24:40], 40
    else:
        return None
    source_port, target_port, seq, ack, flags = struct.unpack_from("!HHIIxB", packet, start)
    flags = Flags(flags & (Flags.FIN | Flags.SYN | Flags.ACK))
    return Segment(source=(source, source_port), target=(target, target_port), seq=seq, ack=ack, flags=flags)


def build(segment: Segment) -> bytes:
    """Return the IP packet that carries a segment, with its checksums."""
    (source, source_port), (target, target_port) = segment.source, segment.target
    ports = struct.pack("!HH", source_port, target_port)
    tcp = ports + struct.pack("!IIBBHxxxx", segment.seq, segment.ack, 5 << 4, segment.flags, 0xFFFF)
    # Addresses, protocol and length: the pseudo headers of IPv4 and IPv6 differ in layout, not in sum.
    tcp = with_checksum(tcp, 16, source + target + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)))
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64) + source + target + tcp
    ip = struct.pack("!BxHxxxxBBxx", 0x45, 20 + len(tcp), 64, socket.IPPROTO_TCP) + source + target
    return with_checksum(ip, 10) + tcp


def with_checksum(header: bytes, at: int, pseudo: bytes = b"") -> bytes:
    """Return the header with the Internet checksum (RFC 1071) in its two bytes at `at`, which are zero so far."""
    words = struct.iter_unpack("!H", pseudo + header)
    checksum = 0xFFFF - sum(word for (word,) in words) % 0xFFFF
    return header[:at] + struct.pack("!H", checksum) + header[at + 2 :]


def answer(heard: Segment, script: Script) -> Segment | None:
    """Return what the peer says to a segment; None for silence. The segment's `ack` is all the memory that it needs."""
    if Flags.SYN in heard.flags:
        return heard.reply(ISN, heard.end, Flags.SYN | Flags.ACK) if script.answers else None
    if heard.ack != ISN + 1:  # the peer's own FIN has arrived: nothing is left to say
        return None
    closing = Flags.FIN in heard.flags
    ack = heard.end if script.acknowledges else heard.seq
    if script.hangs_up == ("second" if closing else "first"):
        return heard.reply(heard.ack, ack, Flags.FIN | Flags.ACK)
    return heard.reply(heard.ack, ack, Flags.ACK) if closing and script.acknowledges else None


class Peer:
    """The machine at the other end of a TUN device. Device and addresses go away with the process."""

    def __init__(self) -> None:
        if not TUN.exists():
            TUN.parent.mkdir(exist_ok=True)
            os.mknod(TUN, stat.S_IFCHR | 0o600, TUN_NUMBER)
        self._tun = os.open(TUN, os.O_RDWR)
        fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH22x", b"peer", IFF_TUN | IFF_NO_PI))
        commands = f"""
            link set peer up
            addr add {IPV4.host}/24 dev peer
            addr add {IPV6.host}/64 dev peer nodad
        """
        subprocess.run(["ip", "-batch", "-"], check=True, text=True, input=commands)
        # Even with nodad (no duplicate address detection) an IPv6 address is no place to send to at once: its own
        # route comes from a kernel worker, up to some milliseconds later.
        while socket.inet_pton(IPV6.domain, IPV6.host).hex() not in Path("/proc/net/ipv6_route").read_text():
            time.sleep(POLL_S)
        threading.Thread(target=self._serve, daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor of the device: whatever packet is written there comes from the peer."""
        return self._tun

    def send(self, segment: Segment) -> None:
        """Let the kernel receive a segment from the peer."""
        os.write(self._tun, build(segment))

    def _serve(self) -> None:
        by_port = {SCRIPT_PORTS + state: script for state, script in SCRIPTS.items()}
        while True:
            heard = parse(os.read(self._tun, 0xFFFF))
            if heard and heard.target[1] in by_port:
                reply = answer(heard, by_port[heard.target[1]])
                if reply:
                    self.send(reply)


def fill(family: Family, peer: Peer) -> list[socket.socket]:
    """Set every socket of a family on its way, and return those that have to stay open."""
    counts = family.counts
    bound = [bind(family) for _ in range(counts[State.CLOSE])]
    listeners = [bind(family) for _ in range(counts[State.LISTEN])]
    for listener in listeners:
        listener.listen(BACKLOG)
    host, source = (socket.inet_pton(family.domain, address) for address in (family.host, family.peer))
    target = (host, listeners[0].getsockname()[1])
    for port in range(SYN_PORTS, SYN_PORTS + counts[State.SYN_RECV]):
        peer.send(Segment(source=(source, port), target=target, seq=ISN, ack=0, flags=Flags.SYN))
    talks = {state: [converse(family, state) for _ in range(counts[state])] for state in SCRIPTS}
    # Once its program has closed it, a socket in FIN_WAIT2 is another thing to the kernel: a small time-wait socket.
    # Every other one becomes such an orphan.
    for sock in talks[State.FIN_WAIT2][::2]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
        sock.close()
    return bound + listeners + [sock for socks in talks.values() for sock in socks]


def bind(family: Family) -> socket.socket:
    """Return a socket that has a local port and nothing else."""
    sock = socket.socket(family.domain, socket.SOCK_STREAM)
    sock.bind((family.host, 0))
    return sock


def converse(family: Family, state: State) -> socket.socket:
    """Play our part in a state's script. We close with shutdown(), which leaves the socket in our hands."""
    script = SCRIPTS[state]
    sock = socket.socket(family.domain, socket.SOCK_STREAM)
    # Our end resets what is open. An ordinary FIN, unanswered, would keep socket and namespace alive for minutes.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.setblocking(script.answers)
    with contextlib.suppress(BlockingIOError):
        sock.connect((family.peer, SCRIPT_PORTS + state))
    if script.hangs_up == "first":
        sock.recv(1)  # returns when the peer's FIN is here
    if script.we_close:
        sock.shutdown(socket.SHUT_WR)
    return sock


def seen(family: Family) -> collections.Counter[State]:
    """Return the family's sockets in /proc, which shows every state but CLOSE."""
    lines = Path("/proc/net", family.table).read_text().splitlines()[1:]
    return collections.Counter(State(int(line.split()[3], 16)) for line in lines)


def missing() -> list[str]:
    """Which counts are not right yet. CLOSE has nothing to wait for: bind() is all there is to it."""
    return [
        f"IPv{family.name} {state.name}: {have[state]} of {count}"
        for family, have in [(family, seen(family)) for family in FAMILIES]
        for state, count in family.counts.items()
        if state != State.CLOSE and have[state] != count
    ]


def report() -> dict[str, object]:
    """Return what the kernel must be found to hold."""
    release = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
    unseen = {State.CLOSE} if release < CLOSE_SINCE else set()
    families = {f.name: {state.name: 0 if state in unseen else n for state, n in f.counts.items()} for f in FAMILIES}
    states = {state.name: sum(counts[state.name] for counts in families.values()) for state in State}
    return {"states": states, "families": families}


def expire(_signal: int, _frame: object) -> None:
    """End whatever wait goes on, with a list of what is not in place."""
    raise TimeoutError(f"after {DEADLINE_S} s these are not in place: {', '.join(missing())}")


def main() -> None:
    """Set everything up, report, and hold until standard input closes."""
    signal.signal(signal.SIGALRM, expire)
    signal.alarm(DEADLINE_S)
    try:
        if any(seen(family) for family in FAMILIES):
            sys.exit("every_state: this namespace has sockets already; start in a fresh one, with unshare --net")
        for name, value in SYSCTLS.items():
            Path("/proc/sys/net/ipv4", name).write_text(str(value))
        peer = Peer()
        held = [sock for family in FAMILIES for sock in fill(family, peer)]
        while missing():
            time.sleep(POLL_S)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"every_state: {error}")
    signal.alarm(0)
    sys.stdout.write(json.dumps(report()) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    for sock in held:
        sock.close()


if __name__ == "__main__":
    main()
