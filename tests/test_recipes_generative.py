"""The recipes that make images, on a few made-up ones; on real ones they are measured in benchmarks."""

import json

import numpy as np
import pytest

import lampion as lp
from lampion import cli, nn
from lampion.datasets.images import Images
from lampion.errors import LampionError
from lampion.testing import assert_close, assert_compiled
from lampion.training import LambdaCallback

pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
pytest.importorskip("sklearn", reason="scikit-learn is not installed: a photograph comes with it")

from lampion.recipes import gan, style_transfer, vae, wgan_gp

GENERATED = {"settings.json", "metrics.json", "history.csv", "curves.png", "model.safetensors", "checkpoints"}


def made_up(train=True):
    """Bright squares."""
    generator = np.random.default_rng(int(train))
    pixels = generator.integers(0, 60, (32 if train else 1000, 1, 28, 28)).astype(np.uint8)
    pixels[:, :, 8:20, 8:20] = 230
    return Images(pixels, np.arange(len(pixels)) % 10)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for recipe in (gan, wgan_gp, vae):
        monkeypatch.setattr(recipe, "MNIST", made_up)
    monkeypatch.setattr(wgan_gp, "ROUNDS", 2)
    monkeypatch.setattr(style_transfer, "STEPS", 3)
    monkeypatch.setattr(style_transfer, "STYLE", (1, 6))
    monkeypatch.setattr(style_transfer, "CONTENT", 8)


def names(folder):
    return {path.name for path in folder.iterdir()}


def one_plan(recipe, **options):
    """Three compiled steps of a recipe: what they were compiled to."""
    lp.manual_seed(0)
    trainer, batches, _ = recipe.prepare(**options, compile=True)
    trainer.callbacks = [LambdaCallback(on_step_end=lambda t: setattr(t, "stop_now", t.step == 3))]
    trainer.fit(batches, epochs=1)
    (explanation,) = trainer.explain()
    (plan,) = explanation.plans
    assert plan.native and "call-outs 0" in str(explanation)
    return trainer


def eager(recipe, steps=3, **options):
    """The same, operation by operation."""
    lp.manual_seed(0)
    trainer, batches, _ = recipe.prepare(**options, compile=False)
    trainer.callbacks = [LambdaCallback(on_step_end=lambda t: setattr(t, "stop_now", t.step == steps))]
    trainer.fit(batches, epochs=1)
    return trainer


@pytest.mark.parametrize("recipe", [gan, wgan_gp], ids=["gan", "wgan-gp"])
def test_the_whole_step_of_both_networks_is_one_plan(recipe):
    options = {"batch_size": 4, "lr": 1e-3, "device": "cpu"}
    compiled, plain = one_plan(recipe, **options), eager(recipe, **options)
    found, expected = compiled.model.state_dict(), plain.model.state_dict()
    before = recipe.networks().state_dict()
    assert all(not lp.equal(found[name], value) for name, value in before.items() if "bias" not in name)
    for name, value in expected.items():
        # Adam makes of a tiny gradient's rounding a step of up to its learning rate.
        assert_close(found[name], value, rtol=2e-3, atol=1e-3)


def test_the_gradient_penalty_compiled():
    """The second derivative through convolutions, by the rule for all compiled code."""
    lp.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2, padding=2), nn.LeakyReLU(0.2), nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.Tanh(), nn.Flatten(), nn.Linear(6 * 9, 1),
    )  # fmt: skip
    named = dict(critic.named_parameters())

    class With(nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.weights = dict(zip(named, weights, strict=True))

        def forward(self, x):
            return lp.func.functional_call(critic, self.weights, (x,))

    def run(images, *weights):
        penalty = wgan_gp.gradient_penalty(With(weights), images)
        return penalty, *lp.autograd.grad(penalty, weights, allow_unused=True)[:-1]

    weights = [p.detach().clone().requires_grad_() for p in named.values()]
    assert_compiled(run, lp.rand(3, 1, 12, 12), *weights)


def test_a_step_of_vae_is_one_plan():
    options = {"epochs": 1, "batch_size": 8, "lr": 1e-3, "device": "cpu"}
    compiled, plain = one_plan(vae, **options), eager(vae, **options)
    for name, value in plain.model.state_dict().items():
        assert_close(compiled.model.state_dict()[name], value, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("recipe", [gan, wgan_gp], ids=["gan", "wgan-gp"])
def test_generators_go_on_with_the_same_bits(recipe, monkeypatch, tmp_path):
    options = {"epochs": 2, "batch_size": 8, "compile": False, "seed": 3}
    metrics = recipe.train(**options, out=tmp_path / "whole")
    assert names(tmp_path / "whole") == {*GENERATED, "generated", "by_epoch.png"}
    assert json.loads((tmp_path / "whole" / "metrics.json").read_text()) == metrics

    class Interrupted(recipe.ProgressBar):
        def on_step_end(self, trainer):
            super().on_step_end(trainer)
            if trainer.epoch == 1 and trainer.batch == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "ProgressBar", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            recipe.train(**options, out=tmp_path / "parts")
    recipe.train(**options, out=tmp_path / "parts", resume=True)
    for name in ("model.safetensors", "history.csv", "by_epoch.png", "generated/epoch-002.png"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_vae_leaves_its_plane(tmp_path):
    metrics = vae.train(epochs=2, batch_size=32, compile=False, out=tmp_path)
    pictures = {"reconstructions.png", "manifold.png", "plane.png", "generated.png"}
    assert names(tmp_path) == {*GENERATED, *pictures}
    history = (tmp_path / "history.csv").read_text().splitlines()
    assert history[0] == ("epoch,loss,reconstruction,divergence,validation_loss,validation_reconstruction,"
                          "validation_divergence,lr")  # fmt: skip
    assert metrics["test_loss"] == float(history[2].split(",")[4]) < float(history[1].split(",")[4])


def test_vae_bounds_the_evidence():
    """The parts of the loss, from their definitions."""
    lp.manual_seed(0)
    model = vae.VAE()
    images = lp.rand(5, 1, 28, 28)
    lp.manual_seed(1)
    losses = model(images)
    mean, log_variance = model.encoder(images).chunk(2, 1)
    lp.manual_seed(1)
    ink = model.draw(mean + (log_variance / 2).exp() * lp.randn(5, 2))
    missing = -(images * ink.log() + (1 - images) * (1 - ink).log()).sum() / 5
    from lampion.distributions import Normal, kl_divergence

    divergence = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum() / 5
    assert_close(losses["reconstruction"], missing, rtol=1e-5, atol=0)
    assert_close(losses["divergence"], divergence, rtol=1e-4, atol=1e-6)
    assert_close(losses["loss"], missing + divergence, rtol=1e-5, atol=0)


# -- style transfer ----------------------------------------------------------------------------------------


def test_style_transfer_goes_on_with_the_same_bits(monkeypatch, tmp_path, capsys):
    line = ["train", "style-transfer", "--epochs", "2", "--no-compile", "--set", "random_weights=yes",
            "--set", "size=32"]  # fmt: skip
    assert cli.main([*line, "--out", str(tmp_path / "whole")]) == 0
    folder = {*GENERATED - {"model.safetensors"}, "generated", "by_epoch.png", "style_transfer.png"}
    assert names(tmp_path / "whole") == folder
    rows = (tmp_path / "whole" / "history.csv").read_text().splitlines()
    assert rows[0] == "epoch,content_loss,style_loss,variation,lr"
    assert float(rows[2].split(",")[2]) < float(rows[1].split(",")[2])  # the style comes nearer

    class Interrupted(style_transfer.ProgressBar):
        def on_step_end(self, trainer):
            if trainer.epoch == 1 and trainer.batch == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(style_transfer, "ProgressBar", Interrupted)
        assert cli.main([*line, "--out", str(tmp_path / "parts")]) == 130
    assert cli.main(["train", "style-transfer", "--resume", "--out", str(tmp_path / "parts")]) == 0
    for name in ("style_transfer.png", "history.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_step_of_style_transfer_is_one_plan():
    options = {"lr": 0.01, "device": "cpu", "random_weights": True, "size": 32}
    compiled, plain = one_plan(style_transfer, **options), eager(style_transfer, **options)
    found, expected = compiled.model["picture"], plain.model["picture"]
    assert_close(found, expected, rtol=0, atol=5e-3)  # three steps of 0.01 each
    assert found.min() >= 0 and found.max() <= 1


def test_style_transfer_takes_weights_and_pictures(tmp_path):
    from PIL import Image

    from lampion.vision.models import vgg_features

    layers = vgg_features(19)
    state = {f"features.{name}": tensor for name, tensor in layers.state_dict().items()}
    lp.save({**state, "classifier.0.weight": lp.ones(2, 2)}, tmp_path / "vgg19.safetensors")
    features = style_transfer.Features(str(tmp_path / "vgg19.safetensors"))
    assert lp.equal(features.layers[5].weight, layers[5].weight)
    x = lp.rand(1, 3, 16, 16)
    seen = features(x)
    assert list(seen) == [1, 6, 8]
    middle, spread = lp.tensor([0.485, 0.456, 0.406]), lp.tensor([0.229, 0.224, 0.225])
    y = (x - middle.reshape(3, 1, 1)) / spread.reshape(3, 1, 1)
    assert_close(seen[6], layers[:7](y), rtol=1e-5, atol=1e-6)

    Image.fromarray(np.full((40, 60, 3), (255, 0, 51), np.uint8)).save(tmp_path / "red.png")
    photograph = style_transfer.photograph(str(tmp_path / "red.png"), 20)
    assert tuple(photograph.shape) == (1, 3, 20, 20)
    assert_close(photograph[0, :, 3, 3], lp.tensor([1.0, 0.0, 0.2]), rtol=0, atol=1e-6)
    assert tuple(style_transfer.waves(16).shape) == (1, 3, 16, 16)


def test_style_transfer_says_that_it_needs_weights(tmp_path):
    with pytest.raises(LampionError, match="needs the weights of VGG-19") as raised:
        style_transfer.train(out=tmp_path)
    assert "--set weights=" in str(raised.value) and "--set random_weights=yes" in str(raised.value)


def test_the_losses_of_style_transfer():
    x = lp.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two filters, two places
    assert_close(style_transfer.gram(x), lp.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 2)
    assert style_transfer.relative(lp.tensor([1.0, 2.0]), lp.tensor([0.0, 2.0])).item() == 0.25
    assert style_transfer.variation(lp.tensor([[[[0.0, 2.0], [1.0, 3.0]]]])).item() == 1.0 + 4.0


def test_settings_on_the_command_line(capsys, tmp_path):
    with pytest.raises(SystemExit):
        cli.main(["train", "gan", "--set", "size"])
    assert "expected NAME=VALUE, got 'size'" in capsys.readouterr().err
    for text, expected in (("size=big", "int, as 256"), ("random_weights=perhaps", "yes or no"),
                           ("style_weight=x", "float, as 1.0")):  # fmt: skip
        assert cli.main(["train", "style-transfer", "--set", text, "--out", str(tmp_path)]) == 1
        err = capsys.readouterr().err
        assert f"--set {text} is of another kind" in err and f"expected: {expected}" in err
    assert cli.main(["train", "gan", "--set", "size=3", "--out", str(tmp_path)]) == 1
    assert "the recipe gan has no option size" in capsys.readouterr().err
    assert cli.main(["explain", "gan", "--set", "size=3"]) == 1
    assert "the step of gan does not depend on size" in capsys.readouterr().err


def test_explain_takes_settings(capsys):
    assert cli.main(["explain", "style-transfer"]) == 1
    assert "needs the weights of VGG-19" in capsys.readouterr().err
    assert cli.main(["explain", "style-transfer", "--set", "random_weights=yes", "--set", "size=32"]) == 0
    assert "1 plan(s)" in capsys.readouterr().out
