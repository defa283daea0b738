import torch

from tests.model.builders import SHARED, loss, ones, random_images, random_model, random_noise


def test_every_head_reads_one_trunk_and_the_decoder_reads_all_latents():
    model = random_model(SHARED)
    shapes = {name: tuple(value.shape[1:]) for name, value in model.network.named_parameters() if value.dim() == 3}
    assert shapes == {
        "trunk.layers.0.weight": (7, 12),
        "trunk.layers.1.weight": (6, 7),
        "heads.0.weight": (4, 6),
        "heads.1.weight": (6, 6),
        "decoder.layers.0.weight": (6, 5),
        "decoder.layers.1.weight": (7, 6),
        "output.weight": (12, 7),
    }


def test_against_a_plain_program():
    model, x = random_model(SHARED), random_images(SHARED)
    w = {name: value[0] for name, value in model.network.state_dict().items()}
    h = torch.relu(x[0].flatten(1) @ w["trunk.layers.0.weight"].T + w["trunk.layers.0.bias"])
    h = torch.relu(h @ w["trunk.layers.1.weight"].T + w["trunk.layers.1.bias"])
    means = [(h @ w[f"heads.{j}.weight"].T + w[f"heads.{j}.bias"]).chunk(2, -1)[0] for j in range(2)]
    posteriors = model.encode(x)
    for qz, mean in zip(posteriors, means, strict=True):
        torch.testing.assert_close(qz.mean[0], mean, rtol=1e-10, atol=1e-12)
    h = torch.cat([0.25 * means[0], means[1]], -1)
    for name in ("decoder.layers.0", "decoder.layers.1"):
        h = torch.relu(h @ w[f"{name}.weight"].T + w[f"{name}.bias"])
    raw = h @ w["output.weight"].T + w["output.bias"]
    fade_in = torch.tensor([0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(model.decode([qz.mean for qz in posteriors], fade_in)[0], raw, rtol=1e-10, atol=1e-12)


def test_a_waiting_facet_counts_nothing_and_its_parts_see_no_gradient():
    model, x = random_model(SHARED), random_images(SHARED)
    z = [torch.randn(1, 5, dim, dtype=torch.float64) for dim in SHARED.latent_dims]
    torch.testing.assert_close(model.decode(z[1:]), model.decode([0 * z[0], z[1]]), rtol=0, atol=0)
    loss(model, x, random_noise(SHARED)[1:], ones(SHARED)).backward()
    untouched = {name for name, value in model.named_parameters() if value.grad is None}
    own = ("network.heads.0.", "priors.0.")
    assert untouched == {name for name, _ in model.named_parameters() if name.startswith(own)}
