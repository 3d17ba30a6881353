"""Keeping the pages of freed tensors, which spares large CPU training steps their page faults."""

import ctypes
import platform

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_pages() -> bool:
    """Ask the C library to reuse freed memory instead of returning it to the system.

    By default glibc maps every large tensor afresh, and the system clears its pages one fault at a
    time, at every step again. The price is that the process keeps its peak memory until it ends.

    Returns:
        Whether it was done: False on systems without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # 2^31 - 1 bytes or more free at the top of the heap before any is given back
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
