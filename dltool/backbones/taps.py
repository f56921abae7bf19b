"""Taps: the outputs of named layers from one forward pass that ends with the last of them."""

from collections.abc import Sequence
from types import TracebackType

import torch
from torch import Tensor, nn

from dltool.errors import ModelError


class _LastTap(Exception):
    """Ends a forward pass once every tap has its output."""


class Taps:
    """Context manager that captures the outputs of some of a network's layers.

    >>> with Taps(model, ["layer1", "layer2.0.conv1"]) as taps:
    ...     features = taps(images)  # {"layer1": Tensor, "layer2.0.conv1": Tensor}

    Each output is the layer's own: where a following in-place operation would overwrite it (the ReLU behind every
    convolution of a VGG) the network goes on with a copy, and only there. A layer that runs several times in a pass
    gives its last output. Gradients flow through, to the input and from the network's answer, which has the name `""`.
    The hooks go when the context ends; the model is otherwise untouched.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        """Prepare taps on `layers`, names of modules of `model` (`dltool.backbones.layers` resolves other names)."""
        self._model = model
        self._modules = {name: model.get_submodule(name) for name in dict.fromkeys(layers)}
        self._captured: dict[str, tuple[Tensor, int]] = {}
        self._calls: dict[str, int] = {}
        self._expected: dict[str, int] | None = None
        self._overwritten: set[str] = set()
        self._handles: list = []

    def __enter__(self) -> "Taps":
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._captured.clear()

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Run the network on N × 3 × H × W `images` and return the layers' outputs by name, in the order asked for.

        Raises:
            ModelError: a layer was not reached, or its output is not one tensor.
        """
        self._forward(images)
        changed = {name for name, (output, version) in self._captured.items() if _version(output) != version}
        if changed:
            self._overwritten |= changed
            self._forward(images)
        missed = [name for name in self._modules if name not in self._captured]
        if missed:
            raise ModelError(f"layer {missed[0]}: the network's forward pass does not reach it")
        outputs = {name: self._captured[name][0] for name in self._modules}
        self._captured.clear()
        return outputs

    def _forward(self, images: Tensor) -> None:
        self._captured.clear()
        self._calls = dict.fromkeys(self._modules, 0)
        try:
            self._model(images)
        except _LastTap:
            return
        except (RuntimeError, ValueError, AssertionError):
            # The part behind the taps may not fit the image; how often each tap runs is known all the same.
            if len(self._captured) < len(self._modules) or self._expected is not None:
                raise
        # The first pass went to the end, to learn how often each layer runs; later ones stop after the last tap.
        self._expected = dict(self._calls)

    def _hook(self, name: str):
        def capture(module: nn.Module, inputs: object, output: object) -> Tensor | None:
            if not isinstance(output, Tensor):
                raise ModelError(f"layer {name}: its output is a {type(output).__name__}, not one tensor")
            self._calls[name] += 1
            self._captured[name] = (output, _version(output))
            if self._calls == self._expected:
                raise _LastTap
            # The network goes on with the copy, not the caller: what is captured stays on the way from the input to
            # the network's answer, so that gradients of the answer with respect to it exist.
            return output.clone() if name in self._overwritten or output.is_inference() else None

        return capture


def _version(tensor: Tensor) -> int:
    """Torch's count of in-place changes; tensors of inference mode have none (they are cloned at once)."""
    return 0 if tensor.is_inference() else tensor._version


def modules_run(model: nn.Module, layers: Sequence[str], images: Tensor) -> set[str]:
    """Names of the modules that run in a forward pass of `images` which ends with the last of `layers`."""
    ran: set[str] = set()
    with torch.no_grad(), Taps(model, layers) as taps:
        taps(images)
        handles = [
            module.register_forward_pre_hook(lambda *_, name=name: ran.add(name))
            for name, module in model.named_modules()
        ]
        try:
            taps(images)
        finally:
            for handle in handles:
                handle.remove()
    return ran


def require_tensors(model: nn.Module, missing: Sequence[str], layers: Sequence[str], images: Tensor, file: str) -> None:
    """Check that the forward pass of `images` up to the last of `layers` uses none of the tensors named `missing`.

    Raises:
        ModelError: it does; the message names the weights `file` that lacks them.
    """
    if not missing:
        return
    used = modules_run(model, layers, images)
    lacking = [name for name in missing if name.rpartition(".")[0] in used]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ModelError(f"--weights {file}: lacks {lacking[0]}{more}, which the layers asked for need")
