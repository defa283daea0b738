"""What the C library does with memory that this process frees."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
_LARGEST_ON_HEAP = 32 << 20  # bytes; glibc takes no more


def keep_freed_memory(at_most: int) -> None:
    """Let this process keep what it frees, where its C library can, as it soon asks for the same buffers again.

    By default glibc gives large buffers back at once, and the kernel clears each page anew: up to a tenth of a training
    step, and as long as decoding itself.

    Args:
        at_most: bytes; what is free beyond is given back.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, min(_LARGEST_ON_HEAP, at_most))
        mallopt(_M_TRIM_THRESHOLD, at_most)
