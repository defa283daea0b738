"""VaDE's start: a stacked denoising autoencoder, then a mixture fitted on what it learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.nn import functional

from pipeline.config.sections import PretrainParams
from pipeline.core.errors import ModelError
from pipeline.core.seeding import derive_seed, numpy_generator, torch_generator
from pipeline.mixture.initial import encode_means
from pipeline.model import MultiFacetVae
from pipeline.training.images import MemoryImages, TrainingImages
from pipeline.training.initialise import initialise_seed
from pipeline.training.network_init import init_network
from pipeline.training.pretrain import pretrain
from tests.model.builders import SHARED, SPEC, TINY
from tests.training.builders import INIT, assert_same_state, uint8_images

N, SEED = 40, 3
VADE = replace(
    TINY, hidden=((7, 6),), latent_dims=(2,), n_components=(4,), covariance=("diagonal",), likelihood="gaussian"
)
SHORT = PretrainParams(layer_epochs=1, epochs=1, batch_size=16, learning_rate=1e-2, corruption=0.3)


def split():
    return TrainingImages(MemoryImages(uint8_images(N), SPEC), np.arange(N), np.arange(0))


def started(params=VADE):
    model = MultiFacetVae(params, SPEC)
    init_network(model, [SEED], uint8_images() / 255)
    return model


def linear(x, layer):
    return functional.linear(x, *layer)


def plain_program(state):
    """Plain layers and a plain Adam; start weights as in ``state``, order and noise as the product draws them."""
    names = ["encoder_blocks.0.layers.0", "encoder_blocks.0.layers.1", "heads.0"]
    mirrors = ["output", "decoder_blocks.0.layers.0", "rungs.0.layers.0"]
    down, up = (
        [[state[f"network.{n}.{part}"][0].clone().requires_grad_() for part in ("weight", "bias")] for n in which]
        for which in (names, mirrors)
    )
    x = uint8_images(N).flatten(1) / 255

    def encode(h, start, stop):
        for k in range(start, stop):
            h = linear(h, down[k])[:, :2] if k == 2 else linear(h, down[k]).relu()
        return h

    def pixel_loss(h):
        mean = linear(h[0], up[0]).sigmoid()
        return (0.5 * (mean - h[1]).square() / VADE.sigma**2).sum(1).mean()

    def run(parameters, stage, loss):
        optimizer = torch.optim.Adam(parameters, lr=1e-2)
        order = numpy_generator(SEED, "init_mog", "pretrain", stage, 0).permutation(N)
        for rows in np.split(order, [16, 32]):
            optimizer.zero_grad()
            loss(x[rows]).backward()
            optimizer.step()

    for depth in range(3):
        noise = torch_generator(SEED, "init_mog", "pretrain", "corruption", depth)

        def loss(batch, depth=depth, noise=noise):
            target = encode(batch, 0, depth).detach()
            code = encode(target * (torch.rand(target.shape, generator=noise) >= 0.3), depth, depth + 1)
            if depth == 0:
                return pixel_loss((code, target))
            return (0.5 * (linear(code, up[depth]).relu() - target).square()).sum(1).mean()

        run([*down[depth], *up[depth]], f"layer-{depth}", loss)

    def whole(batch):
        h = encode(batch, 0, 3)
        return pixel_loss((linear(linear(h, up[2]).relu(), up[1]).relu(), batch))

    run([p for layer in down + up for p in layer], "whole", whole)
    pairs = [*zip(names, down, strict=True), *zip(mirrors, up, strict=True)]
    return {f"network.{n}.{part}": p for n, layer in pairs for part, p in zip(("weight", "bias"), layer, strict=True)}


def test_both_stages_against_a_plain_program():
    model = started()
    expected = plain_program({name: value.clone() for name, value in model.state_dict().items()})
    pretrain(model, SEED, split(), SHORT)
    assert expected.keys() == {name for name in model.state_dict() if name.startswith("network.")}
    for name, value in expected.items():
        torch.testing.assert_close(model.state_dict()[name][0], value.detach(), rtol=1e-3, atol=1e-5, msg=name)


def test_images_are_given_back_better_and_log_variances_stay():
    model = started(replace(VADE, hidden=((24, 12),), activation="elu"))
    head = model.state_dict()["network.heads.0.weight"][:, 2:].clone()
    x = uint8_images(N).float()[None] / 255

    def error():
        (qz,) = model.encode(x)
        return (model.likelihood.mean(model.decode([qz.mean])) - x.flatten(2)).square().mean().item()

    before = error()
    pretrain(model, SEED, split(), replace(SHORT, layer_epochs=10, epochs=30))
    assert error() < 0.6 * before
    assert torch.equal(model.state_dict()["network.heads.0.weight"][:, 2:], head)


def test_the_mixture_is_scikit_learns_with_weights_and_covariances():
    """The latents of a trained encoder mean something, so not only the fit's means are taken."""
    init = replace(INIT, pretrain=replace(SHORT, epochs=8))
    model, record = initialise_seed(SEED, VADE, split(), init, torch.device("cpu"))
    again, _ = initialise_seed(SEED, VADE, split(), init, torch.device("cpu"))
    assert_same_state(model.state_dict(), again.state_dict())
    (z,) = encode_means(model, [uint8_images(N)])
    reference = GaussianMixture(
        4,
        covariance_type="diag",
        reg_covar=record["fits"][0]["reg_covar"],
        max_iter=INIT.max_iter,
        random_state=derive_seed(SEED, "init_mog", 0) % 2**32,
    ).fit(z[0].double().numpy())
    prior = model.prior(0)
    np.testing.assert_allclose(prior.means[0].detach(), reference.means_, rtol=1e-5)
    np.testing.assert_allclose(prior.log_mixing_weights[0].exp().detach(), reference.weights_, rtol=1e-4)
    np.testing.assert_allclose(
        prior.covariance.matrices()[0].diagonal(dim1=-2, dim2=-1).detach(), reference.covariances_, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize(
    "params", [TINY, replace(SHARED, latent_dims=(2,), n_components=(4,), covariance=("diagonal",))]
)
def test_only_a_dense_ladder_of_one_facet(params):
    with pytest.raises(ModelError, match=r"needs a dense ladder of one facet, got family .* set init_mog.pretrain to"):
        pretrain(started(params), SEED, split(), SHORT)


def test_an_exploded_pretraining_says_what_to_lower():
    with pytest.raises(ModelError, match=r"seed 3 must end with finite weights.*learning_rate, now 1e\+30"):
        pretrain(started(), SEED, split(), replace(SHORT, learning_rate=1e30))
