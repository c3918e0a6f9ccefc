"""Wake the other processes of a machine that use the same database file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("targcc.engine.nudge")

_LOOPBACK = "127.0.0.1"
_PORTS = range(20_000, 30_000)
"""Port range below the ports that systems assign to outgoing connections."""
_GATHER_SECONDS = 0.005
"""Interval after a wake-up in which further wake-ups are merged."""


class WakeFile:
    """Send and receive wake-ups: datagrams to a multicast group on the loopback interface. The sender need not know the listeners.

    A datagram does not leave the machine. A datagram contains only a digest of the file's path and the sender's random id. A wake-up is a hint:
    if none arrives, such as between containers, the engine finds the work itself a moment later. For use on the scheduler's loop only.

    Args:
        database: The file; its path determines group and port.
    """

    def __init__(self, database: Path) -> None:
        digest = hashlib.blake2b(os.fsencode(database.resolve()), digest_size=16).digest()
        self._group = f"239.255.{digest[0]}.{digest[1]}"
        self._port = _PORTS[int.from_bytes(digest[2:6]) % len(_PORTS)]
        self._topic = digest
        self._me = secrets.token_bytes(8)
        self._sender: socket.socket | None = None
        self._pending: asyncio.TimerHandle | None = None
        self._again = False
        self._is_closed = False
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` at each wake-up from another process, until :meth:`close`."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            try:
                receiver = stack.enter_context(self._receiver())
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Listener(self._is_from_another, heard), sock=receiver
                )
            except OSError as error:
                log.debug("no nudges from other processes: %s", error)
                return
            stack.pop_all()  # the transport closes it

    def send(self) -> None:
        """Wake the other processes: at once, or a few milliseconds after the last wake-up."""
        if self._is_closed:  # a wake-up came while the engine was closing
            return
        if self._pending is not None:
            self._again = True
            return
        self._send()
        loop = asyncio.get_running_loop()
        self._pending = loop.call_later(_GATHER_SECONDS, self._gathered)

    def close(self) -> None:
        """Send a pending wake-up and stop listening."""
        if self._pending is not None:
            self._pending.cancel()
            self._gathered(is_last=True)
        if self._transport is not None:
            self._transport.close()
        if self._sender is not None:
            self._sender.close()
        self._transport = self._sender = None
        self._is_closed = True

    def _gathered(self, *, is_last: bool = False) -> None:
        again, self._pending, self._again = self._again, None, False
        if again and is_last:
            self._send()
        elif again:
            self.send()

    def _send(self) -> None:
        try:
            if self._sender is None:
                self._sender = _sender()
            self._sender.sendto(self._topic + self._me, (self._group, self._port))
        except OSError as error:
            log.debug("no nudge to other processes: %s", error)

    def _is_from_another(self, message: bytes) -> bool:
        topic, sender = message[: len(self._topic)], message[len(self._topic) :]
        return topic == self._topic and sender != self._me

    def _receiver(self) -> socket.socket:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            receiver.settimeout(0)
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # A socket bound to the group receives only datagrams of the group. Windows can bind only to an interface.
            receiver.bind((_LOOPBACK if sys.platform == "win32" else self._group, self._port))
            member = socket.inet_aton(self._group) + socket.inet_aton(_LOOPBACK)
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        except OSError:
            receiver.close()
            raise
        return receiver


def _sender() -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sender.settimeout(0)
        interface = socket.inet_aton(_LOOPBACK)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)  # this machine only
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sender.bind((_LOOPBACK, 0))  # block datagrams from other machines
    except OSError:
        sender.close()
        raise
    return sender


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, counts: Callable[[bytes], bool], heard: Callable[[], None]) -> None:
        self._counts = counts
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        del addr
        if self._counts(data):
            self._heard()
