"""Names of quantities in somebody else's code, and settings for it under any of them."""

import re
from typing import Any

NAMES: dict[str, str] = {
    "X": "x|xs|data|inputs?|images|x_?batch|x_?train|trainx|x_?tr|features|x_?mb",
    "y": "y|ys|labels?|targets?|y_?true|y_?batch|y_?train|trainy|y_?tr|one_?hot|t|y_?mb",
    "P": "p|ps|probs?|probabilities|p_?batch|y_?hat|y_?pred|p_?mb|out(puts?)?",
    "W": "w|ws|weights?|theta|w1",
    "b": "b|bs|bias(es)?|b1",
    "network": "net(work)?(_?params?)?|params?|parameters|model|layers|init_?net|theta_?b|nn",
    "l2": "lambda_*|lamb?d?a?_*|lmb?d?a?|l|reg(ulari[sz]ation)?(_?strength)?|l2(_?reg)?|reg_?lambda"
    "|alpha|weight_?decay|lambd|lamda",
    "h": "h|eps(ilon)?|step|delta|dx",
    "descent": "gd_?params?|hyper_?params?|hyperparameters|config|opts?|options",
    "rate": "eta|lr|learning_?rate|step_?size",
    "batch": "n_?batch|batch_?size|batch|bs|n_?b",
    "epochs": "n_?epochs?|epochs?|num_?epochs|iterations|n_?iter",
    "S": "s|scores?|logits|z|a|f",
    "m": "m|mean|mu",
}


def quantity_of(name: str) -> str:
    """Return the quantity of a parameter with this name, "" if unknown."""
    plain = name.strip("_").lower()
    for quantity, pattern in NAMES.items():
        if re.fullmatch(pattern, plain):
            return quantity
    return ""


class Spelled(dict[str, Any]):
    """Settings that are found by any spelling of their names, as attributes, or in their order."""

    def __init__(self, patterns: dict[str, str], values: dict[str, Any]) -> None:
        super().__init__(values)
        self.patterns = patterns

    def __missing__(self, key: Any) -> Any:
        if isinstance(key, int):
            return [*self.values()][key]
        for name, pattern in self.patterns.items():
            if re.fullmatch(pattern, str(key).strip("_").lower()):
                return self[name]
        raise KeyError(key)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Any:
        return iter([*self.values()])

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of any spelling of the key."""
        try:
            return self[key]
        except (KeyError, IndexError):
            return default
