"""Own class names and ImageNet's."""

import torch
from torch import nn

from dltool.backbones.classes import imagenet_classes
from dltool.finetune.name_match import match_classes, start_from_names, zero_shot_logits
from dltool.finetune.network import new_head
from dltool.finetune.settings import Head


def test_plurals_case_and_kinds_are_matched() -> None:
    found = match_classes(("ants", "Bees", "Dog", "tabby_cat", "daisies", "teapots", "brick"))
    labels = imagenet_classes()
    assert [[labels[i] for i in found[name]] for name in ("ants", "Bees")] == [["ant"], ["bee"]]
    assert len(found["Dog"]) == 118
    assert labels[found["daisies"][0]] == "daisy"
    assert labels[found["teapots"][0]] == "teapot"
    assert found["brick"] == []


def test_a_head_from_names_answers_as_imagenets_rows_do() -> None:
    torch.manual_seed(0)
    features = torch.randn(50, 6) * 3 + 1
    imagenet = nn.Linear(6, 1000)
    head = new_head(Head.LINEAR, 6, 2, 8, 0.0).eval()
    head[0].measure(features)
    matches = start_from_names(head, imagenet, ("ants", "bees"))
    assert matches == {"ants": ["ant"], "bees": ["bee"]}
    with torch.no_grad():
        mine, theirs = head(features), imagenet(features)[:, [310, 309]]
    assert torch.allclose(mine - mine.mean(1, keepdim=True), theirs - theirs.mean(1, keepdim=True), atol=1e-4)


def test_zero_shot_knows_when_the_answer_is_none_of_the_classes() -> None:
    answers = torch.zeros(2, 1000)
    answers[0, 310] = 5
    answers[1, 309], answers[1, 7] = 4, 5
    scores, own = zero_shot_logits(answers, ("ants", "bees"))
    assert scores.argmax(1).tolist() == [0, 1]
    assert own.tolist() == [True, False]
