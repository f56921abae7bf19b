"""Muon: orthogonal steps inside, Adam's at both ends."""

import copy

import torch
from torch import nn

from dltool.training.muon import Muon, orthogonalize, orthogonalize_all
from tests.pretend.card import CUDA, pretend_card


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3), nn.Conv2d(12, 4, 3))


def test_singular_values_become_about_one():
    torch.manual_seed(0)
    for shape in ((8, 40), (40, 8), (16, 16)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape) * torch.rand(shape[1])))
        assert values.min() > 0.3 and values.max() < 1.3
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_only_inner_weights_take_orthogonal_steps_and_the_others_follow_adam():
    network = _network()
    twin = copy.deepcopy(network)
    before = [weight.detach().clone() for weight in network.parameters()]
    muon, adam = Muon(network, lr=1e-2), torch.optim.Adam(twin.parameters(), lr=1e-2, betas=(0.9, 0.99))
    inputs = torch.randn(2, 3, 9, 9)
    network(inputs).square().mean().backward()
    twin(inputs).square().mean().backward()
    muon.step()
    adam.step()
    for number, (weight, other) in enumerate(zip(network.parameters(), twin.parameters(), strict=True)):
        assert torch.allclose(weight, other, atol=1e-6) == (number != 2)
    step = ((before[2] - list(network.parameters())[2]) / 1e-2).reshape(12, -1)
    values = torch.linalg.svdvals(step) / (0.2 * 72**0.5)
    assert values.min() > 0.3 and values.max() < 1.3


def test_state_is_enough_to_go_on_exactly():
    network = _network()
    optimizer = Muon(network, lr=1e-3)
    inputs = torch.randn(2, 3, 9, 9)

    def step(model: nn.Module, muon: Muon) -> None:
        muon.zero_grad()
        model(inputs).square().mean().backward()
        muon.step()

    step(network, optimizer)
    twin = copy.deepcopy(network)
    other = Muon(twin, lr=1e-3)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, muon in ((network, optimizer), (twin, other)):
        step(model, muon)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


def test_on_a_card_matrices_of_like_sizes_go_together_and_come_out_the_same():
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in ((8, 40), (7, 60), (8, 12), (40, 8), (30, 7), (3, 5))]
    alone = orthogonalize_all(matrices)
    with pretend_card() as card:
        together = [each.cpu() for each in orthogonalize_all([matrix.to(CUDA) for matrix in matrices])]
    assert card.operations["baddbmm"] == 2 * 2 * 5 and card.operations["addmm"] == 2 * 5
    for one, other in zip(alone, together, strict=True):
        assert (one - other).norm() < 0.02 * one.norm()
