"""ImageNet's classes by the names of one's own: for heads that start from its rows, and for zero-shot answers."""

import re

import torch
from torch import Tensor, nn

from dltool.backbones.classes import imagenet_classes
from dltool.finetune.network import Standardize

# Classes that ImageNet has only by their kinds: its dogs are 151 to 268, its domestic cats 281 to 285.
_KINDS = {"dog": range(151, 269), "cat": range(281, 286), "bird": range(80, 101), "fish": range(389, 398)}


def match_classes(class_names: tuple[str, ...]) -> dict[str, list[int]]:
    """Map each class to the ImageNet classes whose label is its name, or holds it as its last word, or is of its kind.

    Singular and plural, case, `_` and `-` do not matter: `ants` finds `ant`, `Tabby_cats` finds `tabby cat`. Classes
    that find nothing get an empty list.
    """
    labels = [_normalize(label) for label in imagenet_classes()]
    found: dict[str, list[int]] = {}
    for name in class_names:
        wanted = _normalize(name)
        exact = [index for index, label in enumerate(labels) if label == wanted]
        kind = list(_KINDS.get(wanted, ()))
        ending = [index for index, label in enumerate(labels) if label.endswith(f" {wanted}")]
        found[name] = exact or kind or ending
    return found


def start_from_names(head: nn.Sequential, imagenet: nn.Linear, class_names: tuple[str, ...]) -> dict[str, list[str]]:
    """Copy into a linear head the mean of the matching ImageNet rows; classes without a match stay zero.

    Args:
        head: Standardize (already measured), dropout, linear.
        imagenet: the layer that the backbone lost.

    Returns:
        Class name to the ImageNet labels that it started from.
    """
    standardize, linear = head[0], head[-1]
    assert isinstance(standardize, Standardize) and isinstance(linear, nn.Linear)
    matches = {name: rows for name, rows in match_classes(class_names).items() if rows}
    with torch.no_grad():
        # A body with features of two sizes holds every feature twice; each then counts half.
        copies = linear.in_features // imagenet.in_features
        for name, rows in matches.items():
            weight, bias = imagenet.weight[rows].mean(0), imagenet.bias[rows].mean()
            weight = weight.repeat(copies) / copies
            index = class_names.index(name)
            # The row acts on raw features, the head on standardised ones.
            linear.weight[index] = weight * standardize.scale
            linear.bias[index] = bias + weight @ standardize.mean
        if matches:
            linear.bias -= linear.bias.mean()
    labels = imagenet_classes()
    return {name: [labels[row] for row in rows] for name, rows in matches.items()}


def zero_shot_logits(imagenet_logits: Tensor, class_names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Answers of the 1000-class network in terms of one's own classes.

    Returns:
        N × classes scores, each the largest logit of a class's matches (-inf without), and N bools: whether the top
        answer of all 1000 is a match of any class. A prediction counts as right only where both agree.
    """
    matches = match_classes(class_names)
    scores = torch.full((len(imagenet_logits), len(class_names)), float("-inf"))
    for index, name in enumerate(class_names):
        if matches[name]:
            scores[:, index] = imagenet_logits[:, matches[name]].amax(1)
    return scores, scores.amax(1) >= imagenet_logits.amax(1)


def _normalize(name: str) -> str:
    words = re.sub(r"[\W_]+", " ", name).strip().lower().split()
    if words:
        words[-1] = _singular(words[-1])
    return " ".join(words)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(s|x|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
