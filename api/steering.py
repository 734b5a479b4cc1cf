"""Several processes listen on one port: let one of them leave without losing a connection.

The kernel shares new connections out over the listening sockets by a hash. What it has given to one that closes, and
that is not accepted yet, it resets. So a leaver first has the kernel choose another (a two-word classic BPF program,
which needs no privilege), takes what it was given before, and then closes; whoever joins puts the hash back.
"""

import asyncio
import contextlib
import ctypes
import socket
from collections.abc import Callable

import structlog

_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68
_BPF_RET_K = 0x06
_PROBE_S = 0.5

log = structlog.get_logger()

Peer = tuple[str, int]


class _Filter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Filter)))


async def steer_away(listener: socket.socket, accepted: Callable[[Peer], bool]) -> None:
    """Have new connections of the port go to another process from now on; alone on it, nothing changes.

    Args:
        accepted: has this process accepted the connection from that address? Which place a socket has among those of
            its port can only be found out by trying.
    """
    try:
        _choose(listener, 0)
        if await _is_ours(listener, accepted):
            # Of one socket alone place 1 does not exist, and the kernel goes on by its hash.
            _choose(listener, 1)
    except OSError as error:
        # Not Linux, or an old one: connections of the last millisecond may be lost, as without this.
        log.warning("connections cannot be steered to other processes", reason=str(error))


def share_again(listener: socket.socket) -> None:
    """Undo what a leaver did: this socket is there to be chosen."""
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)


def _choose(listener: socket.socket, place: int) -> None:
    """Raises OSError: the kernel does not know this."""
    filters = (_Filter * 1)(_Filter(_BPF_RET_K, 0, 0, place))
    program = _Program(1, filters)
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, bytes(program))


async def _is_ours(listener: socket.socket, accepted: Callable[[Peer], bool]) -> bool:
    host, port = listener.getsockname()[:2]
    _, writer = await asyncio.open_connection(_reachable(host), port)
    try:
        peer: Peer = writer.get_extra_info("sockname")[:2]
        deadline_s = asyncio.get_running_loop().time() + _PROBE_S
        while asyncio.get_running_loop().time() < deadline_s:
            if accepted(peer):
                return True
            await asyncio.sleep(0.005)
        return False
    finally:
        writer.close()


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
