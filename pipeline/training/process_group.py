"""Several processes, started by ``torchrun``, that train together.

Where there are at least as many seeds as processes, each process trains seeds of its own and nothing needs to be
exchanged. With fewer, all processes train one model: each takes its part of every batch, and gradients are averaged
before every update, as DistributedDataParallel does it; the parameters stay the same in all of them. Batch
normalisation sees the part of its own process, again as there.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from pipeline.core.errors import ConfigError

# Seeds of very different length make processes wait; a lost one is noticed at once, by its closed connection.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among those that train together.

    Attributes:
        rank: its number, from 0; the first one writes all files.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def part(self, batch_size: int) -> slice:
        """Return this process's part of a batch.

        Raises:
            ConfigError: the batch cannot be divided evenly.
        """
        n_own, rest = divmod(batch_size, self.size)
        if rest or not n_own:
            raise ConfigError(
                f"a batch must be a multiple of the {self.size} processes that share it, got {batch_size}; change "
                "train.batch_size or the number of processes"
            )
        return slice(self.rank * n_own, (self.rank + 1) * n_own)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, in place, by their means over all processes."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(mean.view_as(tensor))

    def align(self, model: nn.Module) -> None:
        """Give all processes the first one's parameters and buffers."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            distributed.barrier()


ALONE = ProcessGroup()


@contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` started; without it this process is alone.

    Processes talk by NCCL where each has a GPU of its own, else by gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if has_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield ProcessGroup(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def is_lost_process(error: BaseException) -> bool:
    """Tell whether an error means that another process of the group is gone."""
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or "gloo" in text or "connection closed by peer" in text
