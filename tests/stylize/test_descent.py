"""The optimizers against torch's own, and what they do when a loss explodes."""

import pytest
import torch

from dltool.stylize.descent import Descents
from dltool.stylize.lbfgs import Lbfgs
from dltool.stylize.objective import Losses
from dltool.stylize.settings import Optimizer, StylizeSettings


def _valley(seed: int = 0):
    """A narrow quadratic valley with 60 dimensions: loss and gradient."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(0, 2, 60)
    goal = torch.rand(60, generator=generator)

    def loss_and_gradient(image):
        difference = image.detach().flatten() - goal
        return (scales * difference.square()).sum().item(), (2 * scales * difference).view_as(image)

    return loss_and_gradient


def test_lbfgs_takes_the_steps_of_torch_s():
    valley = _valley()
    ours, theirs = torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 5, requires_grad=True)
    torch_s = torch.optim.LBFGS([theirs], 0.5, max_iter=1, history_size=5, tolerance_grad=0, tolerance_change=0)
    own = Lbfgs(0.5, 5)

    def closure():
        theirs.grad = valley(theirs)[1]
        return torch.tensor(valley(theirs)[0])

    for _ in range(25):
        own.step(ours, valley(ours)[1])
        torch_s.step(closure)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("history_type", [None, torch.bfloat16])
def test_lbfgs_finds_the_bottom_with_a_short_or_rounded_history(history_type):
    valley, image = _valley(), torch.zeros(1, 3, 4, 5)
    optimizer = Lbfgs(1.0, 4, history_type)
    for _ in range(120):
        optimizer.step(image, valley(image)[1])
    assert valley(image)[0] < 1e-3 * valley(torch.zeros(1, 3, 4, 5))[0]


def test_several_images_take_the_steps_that_each_takes_alone():
    """Also where one of them begins anew on the way, with short steps."""
    valleys = [_valley(seed) for seed in range(3)]
    together, alone = torch.zeros(3, 3, 4, 5), list(torch.zeros(3, 3, 4, 5).split(1))
    own, each = Lbfgs(0.5, 5), [Lbfgs(0.5, 5) for _ in alone]
    for step in range(25):
        if step == 9:
            own.forget(1, 0.4, 0.01)
            each[1].forget(0, 0.4, 0.01)
        own.step(
            together, torch.cat([valley(image)[1] for valley, image in zip(valleys, together.split(1), strict=True)])
        )
        for optimizer, valley, image in zip(each, valleys, alone, strict=True):
            optimizer.step(image, valley(image)[1])
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-3)
    assert not torch.equal(together[0], together[1])


class _Exploding:
    """A quadratic objective whose loss is not a number wherever a step was too long."""

    def evaluate(self, image):
        distance = (image - 0.5).square().sum()
        loss = distance.item() if distance < 20 else float("nan")
        return [Losses(loss, loss, loss)], 2 * (image - 0.5) if distance < 20 else torch.full_like(image, float("nan"))


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_a_loss_that_is_not_a_number_goes_on_from_the_best_image_with_a_smaller_step(optimizer: Optimizer):
    settings = StylizeSettings(optimizer=optimizer, learning_rate=50.0 if optimizer is Optimizer.LBFGS else 0.02)
    descent = Descents(_Exploding(), [torch.zeros(1, 3, 4, 4)], settings)
    (first,) = descent.step()
    for _ in range(20):
        descent.step()
    ((image, losses),) = descent.finish()
    assert (descent.each[0].restarts > 0) == (optimizer is Optimizer.LBFGS)
    assert image.isfinite().all()
    assert losses.total < 0.2 * first.total


class _Overshooting:
    """Losses as told, whatever the image."""

    def __init__(self) -> None:
        self._losses = iter([1.0, 0.9, 4.5])

    def evaluate(self, image):
        loss = next(self._losses)
        return [Losses(loss, loss, loss)], torch.full_like(image, 0.01)


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_lbfgs_goes_back_to_the_best_image_when_a_step_multiplies_the_loss_and_adam_does_not(optimizer: Optimizer):
    descents = Descents(_Overshooting(), [torch.full((1, 3, 2, 2), 0.5)], StylizeSettings(optimizer=optimizer))
    descents.step()
    best = descents.each[0].image.clone()
    descents.step()
    descents.step()
    assert (descents.each[0].restarts > 0) == (optimizer is Optimizer.LBFGS)
    assert torch.equal(descents.each[0].image, best) == (optimizer is Optimizer.LBFGS)


def test_an_average_that_is_much_worse_than_the_best_image_is_not_taken():
    settings = StylizeSettings(optimizer=Optimizer.ADAM, average=0.5, learning_rate=0.9)
    descent = Descents(_Exploding(), [torch.full((1, 3, 2, 2), 0.45)], settings)
    for _ in range(3):
        descent.step()
    ((image, losses),) = descent.finish()
    assert torch.equal(image, torch.full((1, 3, 2, 2), 0.45))
    assert losses == descent.each[0].best_losses


def test_the_average_is_the_bias_corrected_mean_of_the_images():
    settings = StylizeSettings(optimizer=Optimizer.ADAM, average=0.5)
    descent = Descents(_Exploding(), [torch.zeros(1, 3, 2, 2)], settings)
    seen = []
    for _ in range(3):
        descent.step()
        seen.append(descent.each[0].image.clone())
    expected = (0.25 * seen[0] + 0.5 * seen[1] + seen[2]) / 1.75
    ((image, losses),) = descent.finish()
    torch.testing.assert_close(image, expected)
    assert losses.total == pytest.approx((expected - 0.5).square().sum().item(), rel=1e-5)
