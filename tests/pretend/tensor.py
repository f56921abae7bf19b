"""Tensors that say they are on cuda:0 while a tensor on the CPU, which they wrap, holds and computes their values."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretend.counts import Counts

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")

# Operations that start no kernel though they are no views; a crossing between the devices is counted as a copy.
_NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "_unsafe_view"}
_NO_KERNEL |= {"detach", "detach_", "alias", "resize_", "set_", "_reshape_alias", "_local_scalar_dense"}
# Operations whose result's shape or value is known only when the device has computed it.
_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"}
_WAITING |= {"is_nonzero", "bincount", "histc", "_linalg_eigh", "_linalg_svd", "linalg_eig"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class Pretended(Tensor):
    """A tensor on the pretend card."""

    host: Tensor
    card: Counts

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor, card: Counts, requires_grad: bool = False) -> "Pretended":
        # To C++ it is on the CPU, so that autograd and autocast do what they do there; Python sees `device` below.
        self = torch.Tensor._make_wrapper_subclass(
            *(cls, host.shape, host.stride(), host.storage_offset()),
            dtype=host.dtype,
            device=CPU,
            requires_grad=requires_grad,
        )
        self.host, self.card = host, card
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        ours: list[Pretended] = []
        for each in (*args, *(kwargs or {}).values()):
            _host_of(each, ours, [])
        return dispatch(ours[0].card, func, args, kwargs or {})

    @property
    def device(self) -> torch.device:
        return CUDA

    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        copy = kwargs.pop("copy", False)
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        more = {} if memory_format in (None, torch.preserve_format) else {"memory_format": memory_format}
        source: Tensor = self
        if device is not None and device.type == "cpu":
            source, copy = _ToHost.apply(self, non_blocking), False
        return Tensor.to(source, self.dtype if dtype is None else dtype, copy=copy, **more)

    def cpu(self, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
        return self.to("cpu", memory_format=memory_format)

    def cuda(self, *_: Any, **__: Any) -> "Pretended":
        return self

    def tolist(self) -> Any:
        self.card.wait("tolist")
        return self.host.tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, requires_grad: bool = False) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=CUDA, requires_grad=requires_grad)

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor first.")

    __array__ = numpy

    def pin_memory(self, *_: Any) -> Any:
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")

    def untyped_storage(self) -> Any:
        return self.host.untyped_storage()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pretended":
        if id(self) not in memo:
            copied = Pretended(self.host.detach().clone(memory_format=torch.preserve_format), self.card)
            copied._is_param = getattr(self, "_is_param", False)
            memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.host.detach().clone().__reduce_ex__(protocol)  # as read on a machine without a card

    def __repr__(self) -> str:
        return f"Pretended({tuple(self.shape)}, {self.dtype})"


class _ToHost(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, source: Pretended, non_blocking: bool) -> Tensor:
        context.card = source.card
        source.card.fetch(streamed=non_blocking)
        return source.host.detach().clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        context.card.copy("gradient")
        return Pretended(gradient, context.card), None


class OnCard(TorchDispatchMode):
    """Within it, tensors that are asked for on cuda are made on the pretend card."""

    def __init__(self, card: Counts) -> None:
        super().__init__()
        self._card = card

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's wrapper against compilation, which costs every operation as much as this mode

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if torch._C._current_graph_task_id() != self._card.backward_pass:
            device = kwargs.get("device") if kwargs else None
            if (device is None or torch.device(device).type != "cuda") and not (
                any(map(_is_ours, args)) or (kwargs and any(map(_is_ours, kwargs.values())))
            ):
                return func(*args, **(kwargs or {}))  # most of what the CPU does for itself
        return dispatch(self._card, func, args, kwargs or {})


def _is_ours(each: Any) -> bool:
    """Whether something that an operation is given is on the card, or a list with something that is."""
    kind = type(each)
    return kind is Pretended or ((kind is list or kind is tuple) and any(type(inner) is Pretended for inner in each))


def _host_of(each: Any, ours: list[Pretended], others: list[Tensor]) -> Any:
    """The same for the CPU; what tensors there are is added to the lists. Lists of torch's operations are flat."""
    kind = type(each)
    if kind is Pretended:
        ours.append(each)
        return each.host
    if kind is list or kind is tuple:
        return [_host_of(inner, ours, others) for inner in each]
    if isinstance(each, Tensor):
        others.append(each)
    return each


class _Facts:
    """What does not change about an operation: its name, whether it draws random numbers, what it costs the card."""

    def __init__(self, func: Any) -> None:
        self.name = func._schema.name.removeprefix("aten::")
        self.draws = any("Generator" in str(each.type) for each in func._schema.arguments)
        self.is_kernel = not func.is_view and self.name not in _NO_KERNEL
        self.waits = self.name in _WAITING
        self.indexes = self.name in _INDEXING
        self.crosses = self.name in ("_to_copy", "copy_")


_facts = cache(_Facts)


def dispatch(card: Counts, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Do one operation of torch, as on a machine with a card, and count it if the card has a part in it."""
    facts = _facts(func)
    ours: list[Pretended] = []
    others: list[Tensor] = []
    plain = [_host_of(each, ours, others) for each in args]
    plain_kwargs = {key: _host_of(each, ours, others) for key, each in kwargs.items()} if kwargs else {}
    asked = kwargs.get("device")
    asked = None if asked is None else torch.device(asked)
    if ours and asked == CPU:
        asked = None  # by C++, for where it takes our tensors to be; who wants one on the CPU calls `to`
    backward = torch._C._current_graph_task_id()
    if not ours and (asked is None or asked.type != "cuda"):
        made = func(*args, **kwargs)
        # In a backward pass C++ makes tensors of its own, on what it takes ours to be on.
        makes = isinstance(made, Tensor) and not others
        return Pretended(made, card) if makes and backward == card.backward_pass else made
    if backward != -1:
        card.backward_pass = backward
    if others and not facts.crosses:
        _check_devices(card, facts, args, others)
    if facts.draws:
        given = (*args, *kwargs.values())
        generator = next((each for each in given if isinstance(each, torch._C.Generator)), None)
        if generator is not None and not card.owns(generator):
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' ({facts.name})")
    to_host = _count(card, facts, args, kwargs, asked)
    if "device" in plain_kwargs:
        plain_kwargs["device"] = CPU
    plain_kwargs.pop("pin_memory", None)
    found = func(*plain, **plain_kwargs)
    if facts.name == "copy_":
        return args[0]
    return found if to_host else _wrapped(found, card, ours)


def _wrapped(found: Any, card: Counts, ours: list[Pretended]) -> Any:
    """What an operation has returned, on the card; what it has changed in place is the tensor that it was given."""
    if isinstance(found, Tensor):
        for each in ours:
            if each.host is found:
                return each
        return Pretended(found, card)
    if isinstance(found, list | tuple):
        own = {id(each.host): each for each in ours}
        return type(found)(
            (own[id(each)] if id(each) in own else Pretended(each, card)) if isinstance(each, Tensor) else each
            for each in found
        )
    return found


def _check_devices(card: Counts, facts: _Facts, args: tuple, others: list[Tensor]) -> None:
    """Raise what torch raises where tensors of both devices meet; numbers may, and indices, which are copied."""
    strangers = [each for each in others if each.ndim]
    if facts.indexes and isinstance(args[0], Pretended):
        places = [each for each in args[1] if each is not None and not isinstance(each, Pretended)]
        for _ in places:
            card.copy("index")
        strangers = [each for each in strangers if not any(each is place for place in places)]
    if strangers and torch._C._current_graph_task_id() == -1:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"({facts.name})"
        )


def _count(card: Counts, facts: _Facts, args: tuple, kwargs: dict[str, Any], asked: torch.device | None) -> bool:
    """Count an operation; return whether its result is on the CPU."""
    if facts.crosses:
        source = args[0] if facts.name == "_to_copy" else args[1]
        target_is_ours = isinstance(args[0], Pretended) if asked is None else asked.type == "cuda"
        streamed = bool(kwargs.get("non_blocking") or (facts.name == "copy_" and len(args) > 2 and args[2]))
        if isinstance(source, Pretended) and not target_is_ours:
            card.fetch(streamed)
            return True
        if not isinstance(source, Pretended) and target_is_ours:
            card.send(streamed and getattr(source, "pretends_to_be_pinned", False))
            return False
    if facts.is_kernel:
        card.kernel(facts.name)
    by_mask = facts.indexes and any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    if facts.waits or (by_mask and not (facts.name != "index" and args[2].numel() == 1)):
        card.wait(facts.name)
    return False
