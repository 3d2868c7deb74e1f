"""The scikit-learn face against scikit-learn."""

import math
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.special import expit, softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    parametrize_with_checks,
)

import onelayer
from onelayer import (
    C_from_l2,
    Dataset,
    Hyperparameters,
    InputError,
    OneLayerClassifier,
    OneLayerSearchCV,
    Split,
    l2_from_alpha,
    l2_from_C,
    train,
)
from onelayer.estimator import search as search_module
from onelayer.evaluation.selection import simplicity
from onelayer.training import cross_validation

IRIS = load_iris(return_X_y=True)
CANCER = tuple(array[:200] for array in load_breast_cancer(return_X_y=True))
# Equal to rounding whatever the rows in a batch: all of them are in one.
EXACT = {"dtype": "float64", "batch_size": 1000, "order": "file", "random_state": 3, "epochs": 15}


def names(y):
    return np.array(["setosa", "versicolor", "virginica"], object)[y]


def not_equal_to_1e_7(estimator):
    """In float32 a weight of 2 and the row twice differ in rounding, by some 1e-6."""
    if estimator.get_params().get("dtype") == "float32":
        return {"check_sample_weight_equivalence_on_dense_data": "asks for 1e-7 of float32"}
    return {}


@parametrize_with_checks(
    [
        OneLayerClassifier(),
        OneLayerSearchCV(
            OneLayerClassifier(epochs=20, dtype="float64", random_state=0), {"l2": [0, 0.01]}, cv=2
        ),
    ],
    expected_failed_checks=not_equal_to_1e_7,
)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize("loss", ["cross-entropy", "hinge", "binary-cross-entropy"])
def test_in_float64_a_weight_of_2_is_the_row_twice(loss):
    model = OneLayerClassifier(loss=loss, dtype="float64")
    check_sample_weight_equivalence_on_dense_data("OneLayerClassifier", model)


def test_fit_is_onelayer_train_to_the_last_bit():
    X, y = IRIS
    model = OneLayerClassifier(l2=0.01, epochs=7, batch_size=40, random_state=5).fit(X, y)
    data = Dataset("iris", Split(X, y), None, None, ("0", "1", "2"))
    run = train(
        data,
        [Hyperparameters(l2=0.01, learning_rate=0.01, momentum=0.9)],
        scaling="standardise",
        epochs=7,
        batch_size=40,
        order="shuffled",
        seed=5,
    )
    np.testing.assert_array_equal(model.run_.weights, run.weights)
    np.testing.assert_array_equal(model.history_.train_loss, run.history.train_loss)
    assert model.n_iter_ == 7


@pytest.mark.parametrize(("X", "y"), [IRIS, CANCER], ids=["three classes", "two classes"])
@pytest.mark.parametrize("scaling", ["standardise", "none"])
def test_scores_are_linear_in_the_features_that_come_in(X, y, scaling):
    X = X / X.max(axis=0) + 100 * (scaling == "standardise")  # far from 0
    model = OneLayerClassifier(scaling=scaling, dtype="float64", random_state=0).fit(X, y)
    expected = X @ model.coef_.T + model.intercept_
    if len(model.classes_) == 2:
        assert (model.coef_.shape, model.intercept_.shape) == ((1, X.shape[1]), (1,))
        expected = expected[:, 0]
        np.testing.assert_array_equal(model.predict(X), model.decision_function(X) > 0)
    np.testing.assert_allclose(model.decision_function(X), expected, rtol=0, atol=1e-9)
    assert model.score(X, y) == model.run_.final("train_accuracy")[0]


def converged(l2, **parameters):
    """A model whose cost is within rounding of the smallest one."""
    return OneLayerClassifier(
        l2=l2, learning_rate=0.3, epochs=1500, evaluate_every=0, scaling="none", **EXACT_LONG
    ).set_params(**parameters)


EXACT_LONG = {key: value for key, value in EXACT.items() if key != "epochs"}


@pytest.mark.parametrize("C", [0.1, 1.0])
@pytest.mark.parametrize(("X", "y"), [IRIS, CANCER], ids=["three classes", "two classes"])
def test_logistic_regression_at_convergence_has_the_same_coefficients(X, y, C):
    X = StandardScaler().fit_transform(X[:, :4])
    theirs = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(X, y)
    ours = converged(l2_from_C(C, len(y), len(theirs.classes_))).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-6)
    # Adding a number to all biases changes nothing.
    offset = ours.intercept_ - theirs.intercept_
    np.testing.assert_allclose(offset, offset[0] * (len(offset) > 1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize(("X", "y"), [IRIS, CANCER], ids=["three classes", "two classes"])
def test_every_step_is_that_of_a_multilayer_perceptron_without_layers(X, y):
    X, alpha, size, rate = StandardScaler().fit_transform(X[:, :4]), 5.0, 50, 0.1
    labels, two = np.unique(y), y.max() == 1
    ours = OneLayerClassifier(
        l2=l2_from_alpha(alpha, len(labels), batch_size=size),
        learning_rate=rate / 2 if two else rate,  # w = w₁ − w₀ moves by both
        momentum=0,
        scaling="none",
        **EXACT | {"batch_size": size, "epochs": 7},
    )
    start = clone(ours).set_params(epochs=0).fit(X, y)
    theirs = MLPClassifier(
        (), solver="sgd", alpha=alpha, batch_size=size, learning_rate_init=rate,
        momentum=0, nesterovs_momentum=False, shuffle=False,
    )  # fmt: skip
    theirs.partial_fit(X, y, classes=labels)  # after which it has weights to replace
    theirs.coefs_[0][:], theirs.intercepts_[0][:] = start.coef_.T, start.intercept_
    for _ in range(7):
        theirs.partial_fit(X, y)
    ours.fit(X, y)
    assert abs(ours.coef_ - start.coef_).max() > 0.1
    np.testing.assert_allclose(ours.coef_, theirs.coefs_[0].T, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ours.intercept_, theirs.intercepts_[0], rtol=0, atol=1e-13)


def test_every_step_is_that_of_stochastic_gradient_descent():
    X, y = StandardScaler().fit_transform(CANCER[0][:, :4]), CANCER[1]
    theirs = SGDClassifier(
        loss="log_loss", alpha=0.1, learning_rate="constant", eta0=0.02, max_iter=5, tol=None,
        shuffle=False,
    ).fit(X, y)  # fmt: skip
    ours = OneLayerClassifier(
        l2=l2_from_alpha(0.1, 2), learning_rate=0.01, momentum=0, init="zeros", scaling="none",
        **EXACT | {"batch_size": 1, "epochs": 5},
    ).fit(X, y)  # fmt: skip
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=1e-13)


@given(
    st.floats(1e-6, 1e6),
    st.integers(1, 10**6),
    st.integers(2, 1000),
)
def test_C_and_l2_convert_back_and_forth(C, n_samples, n_classes):
    l2 = l2_from_C(C, n_samples, n_classes)
    assert C_from_l2(l2, n_samples, n_classes) == pytest.approx(C)
    assert C_from_l2(0, n_samples, n_classes) == math.inf


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda: l2_from_C(0, 10, 2), "C is 0; expected a number above 0"),
        (lambda: C_from_l2(-1, 10, 2), "l2 is -1; expected"),
        (lambda: l2_from_alpha(math.nan, 2), "alpha is nan; expected"),
        (lambda: l2_from_C(1, 0, 2), "n_samples is 0; expected 1 or more"),
        (lambda: l2_from_alpha(1, 1), "n_classes is 1; expected 2 or more"),
        (lambda: l2_from_alpha(1, 2, batch_size=0), "batch_size is 0; expected 1 or more"),
    ],
)
def test_what_cannot_be_converted_is_told(convert, message):
    with pytest.raises(InputError, match=message):
        convert()


def test_passes_of_partial_fit_equal_fit():
    X, y = IRIS
    model = OneLayerClassifier(momentum=0, epochs=4, batch_size=30, order="file", random_state=0)
    whole, passes = clone(model).fit(X, y), clone(model)
    for _ in range(4):
        passes.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(passes.coef_, whole.coef_)
    np.testing.assert_array_equal(passes.intercept_, whole.intercept_)
    assert passes.n_iter_ == 1


def test_partial_fit_goes_on_where_fit_ended_in_the_first_scaling_and_another_order():
    X, y = IRIS
    model = OneLayerClassifier(random_state=0, learning_rate=1e-30).fit(X, y)
    coef, scaling, seed = model.coef_, model.run_.scaling, model.run_.training["seed"]
    model.partial_fit(X[:60] + 1, y[:60])  # of two classes, and elsewhere
    np.testing.assert_array_equal(model.coef_, coef)
    assert model.run_.scaling is scaling
    assert model.run_.training["seed"] == seed + 1


def test_chunks_can_lack_classes_and_teach_them_later():
    X, y = IRIS
    model = OneLayerClassifier(random_state=0, batch_size=10, learning_rate=0.1, momentum=0)
    model.partial_fit(X[:100], names(y[:100]), classes=["setosa", "versicolor", "virginica"])
    assert not (model.predict(X[100:]) == "virginica").any()
    for _ in range(20):
        model.partial_fit(X, names(y))
    assert model.score(X, names(y)) > 0.9


def test_probabilities_are_those_of_the_loss():
    X, y = IRIS
    model = OneLayerClassifier(dtype="float64", random_state=0).fit(X, y)
    S = model.decision_function(X)
    np.testing.assert_allclose(model.predict_proba(X), softmax(S, axis=1), rtol=1e-12)
    model.set_params(loss="binary-cross-entropy").fit(X, y)
    P = expit(model.decision_function(X))
    expected = P / P.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), expected.argmax(axis=1))


def test_the_hinge_loss_has_scores_but_no_probabilities():
    X, y = IRIS
    model = OneLayerClassifier(loss="hinge", random_state=0).fit(X, y)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "predict_log_proba")
    assert model.decision_function(X).shape == (150, 3)
    calibrated = CalibratedClassifierCV(model, cv=3).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert calibrated.score(X, y) > 0.85


@pytest.mark.parametrize("loss", ["cross-entropy", "binary-cross-entropy"])
@pytest.mark.filterwarnings("error")
def test_log_probabilities_are_finite_where_probabilities_underflow(loss):
    X, y = np.array([[-1.0], [1.0]]), [0, 1]
    model = OneLayerClassifier(loss=loss, random_state=0).fit(X, y)
    far = np.array([[-1e30], [1e30]])
    assert np.isfinite(model.predict_log_proba(far)).all()
    np.testing.assert_array_equal(model.predict_proba(far), np.eye(2))


@pytest.mark.parametrize("class_weight", ["balanced", {"setosa": 3, "virginica": 0.5}])
def test_class_weights_are_sample_weights_by_label(class_weight):
    X, y = IRIS[0][20:], names(IRIS[1][20:])
    model = OneLayerClassifier(epochs=5, random_state=0)
    weights = compute_sample_weight(class_weight, y)
    expected = clone(model).fit(X, y, sample_weight=weights)
    found = model.set_params(class_weight=class_weight).fit(X, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-6)


def test_8_bit_features_are_divided_by_255_by_unit():
    X = np.random.default_rng(0).integers(0, 256, (30, 4), dtype=np.uint8)
    model = OneLayerClassifier(scaling="unit", random_state=0).fit(X, X[:, 0] > 127)
    np.testing.assert_allclose(model.run_.scaling.factor, 1 / 255)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e290])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes_are_told_apart_far_from_0_in_any_unit(dtype, size):
    numbers = 1.6e9 + np.random.default_rng(0).random(300) * 100
    X, y = size * numbers[:, None], numbers > 1.6e9 + 50
    model = OneLayerClassifier(
        learning_rate=0.1, dtype=dtype, random_state=0, epochs=30, evaluate_every=0
    )
    theirs = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers[:, None], y)
    assert model.fit(X, y).score(X, y) > theirs.score(numbers[:, None], y) - 0.03


def test_a_feature_that_was_constant_says_nothing_later():
    X = np.c_[IRIS[0], np.full(150, 1e9 + 0.1)]
    model = OneLayerClassifier(random_state=0, epochs=3).fit(X, IRIS[1])
    before = model.decision_function(X)
    X[:, -1] = np.arange(150)
    np.testing.assert_array_equal(model.decision_function(X), before)
    np.testing.assert_array_equal(model.coef_[:, -1], 0)


def test_a_feature_that_was_constant_in_the_first_part_is_learned_from_the_next():
    X, y = np.c_[np.zeros(300), np.arange(300) % 2], np.arange(300) % 2
    X[100:, 0] = 2 * y[100:] - 1
    model = OneLayerClassifier(learning_rate=0.1, batch_size=10, random_state=0)
    model.partial_fit(X[:1], y[:1], classes=[0, 1])
    model.partial_fit(X[100:], y[100:])
    assert np.abs(model.coef_).min() > 0.5


def test_curves_of_a_given_validation_split_end_at_its_score():
    X, y = IRIS[0], names(IRIS[1])
    model = OneLayerClassifier(epochs=3, random_state=0, validation_fraction=0.5)
    model.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    assert model.history_.validation_accuracy[0, -1] == model.score(X[1::2], y[1::2])
    assert model.run_.training["train_samples"] == 75


def test_a_fraction_is_held_out_with_its_weights_and_ends_training():
    X, y = IRIS
    # A weight that is not 0 marks the odd rows; only these may teach.
    weights = np.arange(150) % 2.0
    model = OneLayerClassifier(validation_fraction=0.2, patience=3, random_state=0, epochs=500)
    model.fit(X, y, sample_weight=weights)
    assert model.run_.training["validation_samples"] == 30
    assert "no better validation accuracy in 3" in model.run_.ended[0]
    assert model.n_iter_ < 500
    spoilt = np.where(weights[:, None] > 0, X, 1e3)
    again = clone(model).fit(spoilt, y, sample_weight=weights)
    np.testing.assert_array_equal(again.run_.scaling.shift, model.run_.scaling.shift)


def test_a_model_that_diverges_is_told_of_and_a_fitted_one_stays_as_it_was():
    X, y = IRIS
    model = OneLayerClassifier(random_state=0).fit(X, y)
    coef = model.coef_
    model.set_params(l2=1, learning_rate=1e20)
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(
            InputError, match=r"learning_rate 1e\+20: training stopped at .*epoch 1"
        ):
            fit(X, y)
    np.testing.assert_array_equal(model.coef_, coef)


def test_a_random_state_that_is_no_int_is_drawn_from():
    X, y = IRIS
    fits = [
        OneLayerClassifier(epochs=2, random_state=np.random.RandomState(seed)).fit(X, y)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(fits[0].coef_, fits[1].coef_)
    assert (fits[0].coef_ != fits[2].coef_).all()


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({}, {"y": np.zeros(150)}, "only 1 class, 0.0; expected at least 2"),
        ({}, {"sample_weight": np.ones(3)}, "sample weights of float64 and the shape"),
        ({}, {"X_val": IRIS[0], "y_val": np.full(150, 7)}, "label 7 is not one of the classes"),
        ({"loss": "hinges"}, {}, "unknown loss 'hinges'; did you mean 'hinge'"),
        ({"patience": 3}, {}, "patience needs validation data"),
        ({"scaling": "log"}, {}, "unknown scaling 'log'"),
        ({"batch_size": 0}, {}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_fitted_is_told_in_a_line(parameters, arguments, message):
    X, y = IRIS
    with pytest.raises(InputError, match=message):
        OneLayerClassifier(**parameters).fit(**{"X": X, "y": y} | arguments)


def test_partial_fit_refuses_what_it_cannot_know():
    X, y = IRIS
    with pytest.raises(InputError, match="give a mapping"):
        OneLayerClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes must be passed"):
        OneLayerClassifier().partial_fit(X, y)


def test_sparse_features_are_refused_by_scikit_learn():
    with pytest.raises(TypeError, match="Sparse data was passed"):
        OneLayerClassifier().fit(sparse.csr_matrix(IRIS[0]), IRIS[1])


def test_a_start_of_other_shapes_is_refused():
    X, y = IRIS
    model = OneLayerClassifier(random_state=0, epochs=1).fit(X, y)
    data = Dataset("iris", Split(X, y), None, None, ("0", "1", "2"))
    with pytest.raises(InputError, match=r"start holds .* \(1, 3, 4\), expected \(2, 3, 4\)"):
        train(data, [Hyperparameters()] * 2, start=model.run_)


def test_pipelines_frames_and_pickles_work():
    frame = pandas.DataFrame(IRIS[0], columns=["a", "b", "c", "d"])
    y = pandas.Series(names(IRIS[1]), name="species")
    pipeline = make_pipeline(StandardScaler(), OneLayerClassifier(random_state=0))
    assert cross_val_score(pipeline, frame, y, cv=3).mean() > 0.85
    model = OneLayerClassifier(random_state=0).fit(frame, y)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"]
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(frame), model.predict(frame))
    found = GridSearchCV(pipeline, {"onelayerclassifier__l2": [0, 10.0]}, cv=3).fit(frame, y)
    assert found.best_params_ == {"onelayerclassifier__l2": 0}


@config_context(enable_metadata_routing=True)
def test_requested_sample_weights_reach_every_fit():
    X, y = IRIS
    weights = np.random.default_rng(0).random(150)
    model = OneLayerClassifier(epochs=5, random_state=0).set_fit_request(sample_weight=True)
    model.set_score_request(sample_weight=False)
    found = cross_validate(
        model,
        X,
        y,
        params={"sample_weight": weights},
        cv=(folds := KFold(3, shuffle=True, random_state=0)),
        return_estimator=True,
    )
    for (rows, _), fitted in zip(folds.split(X), found["estimator"], strict=True):
        expected = clone(model).fit(X[rows], y[rows], sample_weight=weights[rows])
        np.testing.assert_array_equal(fitted.coef_, expected.coef_)


def routed_pipeline(last):
    """A Pipeline of which the last step alone takes sample weights."""
    return make_pipeline(StandardScaler().set_fit_request(sample_weight=False), last)


@config_context(enable_metadata_routing=True)
def test_sample_weights_reach_fit_and_score_through_a_pipeline():
    X, y = CANCER
    weights = np.random.default_rng(0).random(len(y))
    model = OneLayerClassifier(epochs=5, random_state=0)
    asking = clone(model).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    folds = StratifiedKFold(3)
    found = cross_validate(
        routed_pipeline(asking), X, y, params={"sample_weight": weights}, cv=folds
    )
    for (rows, held_out), score in zip(folds.split(X, y), found["test_score"], strict=True):
        scaler = StandardScaler().fit(X[rows])
        alone = clone(model).fit(scaler.transform(X[rows]), y[rows], sample_weight=weights[rows])
        predicted = alone.predict(scaler.transform(X[held_out]))
        assert score == accuracy_score(y[held_out], predicted, sample_weight=weights[held_out])


@config_context(enable_metadata_routing=True)
def test_a_pipeline_transforms_the_validation_samples_if_told():
    X, y = CANCER
    model = OneLayerClassifier(epochs=5, random_state=0, scaling="none")
    model.set_fit_request(X_val=True, y_val=True)
    pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
    pipeline.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    expected = accuracy_score(y[1::2], pipeline.predict(X[1::2]))
    assert pipeline[-1].history_.validation_accuracy[0, -1] == expected


@config_context(enable_metadata_routing=True)
@pytest.mark.parametrize(("in_fit", "in_score"), [(True, True), (True, False), (False, True)])
def test_a_search_routes_sample_weights_as_grid_search_does(in_fit, in_score):
    X, y = IRIS
    weights = np.random.default_rng(0).random(len(y)) ** 4
    model = OneLayerClassifier(**EXACT)
    model.set_fit_request(sample_weight=in_fit).set_score_request(sample_weight=in_score)
    scores, coefs = [], []
    for kind in (OneLayerSearchCV, GridSearchCV):
        pipeline = routed_pipeline(kind(model, {"l2": [0, 0.1]}, cv=3))
        search = pipeline.fit(X, y, sample_weight=weights)[-1]
        scores.append([search.cv_results_[f"split{r}_test_score"] for r in range(3)])
        coefs.append(search.best_estimator_.coef_)
    np.testing.assert_allclose(*scores, rtol=1e-12)
    np.testing.assert_array_equal(*coefs)


@config_context(enable_metadata_routing=True)
def test_a_search_gives_groups_to_the_splitter_and_refuses_weights_nobody_asked_for():
    X, y = IRIS
    groups = np.random.default_rng(0).integers(0, 12, 150)
    model = OneLayerClassifier(**EXACT)
    ours, theirs = both_searches(model, {"l2": [0]}, X, y, {"groups": groups}, cv=GroupKFold(3))
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-12)
    assert not hasattr(ours, "set_fit_request")
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        ours.fit(X, y, sample_weight=np.ones(150), groups=groups)


GRID = {"l2": [0.0, 0.1], "learning_rate": [0.01, 0.3], "scaling": ["standardise", "none"]}


def both_searches(model, grid, X, y, fit=None, **parameters):
    ours = OneLayerSearchCV(model, grid, **parameters).fit(X, y, **fit or {})
    theirs = GridSearchCV(model, grid, **parameters).fit(X, y, **fit or {})
    return ours, theirs


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
@pytest.mark.parametrize(
    "cv",
    [
        3,
        StratifiedKFold(4, shuffle=True, random_state=0),
        GroupKFold(3),
        PredefinedSplit(np.arange(150) % 4 - 1),  # a quarter is in no test fold
        ShuffleSplit(3, train_size=0.5, test_size=0.2, random_state=0),  # others in neither
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_a_search_equals_training_every_setting_on_every_fold(cv, scoring):
    X, y = IRIS
    groups = np.random.default_rng(0).integers(0, 12, 150) if isinstance(cv, GroupKFold) else None
    ours, theirs = both_searches(
        OneLayerClassifier(**EXACT), GRID, X, y, {"groups": groups}, cv=cv, scoring=scoring
    )
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    for key, values in theirs.cv_results_.items():
        if key.endswith("score") and "score_time" not in key:
            np.testing.assert_allclose(ours.cv_results_[key], values, rtol=1e-9, err_msg=key)
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_score_ == pytest.approx(theirs.best_score_)
    assert ours.best_params_ == theirs.best_params_
    assert ours.n_splits_ == theirs.n_splits_
    np.testing.assert_array_equal(ours.best_estimator_.coef_, theirs.best_estimator_.coef_)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


def test_a_search_along_time_equals_training_on_each_past():
    rows = np.random.default_rng(0).permutation(150)
    X, y = IRIS[0][rows], IRIS[1][rows]
    ours, theirs = both_searches(
        OneLayerClassifier(**EXACT), {"l2": [0, 0.1]}, X, names(y), cv=TimeSeriesSplit(3)
    )
    for split in range(3):
        key = f"split{split}_test_score"
        np.testing.assert_allclose(ours.cv_results_[key], theirs.cv_results_[key])


def test_weights_of_classes_and_samples_count_in_each_fold():
    X, y = IRIS[0][20:], IRIS[1][20:]
    weights = np.random.default_rng(0).integers(0, 3, len(y))
    model = OneLayerClassifier(class_weight="balanced", **EXACT)
    folds = StratifiedKFold(3)
    found = OneLayerSearchCV(model, {"l2": [0, 0.1]}, cv=folds)
    found.fit(X, y, sample_weight=weights)
    for split, (train_rows, test_rows) in enumerate(folds.split(X, y)):
        for place, l2 in enumerate([0, 0.1]):
            alone = clone(model).set_params(l2=l2)
            alone.fit(X[train_rows], y[train_rows], sample_weight=weights[train_rows])
            expected = alone.score(X[test_rows], y[test_rows], sample_weight=weights[test_rows])
            score = found.cv_results_[f"split{split}_test_score"][place]
            assert score == pytest.approx(expected)


def test_a_search_takes_one_pass_for_each_combination_of_what_models_share(monkeypatch):
    passes = []

    def counted(data, settings, *arguments, **protocol):
        passes.append((len(settings), protocol["batch_size"]))
        return cross_validation.cross_validate(data, settings, *arguments, **protocol)

    monkeypatch.setattr(search_module, "cross_validate", counted)
    grid = {"l2": [0, 0.1, 1], "loss": ["cross-entropy", "hinge"], "batch_size": [10, 50]}
    OneLayerSearchCV(OneLayerClassifier(epochs=1, random_state=0), grid, cv=2).fit(*IRIS)
    assert sorted(passes) == [(6, 10), (6, 50)]


def test_1se_chooses_the_simplest_within_one_standard_error_of_the_best():
    X, y = IRIS
    grid = {"l2": [0, 0.001, 0.01, 0.03, 0.1, 1]}
    found = OneLayerSearchCV(OneLayerClassifier(**EXACT), grid, cv=5, select="1se").fit(X, y)
    scores = np.array([found.cv_results_[f"split{r}_test_score"] for r in range(5)])
    means = scores.mean(axis=0)
    best = means.argmax()
    error = scores[:, best].std(ddof=1) / math.sqrt(5)
    near = [m for m in range(6) if means[m] >= means[best] - error]
    assert found.best_index_ == min(near, key=lambda m: simplicity(Hyperparameters(grid["l2"][m])))
    assert found.best_index_ != best
    assert found.best_score_ == means[found.best_index_]


def test_without_refit_there_is_no_model_but_a_choice():
    found = OneLayerSearchCV(OneLayerClassifier(epochs=2), {"l2": [0, 1]}, refit=False).fit(*IRIS)
    assert set(found.best_params_) == {"l2"}
    assert not hasattr(found, "predict")


def test_a_stopped_setting_ranks_last():
    grid = {"learning_rate": [1e20, 0.01]}
    search = OneLayerSearchCV(OneLayerClassifier(l2=1, random_state=0), grid)
    with pytest.warns(UserWarning, match="test scores are non-finite"):
        search.fit(*IRIS)
    assert np.isnan(search.cv_results_["mean_test_score"][0])
    assert search.best_params_ == {"learning_rate": 0.01}
    with pytest.raises(InputError, match="every setting diverged"):
        search.set_params(param_grid={"learning_rate": [1e20]}).fit(*IRIS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimator": LogisticRegression()}, "expected a OneLayerClassifier"),
        ({"scoring": "f1_macro"}, "expected accuracy or neg_log_loss"),
        ({"refit": "accuracy"}, "refit is 'accuracy'; expected True or False"),
        ({"folder": 5}, "folder is 5; expected a text or a path or None"),
        ({"checkpoint": "often"}, "checkpoint is 'often'; expected a number of epochs"),
        ({"select": "2se"}, "unknown selection rule '2se'"),
        ({"select": "1se", "scoring": "neg_log_loss"}, "1se.*goes by accuracies"),
        ({"param_grid": {"validation_fraction": [0.1]}}, "the folds judge the models"),
        ({"param_grid": {"patience": [1]}}, "would choose the best epoch on the rows that judge"),
        (
            {"param_grid": {"loss": ["hinge"]}, "scoring": "neg_log_loss"},
            'with the loss "hinge"; expected "cross-entropy"',
        ),
        ({"cv": [(np.arange(100), np.arange(50, 150))]}, "holds rows out that its models are"),
    ],
)
def test_what_cannot_be_searched_is_told_in_a_line(parameters, message):
    given = {"estimator": OneLayerClassifier(), "param_grid": {"l2": [0]}} | parameters
    with pytest.raises(InputError, match=message):
        OneLayerSearchCV(**given).fit(*IRIS)


@pytest.mark.parametrize("command", ["--help", "train --help", "data info --help"])
def test_starting_up_imports_neither_scipy_nor_scikit_learn(command):
    script = f"import sys, onelayer.cli as c; c.run({command.split()!r}); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    loaded = ended.stdout.splitlines()[-1].split()
    assert "onelayer.cli" in loaded
    assert not {"scipy", "sklearn"} & set(loaded)


def test_the_public_names_are_there():
    for name in ("OneLayerClassifier", "OneLayerSearchCV", "l2_from_C", "l2_from_alpha"):
        assert name in onelayer.__all__


@pytest.mark.parametrize(("name", "told"), [("Unnamed: 0", True), ("id", True), ("w", False)])
def test_columns_that_number_the_rows_are_used_with_a_warning(name, told):
    X, y = load_iris(return_X_y=True)
    numbers = np.arange(150) * 3 % 151
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(**{name: numbers})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = OneLayerClassifier(epochs=1, threads=1).fit(frame, y)
    assert [name in str(one.message) for one in caught] == [True] * told
    assert fitted.coef_.shape == (3, 5)


@pytest.mark.parametrize(
    ("l2", "edges"),
    [([1e-3, 1e3], ["λ=0.001 is the smallest of 2 that were tried"]), ([0, 1e3], [])],
    ids=["edge", "zero"],
)
def test_a_search_tells_where_its_choice_lies_on_an_edge(l2, edges):
    model = OneLayerClassifier(random_state=0, epochs=5)
    search = OneLayerSearchCV(model, {"l2": l2}, cv=2).fit(*IRIS)
    assert search.best_params_ == {"l2": l2[0]}
    assert [edge.split(":")[0] for edge in search.edges_] == edges
