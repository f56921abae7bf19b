"""Deep k-means: an autoencoder and the centres of its codes, trained together."""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.autoencoder.networks import ConvAutoencoder
from dltool.cluster.autoencoder_codes import ViewSource, decode_centers, network_arguments, new_autoencoder
from dltool.cluster.clustering import Clustering, GroupingStep, GroupingTask
from dltool.cluster.deep_training import Checkpoints, NumberTrainer, enough_epochs, learn
from dltool.cluster.gradients import gradient_features
from dltool.cluster.graph_partition import Graph, modularity
from dltool.cluster.initial_centers import random_centers
from dltool.cluster.kmeans import nearest_centers, starting_centers
from dltool.cluster.manifold import neighbor_graph
from dltool.cluster.scores import compare_with_classes
from dltool.cluster.settings import ClusterMethod, ClusterSettings, Init
from dltool.cluster.small_images import DeviceImages, encode_all
from dltool.training.events import Notice
from dltool.training.seeds import numpy_generator
from dltool.training.trainer import Batch, Share

_JUDGED = 10_000
# Small sets get as many steps as 60,000 images in 60 epochs.
_STEPS = 14_100


class DeepKMeans(nn.Module):
    """An autoencoder with k centres among its codes, which are parameters like any other.

    Attributes:
        centers: k × latent_dim.
        baseline: the autoencoder's tensors before it knew of clusters, and the centres of k-means on its codes then;
            empty until the clustering loss gains weight. It is a part of the module's state.
    """

    def __init__(self, autoencoder: ConvAutoencoder, k: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.centers = nn.Parameter(
            torch.zeros(k, autoencoder.latent_dim, device=next(autoencoder.parameters()).device)
        )
        self.baseline: dict[str, Tensor] = {}

    def get_extra_state(self) -> dict[str, Tensor]:
        """What `state_dict` holds beyond parameters."""
        return dict(self.baseline)

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `get_extra_state` gave."""
        self.baseline = dict(state)

    def loss(self, images: Tensor, weight: float) -> Tensor:
        """Reconstruction plus `weight` times the clustering loss of N × C × H × W images in [0, 1]."""
        codes = self.autoencoder.encode(images)
        return F.mse_loss(self.autoencoder.decode(codes), images) + weight * clustering_loss(codes, self.centers)


def clustering_loss(codes: Tensor, centers: Tensor) -> Tensor:
    """Mean over N × D codes of the squared distance to the nearest of k × D centres; both move by its gradient."""
    nearest = torch.cdist(codes.detach(), centers.detach()).argmin(1)
    return (codes - centers[nearest]).square().sum(1).mean()


def clustering_weight(epoch: float, full: float, ramp_start: float, ramp_end: float) -> float:
    """λ after `epoch` epochs: full / (T2 - T1) up to T1 + 1, then in proportion to epoch - T1, `full` from T2 on."""
    length = ramp_end - ramp_start
    return full * min(max(epoch - ramp_start, 1.0), length) / length


@dataclass(frozen=True)
class Schedule:
    """How long is trained, and between which epochs the clustering loss gains weight (the textbook's T1 and T2)."""

    epochs: int
    ramp_start: int
    ramp_end: int


def new_schedule(settings: ClusterSettings, count: int) -> Schedule:
    """The schedule for `count` images: the textbook's 50 of 200 epochs, in proportion."""
    epochs = settings.epochs or enough_epochs(count, _STEPS)
    start = settings.ramp_start if settings.ramp_start is not None else max(1, round(epochs / 4))
    end = settings.ramp_end if settings.ramp_end is not None else max(epochs, start + 1)
    return Schedule(epochs, start, max(end, start + 1))


class DeepKMeansTrainer(NumberTrainer):
    """Learns views of the images and, ever more, that codes are near to their centres (see `Schedule`)."""

    def __init__(self, model: DeepKMeans, images: DeviceImages, task: GroupingTask, schedule: Schedule) -> None:
        self._model = model
        self._images = images
        self._task = task
        self._schedule = schedule
        self._views = ViewSource(images, task.settings.seed)

    def begin_epoch(self, epoch: int) -> None:
        """Set the centres, before the first epoch and before the clustering loss gains weight; then keep a baseline."""
        model, task, ramp = self._model, self._task, epoch == self._schedule.ramp_start
        if epoch > 0 and not ramp:
            return
        codes = _codes(model.autoencoder, self._images)
        centers = _kmeans_centers(task, codes)
        if ramp:
            model.baseline = {**_copy(model.autoencoder.state_dict()), _CENTERS: centers}
        if task.settings.init is Init.RANDOM:
            if ramp:
                return  # they have been trained since the beginning
            centers = random_centers(codes, task.k, torch.device("cpu"), task.settings.seed, "deep", task.k)
        with torch.no_grad():
            model.centers.copy_(centers)

    def loss(self, batch: Batch, share: Share) -> Tensor:
        images = self._views(batch[0], share.epoch)
        full, ramp = self._task.settings.clustering_weight, self._schedule
        weight = clustering_weight(share.epoch + share.step / share.steps, full, ramp.ramp_start, ramp.ramp_end)
        return self._model.loss(images, weight) * (len(images) * share.weight)


def group_by_deep_kmeans(task: GroupingTask) -> Generator[GroupingStep | Notice, None, Clustering | None]:
    """Train, group the codes, and keep the better of this and of k-means on the codes before λ rose.

    None if it was stopped; see `GroupingTask` and `Clustering`.
    """
    assert task.images is not None
    settings = task.settings
    images = DeviceImages(task.images, task.device)
    checkpoints = Checkpoints(task.context, settings, task.images)
    schedule = new_schedule(settings, len(images))
    model = DeepKMeans(new_autoencoder(images, settings.latent_dim, settings.seed), task.k)
    trainer = DeepKMeansTrainer(model, images, task, schedule)
    training = (trainer, "training deep k-means", model, len(images), schedule.epochs, settings.seed)
    finished = yield from learn(*training, checkpoints, task.context.should_stop)
    return (yield from _keep_better(task, images, model, model.baseline)) if finished else None


_CENTERS = "centers"


def _keep_better(
    task: GroupingTask, images: DeviceImages, model: DeepKMeans, baseline: dict[str, Tensor]
) -> Generator[GroupingStep | Notice, None, Clustering]:
    """Compare the two groupings by their modularity on one graph that neither was made from: of `gradient_features`.

    Pixels judge worse: on MNIST they took a grouping of 79 % accuracy for better than one of 88 %.
    One that put everything into one group has a modularity of 0, more than a poor one, but is none.
    """
    joint = _grouping(task, model.autoencoder, images, model.centers.detach().cpu())
    if not baseline or len(images) < 2:  # the ramp never began, or there is nothing to compare
        return joint
    before = new_autoencoder(images, task.settings.latent_dim, task.settings.seed)
    before.load_state_dict({name: tensor for name, tensor in baseline.items() if name != _CENTERS})
    plain = _grouping(task, before.eval(), images, baseline[_CENTERS])
    chosen, graph = yield from _judging_graph(images, task)
    scores = {}
    for name, found in (("deep_kmeans", joint), ("baseline", plain)):
        scores[name] = {"modularity": modularity(graph, found.labels[chosen], task.k)}
        if task.labels is not None:
            classes = int(task.labels.max()) + 1
            agreement = compare_with_classes(found.labels, task.labels, task.k, classes)
            scores[name] |= {"accuracy": agreement.accuracy, "nmi": agreement.nmi, "ari": agreement.ari}
    worth = {
        name: (bool(np.ptp(found.labels)), scores[name]["modularity"])
        for name, found in (("deep_kmeans", joint), ("baseline", plain))
    }
    better = worth["deep_kmeans"] >= worth["baseline"]
    kept = "the first" if better else "the second"
    yield Notice(
        f"modularity on the neighbour graph of gradients: deep k-means {scores['deep_kmeans']['modularity']:.4f}, "
        f"autoencoder + k-means {scores['baseline']['modularity']:.4f}; {kept} is kept"
    )
    return replace(joint if better else plain, figures={**scores, "kept": "deep_kmeans" if better else "baseline"})


def _judging_graph(images: DeviceImages, task: GroupingTask) -> Generator[GroupingStep, None, tuple[np.ndarray, Graph]]:
    """Return numbers of at most 10,000 images and the neighbour graph of their edges."""
    chosen = np.arange(len(images))
    if len(images) > _JUDGED:
        chosen = np.sort(numpy_generator(task.settings.seed, "judged").choice(len(images), _JUDGED, replace=False))
    parts = torch.from_numpy(chosen).split(1024)
    rows = torch.cat([gradient_features(images[part]).cpu() for part in parts]).numpy()
    graph = yield from neighbor_graph(rows, task.device)
    return chosen, graph


def _codes(network: ConvAutoencoder, images: DeviceImages) -> np.ndarray:
    network.eval()
    return encode_all(network.encode, images).numpy()


def _kmeans_centers(task: GroupingTask, codes: np.ndarray) -> Tensor:
    settings = replace(task.settings, init=Init.KMEANS_PLUS_PLUS, n_init=task.settings.n_init or 3)
    return starting_centers(replace(task, settings=settings), codes)


def _grouping(task: GroupingTask, network: ConvAutoencoder, images: DeviceImages, centers: Tensor) -> Clustering:
    found = nearest_centers(_codes(network, images), centers)
    return replace(
        found,
        center_images=decode_centers(network, centers),
        architecture=ClusterMethod.DEEP_KMEANS.value,
        arguments={"network": network_arguments(network)},
        tensors={f"network.{name}": tensor.detach().cpu() for name, tensor in network.state_dict().items()},
    )


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
