"""Labels that are spread to images without any: when it helps, when it is left alone, and what a run says."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dltool.events import finish
from dltool.finetune.linear_head import HeadProblem, cross_validate, fit_head
from dltool.finetune.settings import Head, Strategy
from dltool.finetune.unlabelled import spread_labels
from dltool.training.events import Notice
from tests.cli.run import run_inside
from tests.finetune.conftest import events_of, quick, result_of
from tests.finetune.test_linear_head import standard


def spread(few: int, strangers: torch.Tensor | None = None) -> tuple[Any, ...]:
    """Threes and eights of the digits, `few` of each with labels; 250 others, or `strangers`, without."""
    features, labels = threes_and_eights()
    known = torch.cat([torch.nonzero(labels == label).flatten()[:few] for label in (0, 1)])
    views = features[np.setdiff1d(np.arange(250), known)] if strangers is None else strangers
    problem = HeadProblem(features[known][None], labels[known], 2, np.arange(2 * few), 0)
    before = finish(cross_validate(problem))
    directions = F.normalize(torch.cat([problem.views[0], views]), dim=1)
    return problem, before, *finish(spread_labels(problem, before, views[None], directions))


def threes_and_eights() -> tuple[torch.Tensor, torch.Tensor]:
    features, labels = standard(1700)
    chosen = torch.nonzero((labels == 3) | (labels == 8)).flatten()
    return features[chosen], (labels[chosen] == 8).long()


def test_images_without_labels_make_the_head_of_few_better() -> None:
    problem, before, found, solution, figures = spread(3)
    assert figures.used and figures.loss_with < figures.loss_without
    assert figures.accuracy_with == float((found.calibrated.argmax(1) == problem.labels).double().mean())
    features, labels = (each[250:] for each in threes_and_eights())
    without, with_them = (
        float(((features.double() @ weight.double().T + bias).argmax(1) == labels).double().mean())
        for weight, bias in (fit_head(problem, before.l2), solution)
    )
    assert with_them > without + 0.02


def test_images_that_do_not_help_are_left_out() -> None:
    opposite = threes_and_eights()[0][:150] * -1
    _, before, found, solution, figures = spread(20, opposite)
    assert not figures.used and figures.loss_with >= figures.loss_without
    assert found is before and solution is None
    assert str(figures).endswith("they are left out")


def test_sample_weights_are_repetitions() -> None:
    features, labels = standard(60)
    labels = labels % 2
    weights = torch.ones(60).index_fill(0, torch.arange(20), 3.0)
    again = torch.cat([torch.arange(60), torch.arange(20).repeat(2)])
    weighed = fit_head(HeadProblem(features[None], labels, 2, np.arange(60), 0, sample_weights=weights), 0.1)
    repeated = fit_head(HeadProblem(features[again][None], labels[again], 2, np.arange(100), 0), 0.1)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(weighed, repeated, strict=True))


def test_a_run_learns_from_a_folder_and_says_what_it_was_worth(textures: Path, cache: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for folder in textures.iterdir():
        (few / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:4]:
            shutil.copy(file, few / folder.name)
    settings = quick(strategy=Strategy.FEATURES, unlabelled=textures)
    events = events_of(few, settings, cache=cache)
    said = [event.text for event in events if isinstance(event, Notice)]
    assert "--unlabelled: 24 pictures, 12 left out that the data has, too, or that are there twice" in said
    result = result_of(events)
    assert str(result.unlabelled) in said and result.unlabelled.images == 24
    assert result.figures["unlabelled"] == result.unlabelled
    accuracies = {True: result.unlabelled.accuracy_with, False: result.unlabelled.accuracy_without}
    assert result.cross_validation["accuracy"] == pytest.approx(accuracies[result.unlabelled.used])


def test_other_ways_refuse_it(textures: Path, tmp_path: Path) -> None:
    words = ("finetune", textures, "-o", tmp_path / "run", "--unlabelled", textures, "--dry-run")
    for more, why in ((("--strategy", "partial"), "with --strategy partial"), (("--head", "mlp"), "with --head mlp")):
        result = run_inside(*words, *more)
        assert result.exit_code == 2 and f"--unlabelled: has no effect {why}" in result.stderr
    assert "unlabelled" not in quick(head=Head.LINEAR).without_effect()
