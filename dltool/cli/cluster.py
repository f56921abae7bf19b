"""`dltool cluster`: sort images nobody labelled, or the rows of a table."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from dltool.cli import old_options as options
from dltool.cli.cluster_tasks import Where, refuse_ignored, run_cluster
from dltool.cli.console import Console
from dltool.cli.data_options import DataRoot, Download, Limit, NoCache
from dltool.cluster.settings import ClusterSettings, Init, Method, SortBy, parse_k
from dltool.errors import SettingsError

_D = ClusterSettings()
_FEATURES, _KMEANS, _DEEP, _OUTPUT = "Features", "k-means", "Deep methods", "Output"


def command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of pictures, a .csv or .npy table, digits, mnist, fashion-mnist, cifar10, "
            "or the toy points circles, moons, blobs.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the results go.")],
    k: Annotated[str, typer.Option("-k", metavar="N|auto", help="Number of clusters.")] = "auto",
    method: Annotated[Method, typer.Option(help="How groups are found.")] = _D.method,
    features: Annotated[
        str,
        typer.Option(
            metavar="auto|BACKBONE|pixels|gradients|ae|ae:MODEL",
            help="What is compared; auto: the bundled backbone for photos, else the values themselves; gradients: "
            "edges, for small pictures; ae: codes of an autoencoder, which is trained first.",
            rich_help_panel=_FEATURES,
        ),
    ] = _D.features,
    weights: options.Weights = _D.weights,
    size: Annotated[
        int, typer.Option(min=0, help="Side of the pictures; 0: what suits the features.", rich_help_panel=_FEATURES)
    ] = _D.size,
    pca: Annotated[
        int, typer.Option(min=0, help="Keep so many principal components; 0: all.", rich_help_panel=_FEATURES)
    ] = _D.pca,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize",
            help="Compare angles around the mean.",
            show_default="for a backbone's features",
            rich_help_panel=_FEATURES,
        ),
    ] = _D.normalize,
    smooth: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Average features over so many steps to nearest neighbours.",
            show_default="8 for a backbone's features",
            rich_help_panel=_FEATURES,
        ),
    ] = _D.smooth,
    k_min: Annotated[int, typer.Option(help="Least k that auto tries.", rich_help_panel=_KMEANS)] = _D.k_min,
    k_max: Annotated[int, typer.Option(help="Largest k that auto tries.", rich_help_panel=_KMEANS)] = _D.k_max,
    init: Annotated[Init, typer.Option(help="Where k-means starts.", rich_help_panel=_KMEANS)] = _D.init,
    n_init: Annotated[
        int | None,
        typer.Option(
            min=1, help="Starts, the best of which is kept.", show_default="10, or 3", rich_help_panel=_KMEANS
        ),
    ] = _D.n_init,
    max_iter: Annotated[
        int, typer.Option(min=1, help="Most iterations of a start.", rich_help_panel=_KMEANS)
    ] = _D.max_iter,
    tol: Annotated[
        float, typer.Option(min=0, help="Move of the centres that ends it.", rich_help_panel=_KMEANS)
    ] = _D.tol,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Rows of a step of minibatch.", rich_help_panel=_KMEANS)
    ] = _D.batch_size,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of a network that is trained.", show_default="what the data needs", rich_help_panel=_DEEP
        ),
    ] = _D.epochs,
    latent_dim: Annotated[
        int, typer.Option(min=1, help="Width of an autoencoder's codes.", rich_help_panel=_DEEP)
    ] = _D.latent_dim,
    clustering_weight: Annotated[
        float,
        typer.Option(
            "--clustering-weight",
            "--lambda",
            min=0,
            help="Full weight of deep k-means' clustering loss.",
            rich_help_panel=_DEEP,
        ),
    ] = _D.clustering_weight,
    ramp_start: Annotated[
        int | None,
        typer.Option(
            "--ramp-start",
            "--t1",
            min=1,
            help="Epoch after which that weight rises.",
            show_default="a quarter of the epochs",
            rich_help_panel=_DEEP,
        ),
    ] = _D.ramp_start,
    ramp_end: Annotated[
        int | None,
        typer.Option(
            "--ramp-end",
            "--t2",
            min=1,
            help="Epoch at which it is full.",
            show_default="the last",
            rich_help_panel=_DEEP,
        ),
    ] = _D.ramp_end,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Assign DATA to the groups of an earlier result.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    sort: Annotated[
        SortBy | None,
        typer.Option(
            help="Sort pictures into OUT/sorted/cluster-N/; originals stay.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a deep method that was stopped.", rich_help_panel=_OUTPUT)
    ] = False,
    limit: Limit = 0,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    no_cache: NoCache = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    workers: options.Workers = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Group images by likeness, or points by nearness: sheets, a map, a table, and folders if wanted."""
    values = dict(context.params) | {"k": parse_k(k)}
    known = {item.name for item in fields(ClusterSettings)}
    settings = ClusterSettings(**{name: value for name, value in values.items() if name in known})
    typed = options.typed_options(context)
    if model is not None:
        _refuse_with_model(typed)
    else:
        refuse_ignored(typed, settings)
    if resume and not settings.trains:
        raise SettingsError(f"--resume: --method {method.value} with --features {features} trains nothing")
    where = Where(
        *(data, output, model, sort, options.on_existing(overwrite, skip_existing), dry_run, resume),
        *(device, threads, 2 if workers is None else workers, not no_cache, typed),
        reading={"root": data_root, "download": download, "limit": limit, "seed": seed},
    )
    run_cluster(Console("cluster", as_json, quiet), where, settings)


def _refuse_with_model(typed: dict[str, str]) -> None:
    """Raise SettingsError for options that a model has decided already."""
    decided = ("k", "k_min", "k_max", "method", "features", "weights", "size", "pca", "normalize", "smooth", "resume")
    deep = ("epochs", "latent_dim", "clustering_weight", "ramp_start", "ramp_end")
    for name in (*decided, "init", "n_init", "max_iter", "tol", "batch_size", *deep):
        if name in typed:
            raise SettingsError(f"{typed[name]}: with --model the groups are given; leave it out")
