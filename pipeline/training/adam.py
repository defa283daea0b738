"""Adam by torch's fused kernel, for groups of parameters whose rates are tensors.

``torch.optim.Adam`` calls the same kernel, but building one imports torch's compiler. What an Adam without it gains: it
is imported and built in half the time at every start of a training (benchmarks/startup.py), and moves a small network
in nine tenths (benchmarks/training.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

_EPSILON = 1e-8  # as in Adam's paper (Kingma and Ba, 2015), added to the root of the second moment


class Moments(NamedTuple):
    """Running means of a parameter's gradient and of its square, and how many gradients they have seen."""

    mean: Tensor
    square: Tensor
    n_steps: Tensor


def _alone(_: Sequence[Tensor]) -> None:
    """Leave the gradients as they are."""


class Adam:
    """Adam over groups of parameters; every group has a learning rate, a tensor that may change before each step.

    Moments and bias correction belong to each parameter and begin when its first gradient arrives, so that a facet that
    joins late starts fresh while the others go on.

    Args:
        groups: the parameters, all on one device.
        betas: decay of the first and of the second moment.
        average: replaces all gradients, in place, by their means over the processes that train together.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[nn.Parameter]],
        betas: tuple[float, float],
        average: Callable[[Sequence[Tensor]], None] = _alone,
    ) -> None:
        self.groups = [list(group) for group in groups]
        self.rates = [torch.zeros((), device=group[0].device) for group in self.groups]
        self.moments: dict[nn.Parameter, Moments] = {}
        self._betas, self._average = betas, average
        self._stream: torch.cuda.Stream | None = None
        self._moved: list[Tensor] = []

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.groups:
            for parameter in group:
                parameter.grad = None

    def move_with(self, compute_weights: Mapping[nn.Parameter, nn.Parameter]) -> None:
        """Move some parameters from now on as soon as the gradients of their compute weights are there, and those too.

        Updates are bound by memory, gradients by products: on a GPU they go on side by side. Rates must be set before
        gradients are computed; :meth:`step` waits for the updates.

        Args:
            compute_weights: by parameter, the one in lower precision that gradients are computed for
                (see ``kernels.adam``).
        """
        if any(parameter.is_cuda for parameter in compute_weights):
            self._stream = torch.cuda.Stream()
        for group, rate in zip(self.groups, self.rates, strict=True):
            for parameter in group:
                if parameter in compute_weights:
                    hook = partial(self._move_with, parameter, rate)
                    compute_weights[parameter].register_post_accumulate_grad_hook(hook)

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        moving = [[p for p in group if p.grad is not None] for group in self.groups]
        self._average([_gradient(parameter) for group in moving for parameter in group])
        for parameters, rate in zip(moving, self.rates, strict=True):
            if parameters:
                self._update(parameters, rate)
        if self._moved:
            if self._stream is not None:
                torch.cuda.current_stream().wait_stream(self._stream)
            torch.ops.aten._foreach_add_.Scalar(self._moved, 1.0)
            self._moved = []

    def forget(self, parameters: Sequence[nn.Parameter]) -> None:
        """Set the moments of some parameters to zero, in place: their next gradient is their first."""
        for parameter in parameters:
            for value in self.moments.get(parameter, ()):
                value.zero_()

    def state(self) -> list[list[Tensor]]:
        """Return the moments in the order of the parameters; those that have none yet are empty."""
        return [list(self.moments.get(parameter, ())) for group in self.groups for parameter in group]

    def load_state(self, state: Sequence[Sequence[Tensor]]) -> None:
        """Take what :meth:`state` returned for the same parameters."""
        parameters = [parameter for group in self.groups for parameter in group]
        self.moments = {p: Moments(*values) for p, values in zip(parameters, state, strict=True) if values}

    def _update(self, parameters: list[nn.Parameter], rate: Tensor) -> None:
        moments = [self._moments(parameter) for parameter in parameters]
        n_steps = [each.n_steps for each in moments]
        torch.ops.aten._foreach_add_.Scalar(n_steps, 1.0)
        torch.ops.aten._fused_adam_.tensor_lr(
            parameters,
            [_gradient(parameter) for parameter in parameters],
            [each.mean for each in moments],
            [each.square for each in moments],
            [],
            n_steps,
            lr=rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    @torch.no_grad()
    def _move_with(self, parameter: nn.Parameter, rate: Tensor, copy: nn.Parameter) -> None:
        from pipeline.kernels import adam

        with self.aside():
            mean, square, n_steps = self._moments(parameter)
            gradient = _gradient(copy).contiguous()
            adam.update(parameter, mean, square, gradient, copy, rate, n_steps, self._betas, _EPSILON)
        self._moved.append(n_steps)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Work beside the products, after what the current stream has to do so far; :meth:`step` waits for it."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield

    def _moments(self, parameter: nn.Parameter) -> Moments:
        found = self.moments.get(parameter)
        if found is None:
            n_steps = torch.zeros((), device=parameter.device)
            found = Moments(torch.zeros_like(parameter), torch.zeros_like(parameter), n_steps)
            self.moments[parameter] = found
        return found


def _gradient(parameter: nn.Parameter) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None
    return gradient
