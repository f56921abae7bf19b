"""`dltool finetune`: class folders in, a classifier out, and the reason why it was trained that way."""

from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import options
from dltool.cli.console import Console, Progress
from dltool.cli.data_options import (
    DataRoot,
    Download,
    Limit,
    NoCache,
    OnBad,
    OnBadOption,
    TestShare,
    ValShare,
)
from dltool.cli.finetune_tasks import Where, preview, report, run_compare, show_dry_run
from dltool.cli.signals import StopRequest, stop_requests
from dltool.cli.watch import Watcher
from dltool.finetune.settings import (
    Augment,
    Balance,
    FinetuneSettings,
    Head,
    HeadInit,
    Optimizer,
    Strategy,
)

if TYPE_CHECKING:
    from dltool.finetune.train import FinetuneResult, Surroundings

_D = FinetuneSettings()
_DATA, _HEAD, _TRAINING, _OUTPUT = "Data", "Head", "Training", "Output"


def command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="Class folders, train/ and val/ or test/ of them, or digits, mnist, fashion-mnist, cifar10.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The run's folder.")],
    strategy: Annotated[
        Strategy, typer.Option(help="What is trained; auto decides from a linear probe.")
    ] = _D.strategy,
    backbone: Annotated[
        str,
        typer.Option(
            help="A torchvision classifier's name, timm:NAME, or the small networks mlp and cnn.",
            show_default="efficientnet_lite0; cnn for tiny pictures",
            rich_help_panel="Network",
        ),
    ] = _D.backbone,
    weights: options.Weights = _D.weights,
    size: Annotated[
        int,
        typer.Option(min=0, help="Side of the input in pixels; 0: what suits the weights.", rich_help_panel="Network"),
    ] = _D.size,
    multiscale: Annotated[
        bool | None,
        typer.Option(
            "--multiscale/--single-scale",
            help="Frozen features at two sizes, side by side.",
            show_default="multiscale for features",
            rich_help_panel="Network",
        ),
    ] = _D.multiscale,
    unfreeze: Annotated[
        int, typer.Option(min=1, help="Blocks that partial trains, from the last.", rich_help_panel="Network")
    ] = _D.unfreeze,
    head: Annotated[Head, typer.Option(help="One layer, or two with batch norm.", rich_help_panel=_HEAD)] = _D.head,
    hidden: Annotated[int, typer.Option(min=1, help="Width of the mlp head.", rich_help_panel=_HEAD)] = _D.hidden,
    dropout: Annotated[float, typer.Option(help="Before the last layer.", rich_help_panel=_HEAD)] = _D.dropout,
    head_init: Annotated[
        HeadInit, typer.Option(help="Start at zero, or from ImageNet's rows of the same name.", rich_help_panel=_HEAD)
    ] = _D.head_init,
    head_epochs: Annotated[
        int, typer.Option(min=1, help="Of the head alone, before two-phase and partial go on.", rich_help_panel=_HEAD)
    ] = _D.head_epochs,
    head_lr: Annotated[
        float | None, typer.Option(help="Learning rate of the head.", show_default="by strategy", rich_help_panel=_HEAD)
    ] = _D.head_lr,
    head_l2: Annotated[
        float | None,
        typer.Option(
            help="L2 penalty on the head over frozen features.",
            show_default="by cross-validation",
            rich_help_panel=_HEAD,
        ),
    ] = _D.head_l2,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs of the main phase.", show_default="by strategy", rich_help_panel=_TRAINING),
    ] = _D.epochs,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of the backbone's last block.",
            show_default="by strategy; two-phase 1e-5",
            rich_help_panel=_TRAINING,
        ),
    ] = _D.lr,
    layer_decay: Annotated[
        float, typer.Option(help="Factor on --lr from each block to the one before.", rich_help_panel=_TRAINING)
    ] = _D.layer_decay,
    weight_decay: Annotated[
        float | None, typer.Option(help="Of the optimizer.", show_default="by strategy", rich_help_panel=_TRAINING)
    ] = _D.weight_decay,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Samples per step.", show_default="32; mlp 64, cnn 128", rich_help_panel=_TRAINING),
    ] = _D.batch_size,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Parts that a batch goes through the network in.", rich_help_panel=_TRAINING)
    ] = _D.accumulate,
    optimizer: Annotated[
        Optimizer, typer.Option(help="How weights are moved.", rich_help_panel=_TRAINING)
    ] = _D.optimizer,
    warmup: Annotated[
        float, typer.Option(help="Share of the steps with a rising rate, before the cosine.", rich_help_panel=_TRAINING)
    ] = _D.warmup,
    label_smoothing: Annotated[
        float | None,
        typer.Option(help="Share of the target given to all classes.", show_default="0", rich_help_panel=_TRAINING),
    ] = _D.label_smoothing,
    balance: Annotated[
        Balance, typer.Option(help="Rare classes: weigh them more, or draw them more often.", rich_help_panel=_TRAINING)
    ] = _D.balance,
    augment: Annotated[
        Augment, typer.Option(help="auto: basic for files, none for tiny pictures.", rich_help_panel=_TRAINING)
    ] = _D.augment,
    ema: Annotated[
        float,
        typer.Option(
            help="Decay of an average of the weights that is used instead; 0: none.", rich_help_panel=_TRAINING
        ),
    ] = _D.ema,
    patience: Annotated[
        int,
        typer.Option(
            min=0, help="Stop after this many epochs without a better one; 0: never.", rich_help_panel=_TRAINING
        ),
    ] = _D.patience,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="5m|1h",
            help="Train at most this long; the schedule ends with it.",
            show_default=False,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    val: ValShare = None,
    test: TestShare = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Divide as an earlier run's splits.csv did.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    on_bad: OnBadOption = OnBad.SKIP,
    limit: Limit = 0,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Train every way at equal epochs; one table and one page.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Write every epoch's model.", rich_help_panel=_OUTPUT)
    ] = _D.keep_checkpoints,
    preview_augment: Annotated[
        bool,
        typer.Option(
            "--preview-augment", help="Only write RUN/augment.png: one picture nine times.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in -o, with its settings.", rich_help_panel=_OUTPUT)
    ] = False,
    overwrite: options.Overwrite = False,
    no_cache: NoCache = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    precision: options.PrecisionOption = options.Precision.AUTO,
    threads: options.Threads = None,
    workers: options.Workers = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a picture classifier: the data is checked, the strategy chosen and explained, the best model kept."""
    values = dict(context.params) | {"time": options.parse_seconds(time, "--time"), "precision": precision.value}
    known = {item.name for item in fields(FinetuneSettings)}
    settings = FinetuneSettings(**{name: value for name, value in values.items() if name in known})
    data_values = {
        "val": val,
        "test": test,
        "splits_file": splits,
        "on_bad": on_bad.value,
        "limit": limit,
        "seed": seed,
    }
    data_values |= {"root": data_root, "download": download}
    where = Where(
        *(data, output, resume, overwrite, compare, preview_augment, device, threads),
        workers=2 if workers is None else workers,
        cache=not no_cache,
        given=frozenset(name for name in values if options.was_given(context, name)),
    )
    console = Console("finetune", as_json, quiet)
    if resume:
        settings, data_values = _stored(where, settings, data_values, where.given)
    if dry_run:
        show_dry_run(console, where, settings, data_values)
        return
    _run(console, where, settings, data_values)


def _stored(
    where: Where, settings: FinetuneSettings, data_values: dict[str, Any], given: frozenset[str]
) -> tuple[FinetuneSettings, dict[str, Any]]:
    """A resumed run's own settings, where nothing else was typed; what was typed is compared with them later.

    Raises:
        SettingsError: there is no run to resume, or its data is another.
    """
    from dltool.finetune.settings import from_plain
    from dltool.training.run_folder import RunFolder

    config = RunFolder(where.output).read_config()
    stored = from_plain(config["settings"])
    typed = {name: getattr(settings, name) for name in vars(settings) if name in given}
    names = {"splits_file": "splits", "root": "data_root"}
    for name, value in config["data"].items():
        if name in data_values and names.get(name, name) not in given:
            data_values[name] = Path(value) if name in ("splits_file", "root") and value is not None else value
    return replace(stored, **typed), data_values


def _run(console: Console, where: Where, settings: FinetuneSettings, data_values: dict[str, Any]) -> None:
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        from dltool.data.load import DataSettings
        from dltool.data.store import default_cache
        from dltool.device import describe_device, select_device, set_threads
        from dltool.finetune.train import Surroundings
        from dltool.training import distributed
        from dltool.training.run_folder import RunFolder

        set_threads(where.threads)
        device = distributed.local_device(select_device(where.device))
        data = DataSettings(where.source, **data_values)
        with distributed.process_group(device):
            first = distributed.rank() == 0
            run = RunFolder(where.output)
            if where.preview:
                preview(console, data, settings, where)
                return
            if first and not where.resume:
                run.check(where.overwrite)
            if not first:
                console, progress = Console("finetune", False, True), Progress()
            around = Surroundings(
                device=device,
                run=run,
                cache=default_cache() if where.cache else None,
                workers=where.workers,
                should_stop=lambda: bool(stop),
                resume=where.resume,
                overwrite=where.overwrite,
            )
            try:
                if where.compare:
                    run_compare(console, progress, stop, data, settings, around)
                    return
                result = _watch(Watcher(progress, console.quiet, given=where.given), stop, data, settings, around)
            except BaseException:
                run.discard_unstarted()
                raise
        if stop and result is None:
            if run.checkpoint.is_file() and (where.resume or run.is_created):
                console.warn(f"stopped; {run.path.resolve()} holds what is done, --resume goes on from here")
            else:
                run.discard_unstarted()
                console.warn("stopped; nothing was trained yet, what was computed is kept in the cache")
            stop.leave()
    if result is not None and first:
        report(console, where, result, describe_device(device))


def _watch(
    watcher: Watcher,
    stop: StopRequest,
    data: Any,
    settings: FinetuneSettings,
    around: "Surroundings",
) -> "FinetuneResult | None":
    """Show what happens until the run ends; None if it was stopped."""
    from dltool.finetune.train import finetune

    with closing(finetune(data, settings, around)) as events:
        for event in events:
            watcher.show(event)
            if stop and watcher.interruptible(event):
                return None
    return watcher.result
