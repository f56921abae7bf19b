"""Folding batch normalisation into the convolutions before it: the same function in half the passes over memory."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batchnorm(model: nn.Module, sample: Tensor, keep: set[str]) -> nn.Module:
    """Return a copy of `model` (in eval mode) whose convolutions do the work of the batch norms that follow them.

    Which norm follows which convolution is seen in one forward pass of `sample` (N × 3 × H × W, on any device), not
    guessed from names. A pair is left alone where the convolution is named in `keep` or runs more than once, and the
    model is returned unchanged if the folded one does not give the same output. A norm becomes its own activation
    (timm's `BatchNormAct2d`) or an identity, so that its output is still found under its name.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return model  # without a pass, which is long through all of a VGG
    sample = sample.to(next(model.parameters()).device)
    found, output = _find_pairs(model, sample)
    pairs = [(conv, norm) for conv, norm in found if conv not in keep]
    if not pairs:
        return model
    modules = [model.get_submodule(name) for pair in pairs for name in pair]
    replaced = [tensor for each in modules for tensor in (*each.parameters(False), *each.buffers(False))]
    folded = copy.deepcopy(model, {id(tensor): tensor for tensor in replaced})  # which need no copies
    for conv_name, norm_name in pairs:
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        parent, _, leaf = norm_name.rpartition(".")
        setattr(folded.get_submodule(parent), leaf, getattr(norm, "act", nn.Identity()))
    with torch.no_grad():
        same = torch.allclose(output, folded(sample), rtol=1e-3, atol=1e-3)
    return folded if same else model


def _find_pairs(model: nn.Module, sample: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Names of the convolutions and of the batch norms whose input is that convolution's very output; the model's."""
    outputs: dict[int, tuple[str, Tensor]] = {}
    runs: dict[str, int] = {}
    pairs: dict[str, str] = {}

    def watch(name: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs[name] = runs.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                outputs[id(output)] = (name, output)  # held, so that no later tensor gets the same id
            elif id(inputs[0]) in outputs:
                pairs[outputs[id(inputs[0])][0]] = name

        return hook

    watched = [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    handles = [module.register_forward_hook(watch(name)) for name, module in watched]
    try:
        with torch.no_grad():
            output = model(sample)
    finally:
        for handle in handles:
            handle.remove()
    return [(conv, norm) for conv, norm in pairs.items() if runs[conv] == runs[norm] == 1], output
