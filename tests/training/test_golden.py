"""Seeded runs end with the very tensors that they ended with when these hashes were taken, on one kind of machine.

What changes a hash changes what people get from the same command and seed: do so knowingly, and take the hash anew
(the failing assertion shows it).
"""

import hashlib
import platform
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.run import run_inside
from tests.textures import copy_textures

# Another version, instruction set or size of cache may add the same numbers in another order.
_TAKEN_ON = ("2.14.1+cu130", "x86_64", "AVX512", "Intel(R) Xeon(R) Processor, model 167")


def _machine() -> tuple[str, ...]:
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    parts = (line.partition(":") for line in described)
    cpu = {name.strip(): value.strip() for name, _, value in parts}
    model = f"{cpu.get('model name')}, model {cpu.get('model')}"
    return torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability(), model


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    """The first eight of each kind."""
    return copy_textures(sample_images, tmp_path_factory.mktemp("textures"), 8)


@pytest.mark.skipif(_machine() != _TAKEN_ON, reason=f"the hashes are of {_TAKEN_ON}, this is {_machine()}")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("finetune TEXTURES --strategy partial --epochs 1 --size 64", "8f08f6d915e9be7d20fcffb7264a1d55"),
        (
            "finetune TEXTURES --strategy two-phase --epochs 1 --head-epochs 3 --size 64",
            "fb2e9423d4650b35a5eedec0c8b35e25",
        ),
        ("finetune digits --backbone cnn --epochs 1", "4bb4c865c46bf6c5a796b4961e8ec2d2"),
        ("gan train digits --arch dcgan --epochs 1 --limit 200", "de18bccf8f47ec9027648cba34dcb692"),
        ("gan train digits --epochs 1 --limit 200 --width 8", "a6e0e5208f9a7d709fd82e750a937dcb"),
        ("ae train digits --arch stacked --epochs 2", "df42764411d49f28ef025ead0a98e5e7"),
        (
            "ae train PHOTOS --arch unet --noise gaussian:25/255 --channels 8,16 --epochs 1 --crops-per-image 4",
            "0bb66fd1da81792cca33df5b2ca0cddc",
        ),
        ("cluster TEXTURES --method deep-kmeans -k 3 --epochs 4", "a974441a749e9c0461c68c70909e4097"),
    ],
)
def test_the_same_seed_gives_the_same_tensors_as_ever(
    tmp_path: Path, textures: Path, sample_images: Path, words: str, expected: str
) -> None:
    places = {"TEXTURES": textures, "PHOTOS": sample_images / "photos"}
    typed = [places.get(word, word) for word in words.split()]
    done = run_inside(*typed, "-o", tmp_path / "run", "--threads", 1)
    assert done.exit_code == 0, done.output
    digest = hashlib.md5()
    for name, tensor in sorted(load_file(tmp_path / "run" / "model.safetensors").items()):
        if name.startswith(("normal.", "familiar.")):  # of the images, not of the network
            continue
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == expected
