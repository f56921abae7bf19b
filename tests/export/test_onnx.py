"""Exported files in onnxruntime and in OpenCV's dnn: the answers of the model, at any number and size of images."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.autoencoder.networks import create_autoencoder
from dltool.backbones.preprocessing import Preprocessing
from dltool.denoise.denoiser import SHIPPED_DENOISER
from dltool.errors import DataError, ModelError, SettingsError
from dltool.events import finish
from dltool.export import ExportSettings, export_model
from dltool.export.graph import Exportable, convert, run_onnx
from dltool.export.networks import exportable
from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.network import build_classifier
from dltool.finetune.settings import FinetuneSettings
from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.networks import build_generator
from dltool.gan.settings import Arch, NetworkSpec
from dltool.training.model_file import load_model, save_model
from tests.cli.run import run_inside
from tests.finetune.conftest import events_of


def classifier(backbone: str, side: int, in_channels: int = 3, **more: object) -> TrainedClassifier:
    """A random one with random rows in its head."""
    arguments = {
        **{"backbone": backbone, "num_classes": 3, "in_channels": in_channels, "image_size": side, "seed": 0},
        **({"head": "linear", "hidden": 1, "dropout": 0.0} if more else {}),
        **more,
    }
    module = build_classifier(arguments).eval()
    torch.nn.init.normal_([m for m in module.head.modules() if isinstance(m, torch.nn.Linear)][-1].weight)
    preprocessing = Preprocessing(side, side, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), fit="squash")
    return TrainedClassifier(module, arguments, ("a", "b", "c"), preprocessing)


@pytest.mark.parametrize(
    "model",
    [classifier("efficientnet_lite0", 96, small=64), classifier("cnn", 16, 1), classifier("resnet18", 64, small=None)],
    ids=["lite0 at two sizes", "grey cnn", "resnet18"],
)
def test_onnxruntime_and_opencv_answer_as_the_model(model: TrainedClassifier, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", model.to_file({}, {}))
    result = run_inside("export", tmp_path / "m.safetensors", "-o", tmp_path / "m.onnx", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["opset"] == 13 and set(document["differences"]) == {"1", "5"}
    content = (tmp_path / "m.onnx").read_bytes()
    file = onnx.load_from_string(content)
    # What readers of 2021 and later know, sizes computed beforehand.
    assert file.ir_version <= 8 and [each.version for each in file.opset_import] == [13]
    assert not {"Ceil", "Range", "Loop", "If"} & {node.op_type for node in file.graph.node}
    texts = {each.key: json.loads(each.value) for each in file.metadata_props}
    assert texts["class_names"] == ["a", "b", "c"] and texts["preprocessing"]["fit"] == "squash"
    side, net = model.preprocessing.crop, cv2.dnn.readNetFromONNX(str(tmp_path / "m.onnx"))
    for count in (1, 5):
        pixels = np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = exportable(model).module(torch.from_numpy(pixels)).numpy()
        assert np.ptp(expected) > 1e-3
        near = 1e-4 * max(1, np.abs(expected).max())
        assert np.allclose(run_onnx(content, {"pixels": torch.from_numpy(pixels)})[0], expected, atol=near)
        net.setInput(pixels, "pixels")
        assert np.allclose(net.forward(), expected, atol=near), count


def test_a_denoiser_takes_images_of_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments = {"in_channels": 3, "channels": [8, 12, 16], "blocks": 1}
    model = TrainedAutoencoder(create_autoencoder("unet", **arguments).eval(), "unet", arguments)
    save_model(tmp_path / "m.safetensors", model.to_file({}))
    exported = finish(export_model(ExportSettings(tmp_path / "m.safetensors", tmp_path / "m.onnx")))
    assert set(exported.differences) == {1, 5} and max(exported.differences.values()) < 1e-4
    content = (tmp_path / "m.onnx").read_bytes()
    for size in ((1, 16, 24), (2, 33, 17), (1, 4, 61), (1, 1, 2)):
        images = torch.rand(size[0], 3, *size[1:])
        with torch.inference_mode():
            assert np.allclose(run_onnx(content, {"images": images})[0], model.module(images).numpy(), atol=1e-4), size


@pytest.mark.parametrize("arch", ["stacked", "conv"])
def test_autoencoders_give_images_and_codes(arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments = {"in_channels": 1, "height": 13, "width": 10, "latent_dim": 4}
    model = TrainedAutoencoder(create_autoencoder(arch, **arguments).eval(), arch, arguments)
    save_model(tmp_path / "m.safetensors", model.to_file({}))
    exported = finish(export_model(ExportSettings(tmp_path / "m.safetensors", tmp_path / "m.onnx")))
    assert max(exported.differences.values()) < 1e-4
    images = torch.rand(3, 1, 13, 10)
    reconstructions, codes = run_onnx((tmp_path / "m.onnx").read_bytes(), {"images": images})
    with torch.inference_mode():
        assert np.allclose(codes, model.module.encode(images), atol=1e-4)
        assert np.allclose(reconstructions, model.module(images), atol=1e-4)


@pytest.mark.parametrize("arch", list(Arch))
@pytest.mark.parametrize("classes", [0, 3])
def test_generators_draw_the_same_images(arch: Arch, classes: int) -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(arch=arch, channels=3, size=(24, 16), latent_dim=8, num_classes=classes)
    model = TrainedGenerator(build_generator(spec).eval(), ("a", "b", "c")[:classes], {}, {})
    network = exportable(model)
    inputs = network.example(4)
    images = run_onnx(convert(network, (13,))[0], inputs)[0]
    with torch.inference_mode():
        expected = (model.module(inputs["noise"], inputs.get("classes")) + 1) / 2
    assert images.shape == (4, 3, 16, 24) and np.allclose(images, expected, atol=1e-4)
    assert images.min() >= 0 and images.max() <= 1


def test_eight_bits_say_what_a_classifier_loses(tmp_path: Path) -> None:
    run = tmp_path / "run"
    events_of("digits", FinetuneSettings(backbone="cnn", epochs=4), run, limit=600)
    result = run_inside("export", run, "-o", tmp_path / "m.onnx", "--int8", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["int8"]
    assert found["before"] > 0.8 and found["after"] > 0.5 and abs(found["before"] - found["after"]) < 0.05
    assert (
        f"accuracy {100 * found['before']:.1f} % becomes {100 * found['after']:.1f} %"
        in run_inside("export", run, "-o", tmp_path / "m2.onnx", "--int8").output
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert "DequantizeLinear" in kinds
    finish(export_model(ExportSettings(run, tmp_path / "plain.onnx")))
    assert (tmp_path / "m.onnx").stat().st_size < (tmp_path / "plain.onnx").stat().st_size / 3


def test_eight_bits_say_what_the_denoiser_loses(tmp_path: Path, sample_images: Path) -> None:
    settings = ExportSettings(Path("denoiser"), tmp_path / "m.onnx", int8=True, data=str(sample_images / "photos"))
    rounded = finish(export_model(settings)).rounded
    assert rounded.before > 30 and 0 < rounded.before - rounded.after < 0.6
    parameters = sum(tensor.numel() for tensor in load_model(SHIPPED_DENOISER).tensors.values())
    assert len(rounded.content) < 0.4 * 4 * parameters  # bytes of single precision


def test_what_cannot_be_exported_so(tmp_path: Path) -> None:
    run_inside("export", "denoiser", "-o", tmp_path / "m.onnx")
    for words, code, said in (
        (("denoiser", "--int8"), 2, "a denoiser needs photos to be set by; give --data FOLDER"),
        (("denoiser", "--data", "photos"), 2, "--data: has no effect without --int8"),
        (("denoiser", "--int8", "--opset", 12), 2, "--opset 12: --int8 needs at least 13"),
        (("denoiser", "--opset", 30), 2, "--opset 30: a number from 11 to 20 is needed"),
        (("nowhere",), 4, "nowhere: no such file or folder"),
    ):
        result = run_inside("export", *words, "-o", tmp_path / "n.onnx")
        assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    model = classifier("cnn", 16)
    save_model(tmp_path / "alone.safetensors", model.to_file({}, {}))
    with pytest.raises(SettingsError, match="has no run's folder that names its data; give --data DATA"):
        finish(export_model(ExportSettings(tmp_path / "alone.safetensors", tmp_path / "n.onnx", int8=True)))
    settings = ExportSettings(Path("denoiser"), tmp_path / "n.onnx", int8=True, data=str(tmp_path))
    with pytest.raises(DataError, match="no pictures in this folder"):
        finish(export_model(settings))


def test_what_needs_a_later_opset_gets_it_and_nothing_else_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Attention is expressed from opset 14 on."""

    class Attending(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.scaled_dot_product_attention(x, x, x)

    example = {"x": torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))}
    network = Exportable(Attending().eval(), lambda batch: example, {}, ("y",), {}, {})
    content, opset = convert(network, (13, 17))
    assert opset == 17 and capfd.readouterr().out == ""
    assert np.allclose(run_onnx(content, example)[0], network.module(example["x"]), atol=1e-5)
    with pytest.raises(ModelError, match=r"cannot be exported to ONNX by --opset 13 \("):
        convert(network, (13,))
