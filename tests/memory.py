"""What a process holds by its own count: neither free room that its allocators keep, nor pages of its libraries."""

import ctypes
import gc
import os
import sys
import threading
from collections import Counter

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


def held() -> Counter[str]:
    """How many there are of every type of object that can hold others, of open files, and of threads."""
    gc.collect()
    objects = Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())
    return objects + Counter({"open files": len(os.listdir("/proc/self/fd")), "threads": threading.active_count()})
