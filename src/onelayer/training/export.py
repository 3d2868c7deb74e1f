"""A model as a file for other programs: ONNX, with the scaling inside."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onelayer.errors import InputError
from onelayer.model.links import SIGMOIDS, SOFTMAX, Link
from onelayer.storage import atomic_file, check_output_file
from onelayer.training.classifier import Classifier

_OPSET, _IR_VERSION = 17, 8  # of 2022: old enough for all programs that run ONNX today
# The operators of each link: (operator, inputs, output), from "scores" to "probabilities". The
# sigmoids over their sum are the softmax of log σ(s) = log σ(|s|) − max(0, −s), which is finite.
_LINKS: dict[Link, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    SOFTMAX: (("Softmax", ("scores",), "probabilities"),),
    SIGMOIDS: (
        ("Neg", ("scores",), "negated"),
        ("Relu", ("negated",), "below"),
        ("Abs", ("scores",), "size"),
        ("Sigmoid", ("size",), "sigmoid"),
        ("Log", ("sigmoid",), "rest"),
        ("Sub", ("rest", "below"), "logarithms"),
        ("Softmax", ("logarithms",), "probabilities"),
    ),
}


def export_model(model: Classifier, path: Path, *, force: bool = False) -> None:
    """Write a model as .safetensors, which load_model reads, or as .onnx.

    Raises
    ------
    InputError
        If the name ends in neither suffix, or the file exists and `force` is not given.
    """
    check_output_file(path, (".safetensors", ".onnx"), force=force)
    if path.suffix.lower() == ".safetensors":
        model.save(path)
        return
    content = to_onnx(model).SerializeToString(deterministic=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def to_onnx(model: Classifier) -> Any:
    """Return an onnx.ModelProto: stored features (N, D) in, scores and probabilities (N, K) out.

    Features are of Classifier.input_type and are scaled in it, all other numbers are of the type of
    the weights. A loss without probabilities gives scores alone. The metadata hold class_names and
    image_shape as JSON, and for a table feature_names and label_name.

    Raises
    ------
    InputError
        If onnx is not installed, or the link of the model's loss has no operators here.
    """
    try:
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise InputError("writing ONNX needs onnx: pip install 'onelayer[onnx]'") from error
    if model.link is not None and model.link not in _LINKS:
        raise InputError(
            f"{model.link.name}: no ONNX operators are known for this link; write .safetensors"
        )
    of_input, of_weights = (
        helper.np_dtype_to_tensor_dtype(dtype) for dtype in (model.input_type, model.weights.dtype)
    )
    K, D = model.weights.shape
    constants = {
        "shift": model.scaling.shift.astype(model.input_type),
        "factor": model.scaling.factor.astype(model.input_type),
        "weights": model.weights,
        "biases": model.biases,
    }
    nodes = [
        helper.make_node("Sub", ["features", "shift"], ["centred"]),
        helper.make_node("Mul", ["centred", "factor"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["rounded"], to=of_weights),
        helper.make_node("Gemm", ["rounded", "weights", "biases"], ["scores"], transB=1),
    ]
    outputs = ["scores"]
    if model.link is not None:
        nodes += [helper.make_node(kind, ins, [out]) for kind, ins, out in _LINKS[model.link]]
        outputs.append("probabilities")
    graph = helper.make_graph(
        nodes,
        "onelayer",
        [helper.make_tensor_value_info("features", of_input, ["N", D])],
        [helper.make_tensor_value_info(name, of_weights, ["N", K]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="onelayer",
        producer_version=version("onelayer"),
    )
    meaning: dict[str, Any] = {"class_names": model.class_names, "image_shape": model.image_shape}
    if model.columns is not None:
        meaning |= {"feature_names": model.columns.features, "label_name": model.columns.label}
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in meaning.items()}
    helper.set_model_props(proto, texts)
    return proto
