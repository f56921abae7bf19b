"""`dltool finetune`: class folders in, a classifier out, and the reason why it was trained that way."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import old_options as options
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
from dltool.cli.finetune_tasks import preview, report, run_compare, show_dry_run
from dltool.cli.finetune_watch import Watcher
from dltool.cli.old_training import RunPlace, run_training, stored_settings
from dltool.cli.signals import StopRequest
from dltool.finetune.settings import (
    SMALL_NETWORKS,
    Augment,
    Balance,
    FinetuneSettings,
    Head,
    HeadInit,
    Optimizer,
    Strategy,
)

if TYPE_CHECKING:
    from dltool.finetune.train import FinetuneResult
    from dltool.training.context import RunContext

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
    """Train an image classifier: the data is checked, the strategy chosen and explained, the best model kept."""
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
    given = frozenset(name for name in values if options.was_given(context, name))
    place = RunPlace(data, output, resume, overwrite, device, threads, 2 if workers is None else workers, given)
    console = Console("finetune", as_json, quiet)
    if resume:
        settings, data_values = stored_settings(place, settings, data_values)
    if dry_run:
        pretrained = settings.backbone not in ("", *SMALL_NETWORKS)
        options.check_choices(device, settings.backbone if pretrained else None)
        show_dry_run(console, place, settings, data_values)
    elif preview_augment:
        preview(console, place, settings, data_values)
    else:
        _run(console, place, settings, data_values, compare, cache=not no_cache)


def _run(
    console: Console,
    place: RunPlace,
    settings: FinetuneSettings,
    data_values: dict[str, Any],
    compare: bool,
    cache: bool,
) -> None:
    def train(context: "RunContext", shown: Console, progress: Progress, stop: StopRequest) -> "FinetuneResult | None":
        from dltool.data.settings import DataSettings
        from dltool.finetune.train import finetune

        data = DataSettings(place.source, **data_values)
        if compare:
            return run_compare(shown, progress, stop, data, settings, context)
        watcher = Watcher(progress, shown.quiet, given=place.given)
        return watcher.watch(finetune(data, settings, context), stop)

    done = run_training(console, place, train, cache)
    if done is not None:
        report(console, place, *done)
