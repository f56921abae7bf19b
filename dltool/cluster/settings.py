"""Settings of `dltool cluster`, free of torch so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dltool.data.settings import DataSettings, NoCache, OnBad
from dltool.errors import SettingsError
from dltool.images.sorting import SortBy
from dltool.pages.settings import PageChoice
from dltool.settings import Option, Seed, Weights, check_options, read_names

_FEATURES, _KMEANS, _DEEP, _OUTPUT, _TABLES = "Features", "k-means", "Deep methods", "Output", "Tables"


class ClusterMethod(StrEnum):
    """How groups are found."""

    KMEANS = "kmeans"
    MINIBATCH = "minibatch"
    DEEP_KMEANS = "deep-kmeans"
    MANIFOLD = "manifold"

    @property
    def is_deep(self) -> bool:
        """Whether a network and its groups are trained together, rather than features grouped as they are."""
        return self is ClusterMethod.DEEP_KMEANS


class Init(StrEnum):
    """Where k-means starts: spread out by D² sampling, or at random points."""

    KMEANS_PLUS_PLUS = "k-means++"
    RANDOM = "random"


AUTO, PIXELS, GRADIENTS, AUTOENCODER = "auto", "pixels", "gradients", "ae"
# A table's own numbers.
VALUES = "values"


def read_k(text: str) -> int | None:
    """Read `-k`: a number, or None for `auto`.

    Raises:
        ValueError: neither.
    """
    if text == AUTO:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("give a number from 1, or auto")
    return int(text)


def read_outliers(text: str) -> float | str:
    """Read `--outliers`: a share of the items, or `auto`.

    Raises:
        ValueError: neither.
    """
    if text == AUTO:
        return AUTO
    if not 0 < float(text) < 0.5:  # what is no number raises ValueError as well
        raise ValueError
    return float(text)


@dataclass(frozen=True)
class ClusterSettings:
    """What is grouped by what, and how.

    Attributes:
        k: number of clusters; None lets `choose_k` decide within `k_min` to `k_max`.
        distance: no k, but groups are joined while the mean distance of their items is less.
        outliers: the share of the items that go into a group of their own, `auto` for those far from every centre.
        features: `auto` (a backbone for photos, `gradients` for small images by `manifold`, the values themselves for
            all else), a backbone's name, `pixels`, `gradients`, or an autoencoder's codes: `ae` trains one on the
            images, `ae:MODEL` takes a trained one.
        weights, size: of the backbone, as `finetune` takes them.
        pca: keep so many principal components; 0 keeps the features as they are.
        normalize: scale every row to length 1, so that angles are compared (spherical k-means); None: for a
            backbone's features.
        standardize: divide each column of a table by its standard deviation; None: where one column's spread is over
            ten times another's.
        smooth: steps of a walk to nearest neighbours over which features are averaged; None: 8 for a backbone's.
        n_init: starts of k-means, of which the one of least inertia is kept; None: 10, or 3 where that takes long.
        tol: k-means ends when no centre moves further than this share of the data's mean variance.
        batch_size: rows of a step of minibatch.
        epochs: of what is trained; None: what small and large sets need.
        latent_dim: width of an autoencoder's codes.
        clustering_weight: λ of deep k-means, the full weight of the clustering loss beside the reconstruction's.
        ramp_start, ramp_end: epochs T1 and T2 between which that weight rises; None: a quarter and all of `epochs`.
    """

    k: Annotated[
        int | None, Option("Number of clusters.", flags=("-k",), min=1, metavar="N|auto", shown="auto", read=read_k)
    ] = None
    method: Annotated[ClusterMethod, Option("How groups are found.")] = ClusterMethod.KMEANS
    distance: Annotated[
        float | None,
        Option("No k: join groups while their items' mean distance is less.", above=0, metavar="T", shown=""),
    ] = None
    outliers: Annotated[
        float | str | None,
        Option(
            "Put items that are far from every centre into a group of their own.",
            metavar="SHARE|auto",
            shown="",
            read=read_outliers,
        ),
    ] = None
    features: Annotated[
        str,
        Option(
            "What is compared; auto: the bundled backbone for photos, else the values themselves; gradients: edges, "
            "for small images; ae: codes of an autoencoder, which is trained first.",
            metavar="auto|BACKBONE|pixels|gradients|ae|ae:MODEL",
            panel=_FEATURES,
        ),
    ] = AUTO
    weights: Weights = "default"
    size: Annotated[int, Option("Side of the images; 0: what suits the features.", min=0, panel=_FEATURES)] = 0
    pca: Annotated[int, Option("Keep so many principal components; 0: all.", min=0, panel=_FEATURES)] = 0
    normalize: Annotated[
        bool | None,
        Option(
            "Compare angles around the mean.",
            flags=("--normalize/--no-normalize",),
            shown="for a backbone's features",
            panel=_FEATURES,
        ),
    ] = None
    smooth: Annotated[
        int | None,
        Option(
            "Average features over so many steps to nearest neighbours.",
            min=0,
            shown="8 for a backbone's features",
            panel=_FEATURES,
        ),
    ] = None
    standardize: Annotated[
        bool | None,
        Option(
            "Bring columns to one spread.",
            flags=("--standardize/--no-standardize",),
            shown="where one's is over ten times another's",
            panel=_TABLES,
        ),
    ] = None
    k_min: Annotated[int, Option("Least k that auto tries.", min=2, panel=_KMEANS)] = 2
    k_max: Annotated[
        int | None,
        Option("Largest k that auto tries.", min=2, shown="12, more while the best is at its end", panel=_KMEANS),
    ] = None
    init: Annotated[Init, Option("Where k-means starts.", panel=_KMEANS)] = Init.KMEANS_PLUS_PLUS
    n_init: Annotated[
        int | None, Option("Starts, the best of which is kept.", min=1, shown="10, or 3", panel=_KMEANS)
    ] = None
    max_iter: Annotated[int, Option("Most iterations of a start.", min=1, panel=_KMEANS)] = 300
    tol: Annotated[float, Option("Move of the centres that ends it.", min=0, panel=_KMEANS)] = 1e-4
    batch_size: Annotated[int, Option("Rows of a step of minibatch.", min=1, panel=_KMEANS)] = 4096
    epochs: Annotated[
        int | None, Option("Of a network that is trained.", min=1, shown="what the data needs", panel=_DEEP)
    ] = None
    latent_dim: Annotated[int, Option("Width of an autoencoder's codes.", min=1, panel=_DEEP)] = 10
    clustering_weight: Annotated[
        float,
        Option(
            "Full weight of deep k-means' clustering loss.",
            flags=("--clustering-weight", "--lambda"),
            min=0,
            panel=_DEEP,
        ),
    ] = 1e-3
    ramp_start: Annotated[
        int | None,
        Option(
            "Epoch after which that weight rises.",
            flags=("--ramp-start", "--t1"),
            min=1,
            shown="a quarter of the epochs",
            panel=_DEEP,
        ),
    ] = None
    ramp_end: Annotated[
        int | None,
        Option("Epoch at which it is full.", flags=("--ramp-end", "--t2"), min=1, shown="the last", panel=_DEEP),
    ] = None
    seed: Seed = 0

    @property
    def trains(self) -> bool:
        """Whether a network is trained, which takes long enough to be stopped and resumed."""
        return self.method.is_deep or self.features == AUTOENCODER

    def __post_init__(self) -> None:
        check_options(self)
        if self.k_max is not None and self.k_max < self.k_min:
            raise SettingsError(f"--k-min {self.k_min} --k-max {self.k_max}: k-min <= k-max is needed")
        if self.ramp_start is not None and self.ramp_end is not None and self.ramp_end <= self.ramp_start:
            raise SettingsError(f"--ramp-start {self.ramp_start} --ramp-end {self.ramp_end}: the end comes first")

    def without_effect(self, features: str | None = None) -> dict[str, str]:
        """Names of the settings that change nothing beside the others, and why, as `Typed.refuse` takes them.

        Args:
            features: what `features` means for the data at hand, such as `values`; None as long as that is not known.
        """
        method, k_given = self.method, self.k is not None
        features = features or self.features
        given_network = features.startswith(f"{AUTOENCODER}:")
        no_backbone = features in (PIXELS, GRADIENTS, VALUES, AUTOENCODER) or given_network
        of_features = "methods that compare features"
        start = ("init", "n_init", "max_iter", "tol")
        unused = {
            "-k auto": ("k_min", "k_max") if k_given else (),
            "k-means": start if method is ClusterMethod.MANIFOLD else (),
            "--method minibatch": () if method is ClusterMethod.MINIBATCH else ("batch_size",),
            "--method deep-kmeans": () if method.is_deep else ("clustering_weight", "ramp_start", "ramp_end"),
            "--method deep-kmeans and --features ae": () if self.trains else ("epochs", "latent_dim"),
            "features of a backbone": ("weights",) if no_backbone else (),
            "tables": () if features in (AUTO, VALUES) else ("standardize",),
            "pictures, but not those of ae:MODEL": ("size",) if features == VALUES or given_network else (),
            of_features: ("pca", "normalize", "smooth") if k_given and method.is_deep else (),
        }
        if method.is_deep and features not in (AUTO, PIXELS):
            unused[of_features] += ("features",)
        if self.distance is not None:
            unused["groups of a number"] = ("k", "k_min", "k_max", "method", *start, "batch_size")
        if method.is_deep or method is ClusterMethod.MINIBATCH:
            unused["--method kmeans and manifold, and --distance"] = ("outliers",)
        reasons = {name: f"here; it is for {purpose}" for purpose, names in unused.items() for name in names}
        if not self.trains:
            reasons["resume"] = f"as --method {method} with --features {self.features} trains nothing"
        return reasons


@dataclass(frozen=True)
class ClusterData(DataSettings):
    """Which items shall be grouped.

    Attributes:
        source: a folder or an image, a name of `dltool.data.builtin.BUILTIN`, toy points, or a table.
        limit: use only so many items; 0 uses all.
        columns, ignore: of a table, by name or by number from 1: those that are compared, and those that are not.
        label_column: of a table, holds classes; for scores only. In an .npz file the name of an array.
        no_cache: keep neither features nor fingerprints on disk.
    """

    source: Annotated[
        str,
        Option(
            "A folder of images, a .csv, .npy, .npz or .parquet table, digits, mnist, fashion-mnist, cifar10, "
            "or the toy points circles, moons, blobs.",
            metavar="DATA",
            argument=True,
        ),
    ]
    limit: Annotated[int, Option("Use only so many items; 0: all.", min=0, panel="Data")] = 0
    columns: Annotated[
        tuple[str, ...],
        Option("Compare only these columns.", metavar="NAME,…", shown="all numbers", panel=_TABLES, read=read_names),
    ] = ()
    ignore: Annotated[
        tuple[str, ...], Option("Leave these columns out.", metavar="NAME,…", shown="", panel=_TABLES, read=read_names)
    ] = ()
    label_column: Annotated[
        str | None, Option("Score the groups against this column.", metavar="NAME", shown="", panel=_TABLES)
    ] = None
    on_bad: OnBad = OnBad.SKIP
    complete: bool = False
    labelled: bool = False
    joined: bool = True
    no_cache: NoCache = False

    @property
    def roles(self) -> dict[str, str]:
        """None: the columns are those of a table of numbers, not of labels."""
        return {}

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing about this source, and why; see `dltool.settings.Typed.refuse`."""
        from dltool.data.builtin import is_builtin

        return {} if is_builtin(self.source) else dict.fromkeys(("root", "download"), "here; it is for sets by name")


@dataclass(frozen=True, kw_only=True)
class ClusterPlace(PageChoice):
    """Where the result goes, and what of an earlier one is used.

    Attributes:
        model: the groups of an earlier result, which items are assigned to: its folder or its model file.
        sort: how images are put into their clusters' folders; None leaves them alone.
        save_embeddings: write the rows that were compared, in the order of the table, as `embeddings.npy`.
        duplicates: find images that show the same instead, and which of them to keep.
    """

    output: Annotated[Path, Option("Where the results go.", flags=("--output", "-o"), metavar="FOLDER")]
    model: Annotated[
        Path | None,
        Option("Assign DATA to the groups of an earlier result.", metavar="RUN|FILE", shown="", panel=_OUTPUT),
    ] = None
    sort: Annotated[
        SortBy | None,
        Option("Sort images into OUT/sorted/cluster-N/, or group-N; originals stay.", shown="", panel=_OUTPUT),
    ] = None
    duplicates: Annotated[
        bool,
        Option("Group nothing, but find images that show the same: copies, altered ones, takes.", panel=_OUTPUT),
    ] = False
    save_embeddings: Annotated[bool, Option("Write what was compared to embeddings.npy.", panel=_OUTPUT)] = False
    resume: Annotated[bool, Option("Go on with a deep method that was stopped.", panel=_OUTPUT)] = False

    __post_init__ = check_options

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside `duplicates`, and why; see `dltool.settings.Typed.refuse`."""
        names = (*vars(ClusterSettings()), *OF_TABLES, "model", "save_embeddings", "resume", "device")
        return dict.fromkeys(names, "with --duplicates, which compares images as they are") if self.duplicates else {}


OF_TABLES = ("columns", "ignore", "label_column", "standardize")
# What a model has decided already.
DECIDED_BY_A_MODEL = (
    *("k", "k_min", "k_max", "method", "features", "weights", "size", "pca", "normalize", "smooth", "resume"),
    *("distance", "outliers"),
    *("columns", "ignore", "standardize"),
    *("init", "n_init", "max_iter", "tol", "batch_size"),
    *("epochs", "latent_dim", "clustering_weight", "ramp_start", "ramp_end"),
)


def count_of(number: int, items: str) -> str:
    """`3 images`, but `1 image`; `items` is a plural."""
    return f"{number} {items.removesuffix('s') if number == 1 else items}"
