"""Grad-CAM: the formula by hand, where it looks, and that it leaves the model as it was."""

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.errors import LampionError, ShapeError
from lampion.vision import grad_cam


def net():
    """Maps, their means, scores: so that gradients can be written down."""
    lp.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip


def test_the_formula():
    model, images = net(), lp.rand(5, 1, 8, 8)
    heat = grad_cam(model, model[1], images).numpy()
    model.eval()
    with lp.no_grad():
        maps, scores = model[:2](images).numpy(), model(images)
    weights = model[5].weight.detach().numpy()[scores.argmax(1).numpy()]  # the means' slopes: / 64 cancels
    expected = np.maximum(np.einsum("nk,nkyx->nyx", weights, maps), 0)
    expected /= np.maximum(expected.max((1, 2), keepdims=True), 1e-30)
    np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_classes_can_be_chosen():
    model, images = net(), lp.rand(4, 1, 8, 8)
    every = [grad_cam(model, model[0], images, c).numpy() for c in range(3)]
    mixed = grad_cam(model, model[0], images, lp.tensor([2, 0, 1, 1])).numpy()
    np.testing.assert_array_equal(mixed, np.stack([every[c][i] for i, c in enumerate((2, 0, 1, 1))]))


def test_heat_is_where_the_class_is():
    model = net()
    with lp.no_grad():  # map 0 finds what is bright, and speaks for class 1
        for p in model.parameters():
            p.zero_()
        model[0].weight[0, 0, 1, 1] = 1.0
        model[5].weight[1, 0] = 1.0
    image = lp.zeros(1, 1, 12, 12)
    image[0, 0, 2:4, 8:10] = 1.0
    heat = grad_cam(model, model[0], image)
    assert (heat.numpy() == image[0].numpy()).all()
    assert (grad_cam(model, model[0], image, 0) == 0).all()  # nothing speaks for it: no 0 / 0


def test_maps_are_enlarged():
    model = nn.Sequential(nn.Conv2d(1, 2, 4, stride=4), nn.Flatten(), nn.Linear(18, 2))
    heat = grad_cam(model, model[0], lp.rand(2, 1, 12, 12), 1)
    assert heat.shape == (2, 12, 12) and heat.min() >= 0 and heat.max() <= 1


def test_the_model_is_left_as_it_was():
    model, images = net().train(), lp.rand(2, 1, 8, 8)
    model[2].eval()
    with lp.no_grad():
        before = grad_cam(model, model[1], images)
    assert model.training and model[0].training and not model[2].training
    assert all(p.grad is None for p in model.parameters())
    np.testing.assert_array_equal(grad_cam(model, model[1], images), before)
    compiled = lp.compile(model)
    compiled(images)
    np.testing.assert_array_equal(grad_cam(compiled, model[1], images), grad_cam(model, model[1], images))


def test_what_is_wrong_is_said():
    model, images = net(), lp.rand(2, 1, 8, 8)
    with pytest.raises(ShapeError, match=r"(?s)no images.*unsqueeze"):
        grad_cam(model, model[0], images[0])
    with pytest.raises(LampionError, match="the layer was not run"):
        grad_cam(model, nn.Conv2d(1, 1, 1), images)
    with pytest.raises(ShapeError, match=r"(?s)puts out no maps.*\(2, 3\)"):
        grad_cam(model, model[5], images)
    with pytest.raises(ShapeError, match="does not score classes"):
        grad_cam(model[:3], model[0], images)
    with pytest.raises(LampionError, match=r"(?s)no such class.*0 to 2.*3 to 3"):
        grad_cam(model, model[0], images, 3)
    with pytest.raises(ShapeError, match=r"(?s)one class for each image.*\(2,\)"):
        grad_cam(model, model[0], images, lp.tensor([0, 1, 2]))
    silent = pytest.raises(LampionError, match=r"(?s)inference_mode records no gradients.*no_grad")
    with silent, lp.inference_mode():
        grad_cam(model, model[0], images)


class Cut(nn.Module):
    """A network whose scores do not lead back to its maps."""

    def __init__(self, whole):
        super().__init__()
        self.maps, self.scores = whole[:2], whole[2:]

    def forward(self, x):
        return self.scores.requires_grad_(False)(self.maps(x).detach())


def test_scores_that_do_not_lead_back():
    model = Cut(net())
    with pytest.raises(LampionError, match=r"(?s)no gradient reaches the layer.*detach"):
        grad_cam(model, model.maps, lp.rand(2, 1, 8, 8))


def of_maps(inplace):
    lp.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(144, 3))


@pytest.mark.parametrize("layer", [0, 1])
def test_layers_that_overwrite_come_after(layer):
    """The maps are those that the layer put out, even if the next one writes over them."""
    images = lp.rand(2, 1, 8, 8)
    plain, inplace = of_maps(False), of_maps(True)
    expected = grad_cam(plain, plain[layer], images, 1)
    np.testing.assert_array_equal(grad_cam(inplace, inplace[layer], images, 1), expected)
    assert bool(expected.any())


def test_frozen_networks():
    model, images = net(), lp.rand(2, 1, 8, 8)
    expected = grad_cam(model, model[1], images)
    model.requires_grad_(False)
    np.testing.assert_array_equal(grad_cam(model, model[1], images), expected)
    assert not images.requires_grad and not any(p.requires_grad for p in model.parameters())
