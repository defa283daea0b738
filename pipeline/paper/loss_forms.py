"""The paper's two forms of the loss side by side (appendix B and Fig. 7).

The primary form sums the five terms, the alternate one integrates the component out. For one sample an image they are
the same function of the parameters: equal values and equal gradients, shown here on a trained model. The alternate form
is the one that training runs.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.core.seeding import torch_generator
from pipeline.core.shapes import Inputs
from pipeline.model import FrozenModel
from pipeline.model.inputs import as_floats
from pipeline.training import objective


@dataclass(frozen=True)
class LossForms:
    """Both forms on the same images, noise and parameters, in double precision.

    Attributes:
        primary: loss in nats an image, from the five terms.
        alternate: loss in nats an image, with the component integrated out.
        gradient_difference: largest difference of any parameter's gradient, relative to the largest gradient.
    """

    primary: float
    alternate: float
    gradient_difference: float


def compare_loss_forms(model: FrozenModel, images: Inputs, seed: int) -> LossForms:
    """Compute both forms and their gradients.

    Args:
        model: a trained model.
        images: a batch.
        seed: of the posterior samples.
    """
    network = copy.deepcopy(model.vae).cpu().double().requires_grad_(True)
    x = as_floats(model.spec, images, torch.float64)[None]
    generator = torch_generator(seed, "loss forms")
    noise = [
        torch.randn(1, 1, len(images), dim, dtype=x.dtype, generator=generator) for dim in model.params.latent_dims
    ]
    fade_in = x.new_ones(model.n_facets)
    alternate = objective.loss(*objective.bound_of_model(network, x, noise, fade_in), fade_in)
    primary = -network.terms(x, noise, fade_in).elbo.mean()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    first, second = _gradient(primary, parameters), _gradient(alternate, parameters)
    difference = float((first - second).abs().max() / first.abs().max())
    return LossForms(primary.item(), alternate.item(), difference)


def _gradient(loss: Tensor, parameters: list[torch.nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])
