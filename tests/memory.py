"""What a process holds by its allocators' own count: neither free room that they keep, nor pages of its libraries."""

import ctypes
import sys

_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo2(ctypes.Structure):
    """As in glibc's malloc.h, 2.33 and later."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS.split()]


def in_use() -> dict[str, float]:
    """What was asked for and not given back: MiB of malloc, and thousands of blocks of Python's own allocator, which
    takes all objects up to 512 bytes."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo2
    found = libc.mallinfo2()
    return {
        "in use by malloc, MiB": (found.uordblks + found.hblkhd) / 2**20,
        "in use by Python, thousand blocks": sys.getallocatedblocks() / 1000,
    }
