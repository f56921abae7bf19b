import pytest
import torch

from dltool.device import available_devices, is_out_of_memory, memory_errors, select_device
from dltool.errors import DeviceError, SettingsError


def test_cpu_is_always_there_and_auto_takes_the_first():
    assert available_devices()[-1] == "cpu"
    assert str(select_device("auto")) == available_devices()[0]


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "mps:1", ""])
def test_a_name_that_is_no_device_is_a_wrong_setting(name: str):
    with pytest.raises(SettingsError, match="give auto, cpu, cuda"):
        select_device(name)


def test_a_missing_device_says_what_is_there():
    with pytest.raises(DeviceError, match=r"cuda:99: not on this machine; available: .*cpu"):
        select_device("cuda:99")


def test_running_out_of_memory_becomes_one_line_with_advice():
    with pytest.raises(DeviceError, match="out of memory; try a smaller --size"), memory_errors("try a smaller --size"):
        torch.empty(2**46)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(""):
        raise RuntimeError("shapes do not match")
