"""The method section says what the settings did, and no more."""

from dataclasses import replace

import numpy as np

from onelayer.report.blocks import Equations, Paragraph
from onelayer.report.content import compose
from onelayer.report.effects import tell_l2, tell_learning_rate, tell_steadiness
from onelayer.report.method import describe_method
from onelayer.training.hyperparameters import Hyperparameters
from test_report import make_results


def told_of(settings, **protocol):
    run = make_results(np.full(len(settings), 0.4), settings=settings, repeats=()).run
    blocks = list(describe_method(replace(run, protocol=run.protocol | protocol)))
    equations = [row for block in blocks if isinstance(block, Equations) for row in block.rows]
    return " ".join(b.text for b in blocks if isinstance(b, Paragraph)), equations


def test_plain_cross_entropy_has_the_courses_equations_its_slopes_and_no_others():
    text, equations = told_of([Hyperparameters(), Hyperparameters(1)])
    assert "gradient descent on the mean cross-entropy plus λ times" in text
    assert [number for number, _, _ in equations] == [
        "(1)", "(5)", "(6)", "(8)", "(9)", "(10)", "(11)", ""
    ]  # fmt: skip
    assert "in common" not in text
    assert "changed at random" not in text


def test_every_loss_that_occurs_has_its_equation():
    losses = ("hinge", "binary-cross-entropy")
    text, equations = told_of([Hyperparameters(loss=loss) for loss in losses])
    written = [equation for _, equation, _ in equations]
    assert "mean multi-class hinge loss or binary cross-entropy of K sigmoids plus" in text
    assert "with softmax" not in text
    assert "l = Σⱼ max(0, sⱼ − s_y + 1),  j ≠ y" in written
    assert "l = −(1/K) Σₖ [eₖ log pₖ + (1 − eₖ) log(1 − pₖ)]" in written
    assert not any("softmax" in equation for equation in written)
    assert "g = (p − e) / K" in written


def test_momentum_schedules_and_starts_are_told_where_they_are_used():
    settings = [
        Hyperparameters(momentum=0.9, nesterov=True, schedule=schedule, warmup=2, init="xavier")
        for schedule in ("exponential:0.9", "step:10:0.1", "cosine", "plateau:3:0.5", "constant")
    ]
    text, equations = told_of(settings)
    written = [equation for _, equation, _ in equations]
    for equation in (
        "V ← μ V + ∂J/∂W,  W ← W − η V",
        "W ← W − η (∂J/∂W + μ V)",
        "ηₑ = η fᵉ",
        "ηₑ = η f^⌊e/n⌋",
        "ηₑ = η (1 + cos(π e / E)) / 2",
        "η ← f η",
        "ηₑ ← ηₑ min(1, (e + 1) / (w + 1))",
    ):
        assert equation in written
    assert "All settings have in common: warm-up 2; μ=0.9; Nesterov; xavier." in text


def test_augmentation_and_what_is_kept_are_told():
    text, _ = told_of([Hyperparameters()], augmentation="flip,shift:2,contrast:0.2", keep="best")
    assert (
        "mirrored with probability 0.5; shifted by up to 2 pixels each way and its contrast" in text
    )
    assert "the epoch with the best validation accuracy is kept" in text
    text, _ = told_of([Hyperparameters()], augmentation="none", keep="best", patience=5)
    assert "ends after 5 measurements" in text


def test_settings_that_differ_in_more_than_the_effect_are_not_paired():
    hinge = {"loss": "hinge", "momentum": 0.9}
    settings = [
        Hyperparameters(0, 0.1),
        Hyperparameters(1, 0.1, **hinge),
        Hyperparameters(0.5, 0.1),
        Hyperparameters(2, 0.1, **hinge),
        Hyperparameters(2, 0.2, **hinge),
    ]
    results = make_results((0.3, 0.5, 0.4, 0.6, 0.5), settings=settings, repeats=())
    assert tell_l2(results)[1:] == [
        "At η=0.1, raising λ from 0 to 0.5 gained 0.1000 of test accuracy (0.3000 to 0.4000).",
        "At η=0.1, hinge, μ=0.9, raising λ from 1 to 2 gained 0.1000 of test accuracy "
        "(0.5000 to 0.6000).",
    ]
    assert tell_learning_rate(results)[1:] == [
        "At λ=2, hinge, μ=0.9, raising η from 0.1 to 0.2 cost 0.1000 of test accuracy "
        "(0.6000 to 0.5000)."
    ]


def test_jumps_between_epochs_measured_seldom_are_placed_in_those_epochs():
    run = make_results((0.5,), repeats=()).run
    run.history.measured[:] = [0, 5, 10, 15, 18]
    run.history.train_loss[0] = [2.3, 2.5, 2.4, 2.6, 2.5]
    run.kept[:] = 18
    assert tell_steadiness(run)[1] == (
        "λ=0, η=0.01: it rose in 1 of 3 transitions, at most by 0.2000 (epoch 10 to 15, 2.4000 to "
        "2.6000); already epoch 5, the first measured, raised it from 2.3000 to 2.5000."
    )


def test_models_that_ended_early_are_told_with_the_epoch_that_was_kept():
    results = make_results()
    reason = "epoch 3: no better validation accuracy in 1 measurements"
    run = replace(results.run, ended=("", reason, ""), kept=np.array([4, 2, 4]))
    (discussion,) = [
        section
        for section in compose(replace(results, run=run), {}).sections
        if section.title == "Discussion"
    ]
    assert (f"λ=0.1, η=0.01: {reason}; kept is epoch 2.",) == discussion.blocks[-1].items
    assert discussion.blocks[-2].text == "1 of 3 settings ended before the last epoch."
