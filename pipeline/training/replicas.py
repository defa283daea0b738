"""The seeds of a step in groups that a GPU works on at the same time, each with weights as its products want them.

A batched product over all seeds fills a GPU, convolutions over all seeds do not: cuDNN takes them one after another. So
seeds are divided into replicas that run side by side on streams of their own. On a GPU a replica has compute weights
of its own for all products: in their precision, and with widths that the matrix units can load.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline import kernels
from pipeline.config.sections import ModelParams
from pipeline.model import MultiFacetVae
from pipeline.model.convolution import Convolution
from pipeline.model.dense import Dense, make_room

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Replica:
    """Some seeds and the model whose network computes for them.

    Attributes:
        model: its network takes their images; its mixtures are unused.
        seeds: which, along the seed axis.
    """

    model: MultiFacetVae
    seeds: slice


class Replicas:
    """A model with a seed axis, and the replicas that compute its networks' gradients.

    Args:
        model: the master; its parameters are what an optimiser moves.
        precision: type of the network's products.
        n_seeds: seeds of a replica; ``None`` makes one replica of the master itself.
        moves_compute_weights: whether the optimiser is to take the gradients of :attr:`compute_weights` and to keep
            these up to date.

    Attributes:
        model: the master.
        compute_weights: those of a single replica for all seeds, by the master's parameter, if the optimiser moves
            them.
    """

    def __init__(
        self, model: MultiFacetVae, precision: torch.dtype, n_seeds: int | None, moves_compute_weights: bool = False
    ) -> None:
        self.model = model
        self.compute_weights: dict[nn.Parameter, nn.Parameter] = {}
        self._streams: list[torch.cuda.Stream] = []
        self._own: list[Tensor] = []
        self._masters: list[Tensor] = []
        if n_seeds is None:
            self._replicas = [Replica(model, slice(0, model.n_seeds))]
            return
        parts = [slice(i, min(i + n_seeds, model.n_seeds)) for i in range(0, model.n_seeds, n_seeds)]
        self._replicas = [Replica(self._copy(part, precision), part) for part in parts]
        self.refresh()
        if moves_compute_weights and len(parts) == 1:
            own = dict(self._replicas[0].model.network.named_parameters())
            products = _product_parameters(model.network)
            self.compute_weights = {p: own[name] for name, p in model.network.named_parameters() if name in products}
        if model.prior(0).means.is_cuda:
            # Before what runs aside: updates take what the products leave.
            self._streams = [torch.cuda.Stream(priority=-1) for _ in parts]

    def zero_grad(self) -> None:
        """Forget all gradients of the replicas' networks."""
        for replica in self._replicas:
            for parameter in replica.model.network.parameters():
                parameter.grad = None

    def start(self, work: Callable[[Replica], Result]) -> dict[Replica, Result]:
        """Do some work for every replica: on streams of their own on a GPU, one after another elsewhere.

        On a GPU the results may be used after :meth:`join` only.
        """
        if not self._streams:
            return {replica: work(replica) for replica in self._replicas}
        results, main = {}, torch.cuda.current_stream()
        for replica, stream in zip(self._replicas, self._streams, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                results[replica] = work(replica)
        return results

    def join(self) -> None:
        """Wait, on the current stream, for what was started."""
        for stream in self._streams:
            torch.cuda.current_stream().wait_stream(stream)

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the replicas' weights up to the master's."""
        _copy_all(self._own, self._masters)

    @torch.no_grad()
    def collect(self) -> None:
        """Bring the replicas' gradients to the master, except those that the optimiser takes by itself."""
        if self._replicas[0].model is self.model:
            return
        found = [dict(replica.model.network.named_parameters()) for replica in self._replicas]
        targets, sources = [], []
        for name, master in self.model.network.named_parameters():
            if master in self.compute_weights:
                continue
            gradients = [parameters[name].grad for parameters in found]
            master.grad = None if gradients[0] is None else torch.empty_like(master)
            for replica, gradient in zip(self._replicas, gradients, strict=True):
                if master.grad is not None and gradient is not None:
                    targets.append(master.grad[replica.seeds])
                    sources.append(_corner(gradient, targets[-1]))
        _copy_all(targets, sources)

    def _copy(self, seeds: slice, precision: torch.dtype) -> MultiFacetVae:
        """Return a model of some seeds whose products have weights of their own; all else is the master's memory."""
        params = _widened(self.model.params, precision) if self.model.network.can_widen else self.model.params
        model = MultiFacetVae(params, self.model.spec, seeds.stop - seeds.start)
        products = _product_parameters(model.network)
        masters = dict(self.model.network.named_parameters())
        for name, parameter in model.network.named_parameters():
            master = masters[name].data[seeds]
            if name in products:
                parameter.data = make_room(tuple(parameter.shape), master, precision)
                self._own.append(_corner(parameter.data, master))
                self._masters.append(master)
            else:
                parameter.data = master
        for name, buffer in self.model.network.named_buffers():
            module, _, leaf = name.rpartition(".")
            setattr(model.network.get_submodule(module), leaf, buffer[seeds])
        return model.train()


def seeds_a_replica(model: MultiFacetVae) -> int | None:
    """Return how many seeds one replica takes: on a processor, where seeds train alone, the master does the work."""
    if not model.prior(0).means.is_cuda:
        return None
    return model.network.seeds_at_once or model.n_seeds


def _product_parameters(network: nn.Module) -> set[str]:
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, Dense | Convolution)]
    return {f"{name}.{leaf}" for name, layer in layers for leaf, _ in layer.named_parameters()}


def _widened(params: ModelParams, precision: torch.dtype) -> ModelParams:
    """Return dense layers with widths that matrix units load well; what is added computes zeros from zeros."""
    hidden = tuple(tuple(kernels.up_to_a_load(width, precision) for width in block) for block in params.hidden)
    return replace(params, hidden=hidden)


def _corner(whole: Tensor, like: Tensor) -> Tensor:
    """Return the part of a tensor, from the first entry on, that has another's shape."""
    return whole[tuple(slice(n) for n in like.shape)]


def _copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensor by tensor; those without gaps and of the same types in one launch."""
    kinds: dict[tuple[bool, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        is_dense = target.is_contiguous() and source.is_contiguous()
        of_kind = kinds.setdefault((is_dense, source.dtype), ([], []))
        of_kind[0].append(target)
        of_kind[1].append(source)
    for of_kind in kinds.values():
        torch.ops.aten._foreach_copy_(*of_kind)
