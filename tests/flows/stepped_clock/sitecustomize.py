"""Loaded by every Python process below a stepped clock: the boot time that the kernel states moves with the clock."""

import os
import time

if "STEPPED_CLOCK" in os.environ:
    import psutil

    def _boot_time() -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    psutil._pslinux.boot_time = _boot_time
