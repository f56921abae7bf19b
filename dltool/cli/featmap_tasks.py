"""The jobs of `dltool featmap`: load the network, run one core function, report."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltool.cli.console import Console, Progress
from dltool.cli.items import collect_items, report_batch, report_planned
from dltool.cli.old_options import check_choices
from dltool.cli.signals import StopRequest, stop_requests
from dltool.errors import SettingsError
from dltool.featmap.manifest import read_entries, write_manifest
from dltool.featmap.settings import Channels, DreamSettings, MapSettings, Scale, WhySettings
from dltool.images.folder import Job, OnExisting, plan_outputs

if TYPE_CHECKING:
    from dltool.featmap.files import DrawnFile
    from dltool.featmap.layers import LayerInfo
    from dltool.featmap.network import Network
    from dltool.images.batch import FileDone, FileStep

DREAM_SIZE = 512


@dataclass(frozen=True)
class NetworkChoice:
    """Which network to look into, and where it runs."""

    backbone: str
    weights: str
    model: Path | None
    size: int | None
    device: str
    threads: int | None
    seed: int


@dataclass(frozen=True)
class Common:
    """What every job of the command needs to know."""

    console: Console
    images: tuple[Path, ...]
    output: Path | None
    on_existing: OnExisting
    dry_run: bool
    workers: int
    network: NetworkChoice

    def settings(self, settings: Any = None) -> dict[str, Any]:
        """The settings as the JSON document reports them."""
        return (asdict(settings) if settings is not None else {}) | asdict(self.network)


def show_layers(common: Common, patterns: tuple[str, ...]) -> None:
    """Print the layers (those that match the patterns) as a table, or as JSON."""
    with _loaded(common) as (network, _, _):
        from dltool.backbones.layers import match_layers
        from dltool.device import describe_device
        from dltool.featmap.layers import list_layers

        layers = list_layers(network)
        if patterns:
            chosen = match_layers(network.module, patterns, "--layer", [layer.name for layer in layers]).values()
            layers = [layer for layer in layers if layer.name in set(chosen)]
        total = sum(parameter.numel() for parameter in network.module.parameters())
    for line in _layer_table(layers):
        common.console.result(line)
    common.console.result(
        f"{len(layers)} layers of {network.name} at {network.size} x {network.size}, {total:,} parameters in all"
    )
    common.console.document(
        common.settings(),
        describe_device(network.device),
        network=network.name,
        size=network.size,
        parameters=total,
        layers=[_layer_json(layer) for layer in layers],
    )


def draw_maps(common: Common, settings: MapSettings) -> None:
    """Draw the maps of the layers asked for, or of a spread from first to last."""
    jobs = _plan(common, ".maps.png")
    if _nothing_to_do(common, jobs, settings):
        return
    with _loaded(common) as (network, progress, stop):
        from dltool.featmap import map_files
        from dltool.featmap.layers import list_layers
        from dltool.images.colormap import color_table

        color_table(settings.colormap)
        layers = _resolve_maps(network, list_layers(network), settings.layers)
        settings = replace(settings, layers=tuple(layers))
        events = map_files(jobs, network, layers, settings, common.workers, lambda: bool(stop))
        items, entries = _collect(events, jobs, progress)
    _report(common, settings, jobs, items, entries, network, stop)


def draw_explanations(common: Common, settings: WhySettings) -> None:
    """Draw which pixels made the network decide."""
    jobs = _plan(common, ".why.png")
    if _nothing_to_do(common, jobs, settings):
        return
    with _loaded(common) as (network, progress, stop):
        from dltool.backbones.layers import resolve_layers
        from dltool.featmap import explain_files
        from dltool.featmap.layers import list_layers
        from dltool.images.colormap import color_table

        color_table(settings.colormap)
        if settings.layer:
            own = resolve_layers(network.module, [settings.layer], "--layer")[settings.layer]
            settings = replace(settings, layer=own)
        events = explain_files(jobs, network, list_layers(network), settings, common.workers, lambda: bool(stop))
        items, entries = _collect(events, jobs, progress)
    _report(common, settings, jobs, items, entries, network, stop)


def draw_dreams(common: Common, layer: str, settings: DreamSettings) -> None:
    """Let a layer dream over every image."""
    jobs = _plan(common, ".dream.png")
    if _nothing_to_do(common, jobs, settings):
        return
    # The dream's size is the image's; the network's preprocessing has no part in it.
    common = replace(common, network=replace(common.network, size=None))
    with _loaded(common) as (network, progress, stop):
        from dltool.backbones.layers import resolve_layers
        from dltool.featmap import dream_files

        own = resolve_layers(network.module, [layer], "--dream")[layer]
        events = dream_files(jobs, network, own, settings, common.workers, lambda: bool(stop))
        items, entries = _collect(events, jobs, progress)
    _report(common, settings, jobs, items, entries, network, stop)


def draw_filters(common: Common, layer: str, channels: Channels, scale: Scale) -> None:
    """Draw the weights of the first convolution, or of the one that is named."""
    path = _plan_page(common, "filters.png")
    if path is None:
        return
    with _loaded(common) as (network, _, stop):
        from dltool.featmap.filters import filter_weights, filters_page
        from dltool.images.write import write_image

        name, weights = filter_weights(network, layer)
        write_image(path, filters_page(name, weights, network.name, channels, scale))
    entry = {"output": path, "input": None, "kind": "filters", "layer": name, "shape": list(weights.shape)}
    _report_pages(common, {"channels": channels, "scale": scale}, network, [entry], stop)


def draw_maximized(common: Common, texts: tuple[str, ...], settings: DreamSettings) -> None:
    """Draw the image that excites each channel or class most, and all of them on one page."""
    page = _plan_page(common, "maximize.png")
    if page is None:
        return
    with _loaded(common) as (network, progress, stop):
        from dltool.featmap.excitation import MaximizeStep, maximize, parse_objective
        from dltool.images.sheet import Tile, contact_sheet
        from dltool.images.tensors import to_pixels
        from dltool.images.write import write_image

        objectives = [parse_objective(network, text) for text in texts]
        settings = replace(settings, size=network.size)
        tiles, entries = [], []
        for objective in objectives:
            for event in maximize(network, objective, settings):
                if isinstance(event, MaximizeStep):
                    progress.update(objective.label, event.step, event.steps, f"{event.activation:.2f}")
                if stop:
                    stop.leave()
            tiles.append(Tile(to_pixels(event.image), objective.label))
            entries.append(
                {
                    "output": page,
                    "input": None,
                    "kind": "maximize",
                    "layer": objective.layer or None,
                    "channel": objective.channel,
                    "label": objective.label,
                    "score": {"first": event.first, "last": event.last},
                }
            )
        if len(tiles) > 1:
            folder = page.with_suffix("")
            for tile, entry in zip(tiles, entries, strict=True):
                entry["output"] = folder / (tile.label.replace(":", ".").replace(" ", "_").replace("/", "_") + ".png")
                write_image(entry["output"], tile.pixels)
        write_image(page, contact_sheet(tiles, 4, network.size) if len(tiles) > 1 else tiles[0].pixels)
    _report_pages(common, settings, network, entries, stop)


@contextmanager
def _loaded(common: Common) -> Iterator[tuple["Network", Progress, StopRequest]]:
    """The network on its device, inside a progress display that also collects requests to stop."""
    choice = common.network
    with stop_requests() as stop, common.console.progress() as progress:
        progress.update("loading the network", 0, 1)
        from dltool.backbones.registry import create_backbone
        from dltool.device import select_device, set_threads
        from dltool.featmap.model_file import network_from_model
        from dltool.featmap.network import network_from_backbone

        set_threads(choice.threads)
        device = select_device(choice.device)
        if choice.model is not None:
            network = network_from_model(choice.model, device, choice.size)
        else:
            backbone = create_backbone(choice.backbone, choice.weights, choice.seed)
            if backbone.unexpected:
                progress.say(
                    f"{backbone.weights}: {len(backbone.unexpected)} tensors, {backbone.unexpected[0]} among them, "
                    f"have no place in {backbone.name}"
                )
            network = network_from_backbone(backbone, device, choice.size)
        yield network, progress, stop


def _resolve_maps(network: "Network", layers: Sequence["LayerInfo"], patterns: tuple[str, ...]) -> dict[str, str]:
    """Layers by the name asked for; patterns match those that can be drawn."""
    from dltool.backbones.layers import match_layers
    from dltool.featmap.layers import Kind, default_layers, require_weights

    if not patterns:
        patterns = default_layers(layers)
        if not patterns:
            raise SettingsError("--layer: this network has no layer with maps; name one (see --list-layers)")
    drawable = [layer.name for layer in layers if layer.kind is not Kind.OTHER]
    resolved = match_layers(network.module, patterns, "--layer", drawable)
    require_weights(network, list(resolved.values()))
    return resolved


def _plan(common: Common, suffix: str) -> list[Job]:
    assert common.output is not None
    read_entries(_manifest_path(common))
    return plan_outputs(common.images, common.output, suffix, common.on_existing)


def _nothing_to_do(common: Common, jobs: list[Job], settings: Any) -> bool:
    _check_choices(common)
    return report_planned(common.console, jobs, common.settings(settings), common.dry_run)


def _check_choices(common: Common) -> None:
    if common.dry_run:
        check_choices(common.network.device, None if common.network.model else common.network.backbone)


def _plan_page(common: Common, name: str) -> Path | None:
    """The file of a page that shows the network alone; None when it is there and stays, or in a dry run."""
    assert common.output is not None
    read_entries(_manifest_path(common))
    path = common.output if common.output.suffix == ".png" else common.output / name
    if path.exists() and common.on_existing is OnExisting.ERROR:
        raise SettingsError(f"{path}: output exists; give --overwrite or --skip-existing")
    skipped = path.exists() and common.on_existing is OnExisting.SKIP
    if not (common.dry_run or skipped):
        return path
    _check_choices(common)
    status = "skipped" if skipped else "planned"
    common.console.result(f"{path} ({status})")
    common.console.document(common.settings(), None, outputs=[{"output": path, "status": status}])
    return None


def _collect(
    events: Generator["FileStep | FileDone", None, None], jobs: list[Job], progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Show the events' progress; return the document's items and the manifest's entries."""
    entries: list[dict[str, Any]] = []

    def show(event: "FileStep | FileDone") -> None:
        if hasattr(event, "step"):
            progress.update(event.step.task, event.step.done, event.step.total)
        elif event.result is not None:
            entries.extend(event.result.entries)

    return collect_items(events, jobs, show, _figures), entries


def _figures(drawn: "DrawnFile | None") -> dict[str, Any]:
    if drawn is None:
        return {}
    if not drawn.top:
        return {"outputs": drawn.entries}
    top = [{"class": name, "probability": share} for name, share in drawn.top]
    note = ", ".join(f"{name} {100 * share:.1f} %" for name, share in drawn.top)
    return {"outputs": drawn.entries, "top": top, "note": note}


def _report(
    common: Common,
    settings: Any,
    jobs: list[Job],
    items: list[dict[str, Any]],
    entries: list[dict[str, Any]],
    network: "Network",
    stop: StopRequest,
) -> None:
    from dltool.device import describe_device

    _write_manifest(common, network, entries)
    for entry in entries:
        if entry.get("score") and entry.get("method"):
            common.console.result(_score_line(entry))
    device = describe_device(network.device)
    report_batch(common.console, items, common.settings(settings), device, stop, len(jobs))


def _report_pages(
    common: Common, settings: Any, network: "Network", entries: list[dict[str, Any]], stop: StopRequest
) -> None:
    from dltool.device import describe_device

    _write_manifest(common, network, entries)
    for entry in entries:
        common.console.result(f"{entry.get('label') or entry['layer']} -> {entry['output']}")
    values = settings if isinstance(settings, dict) else asdict(settings)
    common.console.document(values | common.settings(), describe_device(network.device), outputs=entries)


def _write_manifest(common: Common, network: "Network", entries: list[dict[str, Any]]) -> None:
    if not entries:
        return
    described = {"network": network.name, "weights": common.network.weights, "size": network.size}
    write_manifest(_manifest_path(common), described, entries)


def _manifest_path(common: Common) -> Path:
    """Pages in a folder have one manifest there; a page that was named as a file has one of its own beside it."""
    assert common.output is not None
    single = common.output.suffix != "" and not common.output.is_dir()
    return common.output.with_suffix(".json") if single else common.output / "manifest.json"


def _score_line(entry: dict[str, Any]) -> str:
    score = entry["score"]
    return (
        f"{Path(entry['input']).name}, {entry['class']}: {entry['method']:<20} deletion {score['deletion']:.3f}  "
        f"insertion {score['insertion']:.3f}  gain {score['gain']:+.3f}"
    )


def _layer_table(layers: Sequence["LayerInfo"]) -> list[str]:
    head = ("layer", "type", "output", "parameters", "field", "stride")
    rows = [
        (
            layer.name,
            layer.type,
            " + ".join(" x ".join(map(str, shape)) or "1" for shape in layer.shapes),
            f"{layer.parameters:,}" if layer.parameters else "-",
            "all" if layer.sees_all else "?" if layer.receptive_field is None else f"{layer.receptive_field:g}",
            "-" if layer.stride is None else f"{layer.stride:g}",
        )
        for layer in layers
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        left = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False))
        right = "  ".join(cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True))
        lines.append(f"{left}  {right}")
    return lines


def _layer_json(layer: "LayerInfo") -> dict[str, Any]:
    return asdict(layer) | {"receptive_field": "all" if layer.sees_all else layer.receptive_field}
