"""Settings of `dltool cluster`, free of torch so that the command line answers at once."""

from dataclasses import dataclass
from enum import StrEnum

from dltool.errors import SettingsError


class Method(StrEnum):
    """How groups are found."""

    KMEANS = "kmeans"
    MINIBATCH = "minibatch"
    DEEP_KMEANS = "deep-kmeans"
    MANIFOLD = "manifold"

    @property
    def is_deep(self) -> bool:
        """Whether a network and its groups are trained together, rather than features grouped as they are."""
        return self is Method.DEEP_KMEANS


class Init(StrEnum):
    """Where k-means starts: spread out by D² sampling, or at random points."""

    KMEANS_PLUS_PLUS = "k-means++"
    RANDOM = "random"


class SortBy(StrEnum):
    """How `--sort` puts an image into its cluster's folder."""

    LINKS = "links"
    COPIES = "copies"


AUTO, PIXELS, GRADIENTS, AUTOENCODER = "auto", "pixels", "gradients", "ae"
# A table's own numbers.
VALUES = "values"


@dataclass(frozen=True)
class ClusterSettings:
    """What is grouped by what, and how.

    Attributes:
        k: number of clusters; None lets `choose_k` decide within `k_min` to `k_max`.
        features: `auto` (a backbone for photos, `gradients` for small images by `manifold`, the values themselves for
            all else), a backbone's name, `pixels`, `gradients`, or an autoencoder's codes: `ae` trains one on the
            images, `ae:MODEL` takes a trained one.
        weights, size: of the backbone, as `finetune` takes them.
        pca: keep so many principal components; 0 keeps the features as they are.
        normalize: scale every row to length 1, so that angles are compared (spherical k-means); None: for a
            backbone's features.
        smooth: steps of a walk to nearest neighbours over which features are averaged; None: 8 for a backbone's.
        n_init: starts of k-means, of which the one of least inertia is kept; None: 10, or 3 where that takes long.
        tol: k-means ends when no centre moves further than this share of the data's mean variance.
        batch_size: rows of a step of minibatch.
        epochs: of what is trained; None: what small and large sets need.
        latent_dim: width of an autoencoder's codes.
        clustering_weight: λ of deep k-means, the full weight of the clustering loss beside the reconstruction's.
        ramp_start, ramp_end: epochs T1 and T2 between which that weight rises; None: a quarter and all of `epochs`.
    """

    k: int | None = None
    k_min: int = 2
    k_max: int = 12
    method: Method = Method.KMEANS
    features: str = AUTO
    weights: str = "default"
    size: int = 0
    pca: int = 0
    normalize: bool | None = None
    smooth: int | None = None
    init: Init = Init.KMEANS_PLUS_PLUS
    n_init: int | None = None
    max_iter: int = 300
    tol: float = 1e-4
    batch_size: int = 4096
    epochs: int | None = None
    latent_dim: int = 10
    clustering_weight: float = 1e-3
    ramp_start: int | None = None
    ramp_end: int | None = None
    seed: int = 0

    @property
    def trains(self) -> bool:
        """Whether a network is trained, which takes long enough to be stopped and resumed."""
        return self.method.is_deep or self.features == AUTOENCODER

    def __post_init__(self) -> None:
        for name, kind in (("method", Method), ("init", Init)):
            object.__setattr__(self, name, kind(getattr(self, name)))
        if self.k is not None and self.k < 1:
            raise SettingsError(f"-k {self.k}: at least 1 is needed")
        if not 2 <= self.k_min <= self.k_max:
            raise SettingsError(f"--k-min {self.k_min} --k-max {self.k_max}: 2 <= k-min <= k-max is needed")
        if not 0 <= self.clustering_weight < float("inf"):
            raise SettingsError(f"--clustering-weight {self.clustering_weight}: a finite number from 0 is needed")
        if not 0 <= self.tol < float("inf"):
            raise SettingsError(f"--tol {self.tol}: a finite number from 0 is needed")
        if self.ramp_start is not None and self.ramp_end is not None and self.ramp_end <= self.ramp_start:
            raise SettingsError(f"--ramp-start {self.ramp_start} --ramp-end {self.ramp_end}: the end comes first")


def ignored(settings: ClusterSettings) -> dict[str, str]:
    """Names of the settings that change nothing beside the others, and what each is for.

    `features` is what was asked for, or better what it means for the data at hand, such as `values`.
    """
    method, features, k_given = settings.method, settings.features, settings.k is not None
    given_network = features.startswith(f"{AUTOENCODER}:")
    no_backbone = features in (PIXELS, GRADIENTS, VALUES, AUTOENCODER) or given_network
    of_features = "methods that compare features"
    found = {
        "-k auto": ("k_min", "k_max") if k_given else (),
        "k-means and -k auto": ("init", "n_init", "max_iter", "tol") if k_given and method is Method.MANIFOLD else (),
        "--method minibatch": () if method is Method.MINIBATCH else ("batch_size",),
        "--method deep-kmeans": () if method.is_deep else ("clustering_weight", "ramp_start", "ramp_end"),
        "--method deep-kmeans and --features ae": () if settings.trains else ("epochs", "latent_dim"),
        "features of a backbone": ("weights",) if no_backbone else (),
        "pictures, but not those of ae:MODEL": ("size",) if features == VALUES or given_network else (),
        of_features: ("pca", "normalize", "smooth") if k_given and method.is_deep else (),
    }
    if method.is_deep and features not in (AUTO, PIXELS):
        found[of_features] += ("features",)
    return {name: purpose for purpose, names in found.items() for name in names}


def count_of(number: int, items: str) -> str:
    """`3 images`, but `1 image`; `items` is a plural."""
    return f"{number} {items.removesuffix('s') if number == 1 else items}"


def parse_k(text: str) -> int | None:
    """Read `-k`: a number, or None for `auto`.

    Raises:
        SettingsError: neither.
    """
    if text == AUTO:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"-k {text}: give a number from 1, or auto")
    return int(text)
