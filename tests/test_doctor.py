"""The doctor names every planted slip, and none in right code, in anybody's conventions."""

from dataclasses import replace

import numpy as np
import pytest

import onelayer
from onelayer.errors import InputError
from onelayer.model import network
from onelayer.model.doctor.diagnosis import Diagnosis, judge
from onelayer.model.doctor.matching import formulas, relative_distance
from onelayer.model.doctor.points import L2, SIZES, draw_point, probe_points
from onelayer.model.doctor.questions import ask, ask_all
from onelayer.model.doctor.roles import find_functions
from onelayer.model.doctor.slips import CODES
from onelayer.model.gradient_check import check_gradient
from onelayer.model.losses import CROSS_ENTROPY, LOSSES
from submissions import (
    ALONE,
    BINARY,
    CLASS,
    COURSE,
    CS231N,
    GRADIENTS,
    IN_DICT,
    IN_LISTS,
    MODULE,
    OTHERS,
    OWN,
    RIGHT,
    WITH_TORCH,
    Wrong,
)


def diagnosed(text: str, loss: str = "", roles: tuple[str, ...] = (), seed: int = 0) -> Diagnosis:
    """Return the diagnosis of the functions of these roles, by default of all."""
    namespace: dict[str, object] = {}
    exec(text, namespace)
    found = find_functions(namespace)
    asked = {role: functions for role, functions in found.items() if role in (roles or found)}
    with np.errstate(all="ignore"):
        return judge(ask_all(asked, loss, seed))


def codes(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in diagnosis.findings]


@pytest.mark.parametrize("wrong", GRADIENTS, ids=lambda wrong: wrong.name)
def test_each_wrong_gradient_is_named_alone(wrong: Wrong):
    assert {*codes(diagnosed(wrong.text))} == {wrong.code}


@pytest.mark.parametrize("wrong", OWN, ids=lambda wrong: wrong.name)
def test_each_slip_of_the_longer_list_is_named_first(wrong: Wrong):
    assert codes(diagnosed(wrong.text))[0] == wrong.code


# What is looked at beside each other, by the first letters of the code; else all functions are.
INVOLVED = {
    "N0": ("cost", "numerical"),
    "F1": ("accuracy",),
    "F2": ("gradient", "descent"),
    "F3": ("gradient", "normalisation"),
    "F4": ("pictures",),
}


@pytest.mark.parametrize("wrong", OTHERS, ids=lambda wrong: wrong.name)
def test_slips_of_the_other_functions_are_named(wrong: Wrong):
    assert wrong.code in codes(diagnosed(wrong.text, roles=INVOLVED.get(wrong.code[:2], ())))


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_in_anybodys_conventions_has_no_fault(name: str):
    diagnosis = diagnosed(RIGHT[name])
    assert diagnosis.checked
    assert diagnosis.codes == ()


@pytest.mark.torch
@pytest.mark.parametrize("name", WITH_TORCH)
def test_right_code_of_pytorch_has_no_fault(name: str):
    pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
    diagnosis = diagnosed(WITH_TORCH[name])
    assert diagnosis.checked
    assert diagnosis.codes == ()


def test_the_loss_that_was_asked_for_is_the_one_that_is_right():
    assert diagnosed(BINARY, "binary-cross-entropy").codes == ()
    assert diagnosed(BINARY).codes == ("G27",)


def right_gradient(generator: np.random.Generator):
    """Return the textbook's gradient in a random layout and precision, as a function."""
    columns, classes_first, one_hot, vector = generator.random(4) < 0.5
    dtype = generator.choice(["float64", "float32"])

    def gradient(X, y, W, b, lam):
        X, y = (X.T, y.T) if columns else (X, y)
        W = W if classes_first else W.T
        if W.shape[1] != X.shape[1] or y.ndim != 1 + one_hot or b.ndim != 2 - vector:
            raise ValueError("not my layout")
        labels = y.argmax(axis=1) if one_hot else y
        X, W = X.astype(dtype), W.astype(dtype)
        S = X @ W.T + b.ravel().astype(dtype)
        P = np.exp(S - S.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        P[np.arange(len(labels)), labels] -= 1
        dW = P.T @ X / dtype_of(len(X), dtype) + dtype_of(2 * lam, dtype) * W
        return dW if classes_first else dW.T, P.mean(axis=0).reshape(b.shape)

    return gradient


def dtype_of(value: float, dtype: str):
    return np.dtype(dtype).type(value)


def test_200_right_gradients_of_random_sizes_layouts_and_precisions_have_no_fault():
    generator = np.random.default_rng(0)
    for _ in range(40):
        sizes = tuple(map(int, generator.choice(np.arange(2, 24), 3, replace=False)))
        l2 = float(10 ** generator.uniform(-4, 1))
        for _ in range(5):
            answer = ask("gradient", "gradient", right_gradient(generator), sizes=sizes, l2=l2)
            assert judge([answer]).codes == (), (sizes, l2, answer.errors)


@pytest.mark.torch
def test_30_right_gradients_of_pytorch_in_random_layouts_have_no_fault():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
    generator = np.random.default_rng(1)
    for _ in range(30):
        sizes = tuple(map(int, generator.choice(np.arange(2, 24), 3, replace=False)))
        gradient = right_gradient_of_torch(torch, generator)
        answer = ask("gradient", "gradient", gradient, sizes=sizes, l2=generator.uniform(0, 2))
        assert judge([answer]).codes == (), (sizes, answer.errors)


def right_gradient_of_torch(torch, generator: np.random.Generator):
    """Return PyTorch's gradient in a random layout, precision and way, as a function."""
    columns, classes_first, one_hot, by_tensors, single = (generator.random(5) < 0.5).tolist()
    dtype = torch.float32 if single else torch.float64

    def gradient(X, y, W, b, lam):
        if torch.is_tensor(X) != by_tensors:
            raise TypeError("not my arrays")
        X, y = (torch.as_tensor(each) for each in (X, y))
        W, b = (torch.as_tensor(each).detach().to(dtype).requires_grad_() for each in (W, b))
        rows = (X.T if columns else X).to(dtype)
        if y.ndim != 1 + one_hot or W.shape[classes_first] != rows.shape[1] or b.ndim != 1:
            raise ValueError("not my layout")
        labels = y.argmax(dim=0 if columns else 1) if one_hot else y
        scores = rows @ (W.T if classes_first else W) + b
        loss = torch.nn.functional.cross_entropy(scores, labels) + lam * W.square().sum()
        loss.backward()
        return {"W": W.grad, "b": b.grad.numpy()}

    return gradient


def test_the_probe_points_are_designed():
    points = probe_points(draw_point())
    base = points["base"]
    assert len({*base.sizes}) == 3
    assert all(n % d for n in base.sizes for d in range(2, n))
    assert base.l2 == L2 > 0
    assert np.abs(base.b).min() > 0.1
    assert 1 < np.abs(base.S).max() < 10
    counts = np.bincount(base.y, minlength=base.sizes[2])
    assert counts.max() > counts.min()
    assert (np.diff(base.y) < 0).any()
    assert len(points["single"].y) == 1
    assert np.abs(points["large"].S).max() == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_right_formula_is_the_textbooks_at_every_point(loss: str):
    for name, point in probe_points(draw_point(loss=loss)).items():
        kinds = formulas(point.loss)
        dW, db = network.gradients(point.X, point.y, point.W, point.b, point.l2, point.loss)
        J = network.cost(point.X, point.y, point.W, point.b, point.l2, point.loss)
        for part, expected in (("dW", dW), ("db", db), ("cost", J)):
            assert relative_distance(kinds[part].right(point), expected) < 1e-14, (name, part)


def namesakes(part: str, seed: int) -> set[tuple[str, str]]:
    """Return the codes of two slips that one formula has at the points of a seed."""
    formula, point = formulas(CROSS_ENTROPY)[part], draw_point(seed=seed)
    right = np.ravel(formula.right(point))
    codes, found = [], []
    with np.errstate(all="ignore"):
        for place, axis in enumerate(formula.axes):
            for variant in axis[1:]:
                choice = (*formula.rights[:place], variant, *formula.rights[place + 1 :])
                value = np.ravel(formula.of(choice, point))
                if np.isfinite(value).all() and relative_distance(value, right) > 1e-7:
                    codes.append(variant.slip.code)
                    found.append(value)
    values = np.array(found)
    size = np.abs(values).max(axis=1)
    apart = np.abs(values[:, None] - values).max(axis=2)
    one = np.argwhere(apart <= 1e-7 * np.maximum(size[:, None], size))
    return {(codes[i], codes[j]) for i, j in one if codes[i] < codes[j]}


ONE_WITHOUT_L2 = {"db": {("G10", "G70"), ("G37", "G73")}}


@pytest.mark.parametrize("part", ["dW", "db", "cost"])
def test_two_hypotheses_that_are_one_formula_share_a_name(part: str):
    assert namesakes(part, 0) <= ONE_WITHOUT_L2.get(part, set())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 51))
def test_no_two_formulas_coincide_and_no_right_gradient_is_named_at_other_points(seed: int):
    for part in ("dW", "db", "cost"):
        assert namesakes(part, seed) <= ONE_WITHOUT_L2.get(part, set())
    generator = np.random.default_rng(seed)
    answers = [ask("gradient", "g", right_gradient(generator), seed=seed) for _ in range(5)]
    assert [judge([answer]).codes for answer in answers] == [()] * 5
    for text in (COURSE, CS231N, CLASS):
        assert diagnosed(text, seed=seed).codes == ()
    for wrong in GRADIENTS:
        assert {*codes(diagnosed(wrong.text, seed=seed))} == {wrong.code}, wrong.name


# Losses of which both faces are known, and which need no other softmax than that of p − y.
PAIRED = {"G10", "G17", "G22", "G26", "G34", "G35", "G38"}


def test_the_cost_and_the_gradient_of_one_idea_are_derivative_and_cost():
    point, axes = draw_point(), formulas(CROSS_ENTROPY)
    cost, of_W, of_b = (axes[part] for part in ("cost", "dW", "db"))
    shared = [v for v in cost.axes[0] if v.slope and (not v.slip or v.slip.code in PAIRED)]
    shared = [v for v in shared if v.formula != "p = softmax(softmax(s))"]
    decays = [v for v in cost.axes[3] if v.slope]
    pairs = [(v, decays[0]) for v in shared] + [(shared[0], v) for v in decays]
    assert len(pairs) > 30
    for loss, decay in pairs:

        def J(W, b, loss=loss, decay=decay):
            return cost.of((loss, *cost.rights[1:3], decay), replace(point, W=W, b=b))

        def gradient(W, b, loss=loss, decay=decay):
            at = replace(point, W=W, b=b)
            dW = of_W.of((loss, *of_W.rights[1:4], decay, of_W.rights[5]), at)
            return dW, of_b.of((loss, *of_b.rights[1:]), at)

        check = check_gradient(J, gradient, point.W, point.b, method="forward")
        assert check.passed, (loss.formula, decay.formula, str(check))


def test_a_check_of_a_gradient_keeps_both_gradients():
    point = draw_point()

    def cost(W, b):
        return network.cost(point.X, point.y, W, b, point.l2)

    for factor in (1.0, 1.1):
        for method in ("complex", "centred", "forward"):

            def gradient(W, b, factor=factor):
                dW, db = network.gradients(point.X, point.y, W, b, point.l2)
                return factor * dW, db

            check = check_gradient(cost, gradient, point.W, point.b, method=method)
            assert check.analytic[0].shape == check.numerical[0].shape == point.W.shape
            assert np.allclose(check.analytic[0], factor * check.numerical[0], rtol=1e-3, atol=1e-3)


def test_slips_that_stand_together_are_named_each():
    text = COURSE.replace("2 * lam * W", "lam * W").replace("/ N\n    return", "\n    return")
    diagnosis = diagnosed(text)
    where = {finding.code: finding.where for finding in diagnosis.findings if finding.fault}
    assert where["G40"] == "ComputeGradients: dW"
    assert where["G01"] == "ComputeGradients: db"


def test_three_slips_at_once_are_named_by_what_is_left_without_l2():
    text = GRADIENTS[0].text.replace("2 * lam * W", "lam * np.sign(W)").replace("P - Y", "Y - P")
    assert diagnosed(text).codes == ("G10", "G01", "G45")


def test_half_of_l2_is_told_or_found_in_the_cost():
    def cost(X, Y, W, b, lam):
        S = W @ X + b
        return np.mean(np.log(np.exp(S).sum(axis=0)) - (S * Y).sum(axis=0)) + lam / 2 * (W**2).sum()

    def gradient(X, Y, P, W, lam):
        G = P - Y
        return G @ X.T / X.shape[1] + lam * W, G.mean(axis=1, keepdims=True)

    assert onelayer.diagnose(gradient=gradient).codes == ("G40",)
    assert onelayer.diagnose(gradient=gradient, half=True).passed
    assert onelayer.diagnose(cost, gradient).passed
    assert "½λ" in onelayer.diagnose(cost, gradient).notes[0]


def test_half_of_l2_in_one_cost_of_two_is_a_fault_and_a_cost_without_l2_shows_nothing():
    half = COURSE.replace("return loss + lam", "return loss + lam / 2")
    both = half + COURSE[COURSE.index("def ComputeCost") :].split("def ComputeAcc")[0].replace(
        "ComputeCost", "ComputeLoss"
    )
    assert "G40" in codes(diagnosed(both, roles=("cost", "gradient")))
    plain = COURSE.replace("W, b, lam):\n    P", "W, b):\n    P").replace(
        "loss + lam * (W ** 2).sum()", "loss"
    )
    halved = plain.replace("2 * lam * W", "lam * W")
    assert codes(diagnosed(halved, roles=("cost", "gradient"))) == ["G40", "C04"]


def test_one_number_for_the_bias_is_no_cost():
    wrong = ALONE.replace("db = G.sum(axis=1, keepdims=True) / N", "db = np.mean(G)")
    (finding,) = diagnosed(wrong).findings
    assert finding.code == "L01"
    assert "5 numbers, found one number" in finding.found


def test_a_forward_pass_may_end_at_the_scores():
    def forward(X, W, b):
        return X @ W + b

    assert onelayer.diagnose(forward=forward).findings == ()
    assert onelayer.diagnose(probabilities=forward).codes == ("F02",)
    assert onelayer.diagnose(forward=lambda X, W, b: X @ W).codes == ("F02",)


@pytest.mark.parametrize("text", [CLASS, IN_DICT, IN_LISTS])
def test_methods_are_asked_with_the_w_and_b_of_their_objects(text: str):
    roles = {each.role for each in diagnosed(text).checked}
    assert roles == {"gradient", "cost", "forward", "accuracy"}
    assert diagnosed(text.replace("+ 2 * self.lam", "+ self.lam")).codes == ("G40", "C01")
    assert diagnosed(text.replace(" / Y.shape[1]", "")).codes[0] == "G01"


def test_what_an_object_adds_up_from_call_to_call_is_seen():
    assert diagnosed(CLASS.replace("self.dW =", "self.dW = getattr(self, 'dW', 0) +")).codes == (
        "L03",
    )


def test_classes_that_are_no_network_of_one_layer_are_left_alone():
    for text in (
        CLASS.replace("self.losses", "self.W2"),
        CLASS.replace("n_features,", "n_features, settings, where,"),
        CLASS.replace("self.W", "self.M"),
    ):
        assert diagnosed(text).checked == ()


def test_a_method_of_an_object_can_be_given():
    namespace: dict[str, type] = {}
    exec(CLASS, namespace)
    network = namespace["Network"](20)
    assert onelayer.diagnose(network.cost, network.backward).codes == ()
    exec(CLASS.replace("(self.P - Y)", "(Y - self.P)"), namespace)
    assert onelayer.diagnose(gradient=namespace["Network"](20).backward).codes == ("G10",)


@pytest.mark.torch
def test_slips_in_modules_of_pytorch_are_named():
    pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
    over_batch = MODULE.replace("return self.fc(x)", "return self.fc(x).softmax(dim=0)")
    assert diagnosed(over_batch, roles=("forward",)).codes == ("G20",)
    twice = MODULE.replace("return self.fc(x)", "return self.fc(x).softmax(dim=1)")
    assert diagnosed(twice, roles=("gradient",)).codes == ("G38",)
    assert diagnosed(MODULE.replace("lam * self", "lam / 2 * self")).codes == ("G40",)


def test_assert_gradient_fails_with_the_name_of_the_mistake():
    def gradient(X, Y, P, W, lam):
        return (P - Y) @ X.T + 2 * lam * W, (P - Y).mean(axis=1, keepdims=True)

    with pytest.raises(AssertionError, match="G01 gradient: dW: 1/N missing"):
        onelayer.assert_gradient(gradient)


def test_what_cannot_be_asked_is_told():
    with pytest.raises(InputError, match="no function was given"):
        onelayer.diagnose()
    with pytest.raises(InputError, match="unknown role of a function 'accurracy'; did you mean"):
        onelayer.diagnose(accurracy=len)
    with pytest.raises(InputError, match="unknown loss"):
        onelayer.diagnose(gradient=len, loss="l2")
    found = onelayer.diagnose(gradient=lambda W, b: (W, b))
    assert found.codes == ("L01",)
    assert "X and y must be among them" in str(found)


def test_every_code_is_planted_somewhere():
    planted = {wrong.code for wrong in (*GRADIENTS, *OWN, *OTHERS)}
    others = {"F01", "F03", "C04", "L06", "L08", "L09"}  # that come with another
    assert {*CODES} == planted | others


def test_sizes_are_not_products_of_each_other():
    N, D, K = SIZES
    assert len({N, D, K, N * D, N * K, D * K, N - 1, N + 1, N**2}) == 9
