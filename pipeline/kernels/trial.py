"""The smallest kernel: whether it runs tells whether any does."""

# Triton's language is Python in form only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

import torch
import triton
import triton.language as tl


@triton.jit
def _write_one(target):
    tl.store(target, 1.0)


def try_kernel() -> None:
    """Run a kernel on the current GPU.

    Raises:
        Exception: of any kind, where Triton cannot compile or start kernels.
    """
    _write_one[(1,)](torch.empty(1, device="cuda"))
