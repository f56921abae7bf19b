"""`dltool cluster`: sort pictures nobody labelled, or the rows of a table."""

from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import options
from dltool.cli.cluster_watch import Watcher, describe_result
from dltool.cli.console import Console
from dltool.cli.data_options import DataRoot, Download, Limit, NoCache
from dltool.cli.signals import stop_requests
from dltool.cluster.settings import ClusterSettings, Init, Method, parse_k
from dltool.errors import SettingsError

if TYPE_CHECKING:
    from dltool.cluster.group import Grouped

_D = ClusterSettings()
_FEATURES, _KMEANS, _OUTPUT = "Features", "k-means", "Output"


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
            metavar="auto|BACKBONE|pixels|ae|ae:MODEL",
            help="What is compared; auto: the bundled backbone for photos, else the values themselves.",
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
    """Group pictures by likeness, or points by nearness: sheets, a map, a table, and folders if wanted."""
    values = dict(context.params) | {"k": parse_k(k)}
    known = {item.name for item in fields(ClusterSettings)}
    settings = ClusterSettings(**{name: value for name, value in values.items() if name in known})
    console = Console("cluster", as_json, quiet)
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        from dltool.cluster.group import Surroundings
        from dltool.data.store import default_cache
        from dltool.device import describe_device, select_device, set_threads

        set_threads(threads)
        chosen = select_device(device)
        around = Surroundings(
            device=chosen,
            folder=output,
            cache=None if no_cache else default_cache(),
            workers=2 if workers is None else workers,
            should_stop=lambda: bool(stop),
        )
        watcher = Watcher(progress, quiet)
        grouped = _group(watcher, stop, settings, around, data, data_root, download, limit)
        if grouped is None:
            console.warn("stopped; nothing was written, features are kept in the cache")
            stop.leave()
            return
        from dltool.cluster.results import summarize, write_assignments

        summary = summarize(grouped, seed)
        write_assignments(output / "assignments.csv", grouped.source, grouped.clustering)
    for line in describe_result(summary):
        console.result(line)
    console.document(settings, describe_device(chosen), output=output, **summary)


def _group(
    watcher: Watcher,
    stop: Any,
    settings: ClusterSettings,
    around: Any,
    data: str,
    root: Path,
    download: bool,
    limit: int,
) -> "Grouped | None":
    from dltool.cluster.group import Grouped, group
    from dltool.cluster.source import Source, open_source
    from dltool.data.store import ContentStore
    from dltool.images.read import read_picture

    store = ContentStore(around.cache / "fingerprints" if around.cache else None)
    source = None
    events = open_source(
        data,
        store,
        lambda path: read_picture(path, shortest_side=256).pixels,
        around.workers,
        exclude=around.folder,
        root=root,
        download=download,
        limit=limit,
        seed=settings.seed,
    )
    with closing(events):
        for event in events:
            if isinstance(event, Source):
                source = event
            watcher.show(event)
            if stop:
                return None
    if source is None:
        raise SettingsError(f"{data}: nothing to group")
    with closing(group(source, settings, around)) as steps:
        for event in steps:
            watcher.show(event)
            if isinstance(event, Grouped):
                return event
    return None
