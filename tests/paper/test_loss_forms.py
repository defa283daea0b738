import pytest
import torch

from pipeline.model import FrozenModel
from pipeline.paper.loss_forms import compare_loss_forms
from pipeline.training import objective
from tests.evaluation.trained import random_vae


@pytest.mark.parametrize("n_components", [(3,), (4, 2, 3)])
def test_both_forms_agree_in_value_and_gradient(n_components):
    model = FrozenModel(random_vae(n_components, (1, 4, 4)), "m-0123456789ab")
    images = torch.randint(0, 256, (9, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.vae.state_dict().items()}
    found = compare_loss_forms(model, images, seed=0)
    assert found.primary == pytest.approx(found.alternate, rel=1e-12)
    assert found.gradient_difference < 1e-10
    assert found.primary != compare_loss_forms(model, images, seed=1).primary
    for name, value in model.vae.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])


def test_a_wrong_form_would_show(monkeypatch):
    model = FrozenModel(random_vae((3, 2), (1, 4, 4)), "m-0123456789ab")
    images = torch.zeros(5, 1, 4, 4, dtype=torch.uint8)
    original = objective.bound

    def halved(*arguments):
        log_px, kls = original(*arguments)
        return log_px, [kls[0], kls[1] / 2]

    monkeypatch.setattr(objective, "bound", halved)
    found = compare_loss_forms(model, images, seed=0)
    assert found.gradient_difference > 1e-4
