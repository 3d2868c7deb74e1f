"""Submissions of students, made from right ones by one planted slip each."""

from dataclasses import dataclass

COURSE = """
import numpy as np

def softmax(s):
    e = np.exp(s - s.max(axis=0))
    return e / e.sum(axis=0)

def EvaluateClassifier(X, W, b):
    return softmax(W @ X + b)

def ComputeCost(X, Y, W, b, lam):
    P = EvaluateClassifier(X, W, b)
    loss = -np.log((Y * P).sum(axis=0)).mean()
    return loss + lam * (W ** 2).sum()

def ComputeAccuracy(X, y, W, b):
    k = EvaluateClassifier(X, W, b).argmax(axis=0)
    return np.mean(k == y)

def ComputeGradients(X, Y, P, W, lam):
    N = X.shape[1]
    G = P - Y
    dW = G @ X.T / N + 2 * lam * W
    db = G.sum(axis=1, keepdims=True) / N
    return dW, db

def ComputeGradsNum(X, Y, W, b, lam, h=1e-6):
    dW, db = np.zeros(W.shape), np.zeros(b.shape)
    c = ComputeCost(X, Y, W, b, lam)
    for i in range(len(b)):
        b_try = b.copy()
        b_try[i] += h
        db[i] = (ComputeCost(X, Y, W, b_try, lam) - c) / h
    W_try = W.copy()
    for i in np.ndindex(W.shape):
        W_try[i] += h
        dW[i] = (ComputeCost(X, Y, W_try, b, lam) - c) / h
        W_try[i] -= h
    return dW, db

def ComputeGradsNumSlow(X, Y, W, b, lam, h=1e-5):
    dW, db = np.zeros(W.shape), np.zeros(b.shape)
    for theta, grad in ((W.copy(), dW), (b.copy(), db)):
        for i in np.ndindex(theta.shape):
            old, costs = theta[i], []
            for step in (-h, h):
                theta[i] = old + step
                costs.append(ComputeCost(X, Y, *((theta, b) if grad is dW else (W, theta)), lam))
            theta[i] = old
            grad[i] = (costs[1] - costs[0]) / (2 * h)
    return dW, db

def MiniBatchGD(X, Y, GDparams, W, b, lam):
    n_batch, eta, n_epochs = GDparams["n_batch"], GDparams["eta"], GDparams["n_epochs"]
    W, b = W.copy(), b.copy()
    for epoch in range(n_epochs):
        for j in range(X.shape[1] // n_batch):
            start, end = j * n_batch, (j + 1) * n_batch
            Xb, Yb = X[:, start:end], Y[:, start:end]
            P = EvaluateClassifier(Xb, W, b)
            dW, db = ComputeGradients(Xb, Yb, P, W, lam)
            W -= eta * dW
            b -= eta * db
    return W, b

def normalise(trainX, valX, testX):
    mean = trainX.mean(axis=1, keepdims=True)
    std = trainX.std(axis=1, keepdims=True)
    return (trainX - mean) / std, (valX - mean) / std, (testX - mean) / std

def montage(W):
    pictures = []
    for row in W:
        row = (row - row.min()) / (row.max() - row.min())
        pictures.append(row.reshape(3, 32, 32).transpose(1, 2, 0))
    return pictures
"""

# A gradient alone: its scores are its own, so slips of the softmax can be planted, too.
ALONE = """
import numpy as np

def ComputeGradients(X, Y, W, b, lam):
    N = X.shape[1]
    S = W @ X + b
    E = np.exp(S - S.max(axis=0))
    P = E / E.sum(axis=0)
    G = P - Y
    dW = G @ X.T / N + 2 * lam * W
    db = G.sum(axis=1, keepdims=True) / N
    return dW, db
"""

# The hinge loss with the names, shapes and returns of another course.
HINGE = """
import numpy as np

def svm_loss(W, X, y, reg):
    N = len(X)
    S = X @ W
    M = S - S[np.arange(N), y][:, None] + 1
    M[np.arange(N), y] = 0
    loss = np.maximum(M, 0).sum() / N + reg * np.sum(W * W)
    G = (M > 0).astype(float)
    G[np.arange(N), y] = -G.sum(axis=1)
    dW = X.T @ G / N + 2 * reg * W
    return loss, dW
"""

# The losses of CS231n: a column of ones in X, so W alone; loops, and the same in arrays.
CS231N = """
import numpy as np

def softmax_loss_naive(W, X, y, reg):
    loss, dW, N = 0.0, np.zeros_like(W), X.shape[0]
    for i in range(N):
        scores = X[i].dot(W)
        scores -= np.max(scores)
        p = np.exp(scores) / np.sum(np.exp(scores))
        loss += -np.log(p[y[i]])
        for j in range(W.shape[1]):
            dW[:, j] += (p[j] - (j == y[i])) * X[i]
    return loss / N + reg * np.sum(W * W), dW / N + 2 * reg * W

def softmax_loss_vectorized(W, X, y, reg):
    N = X.shape[0]
    scores = X.dot(W)
    scores -= np.max(scores, axis=1, keepdims=True)
    probs = np.exp(scores)
    probs /= np.sum(probs, axis=1, keepdims=True)
    loss = -np.sum(np.log(probs[range(N), y])) / N + reg * np.sum(W * W)
    probs[range(N), y] -= 1
    dW = X.T.dot(probs)
    dW /= N
    dW += 2 * reg * W
    return loss, dW

def svm_loss_naive(W, X, y, reg):
    loss, dW, N = 0.0, np.zeros(W.shape), X.shape[0]
    for i in range(N):
        scores = X[i].dot(W)
        for j in range(W.shape[1]):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + 1
            if margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    return loss / N + reg * np.sum(W * W), dW / N + 2 * reg * W

def svm_loss_vectorized(W, X, y, reg):
    N = X.shape[0]
    scores = X.dot(W)
    margins = np.maximum(0, scores - scores[range(N), y].reshape(-1, 1) + 1)
    margins[range(N), y] = 0
    mask = np.zeros_like(margins)
    mask[margins > 0] = 1
    mask[range(N), y] = -np.sum(mask, axis=1)
    return np.sum(margins) / N + reg * np.sum(W * W), X.T.dot(mask) / N + 2 * reg * W
"""


@dataclass(frozen=True)
class Wrong:
    """A slip planted in a right submission: its name, the code of its diagnosis, and the lines."""

    name: str
    code: str
    right: str
    wrong: str
    source: str = ALONE

    @property
    def text(self) -> str:
        assert self.right in self.source, self.name
        return self.source.replace(self.right, self.wrong)


N, P, G, PENALTY, X = (
    "N = X.shape[1]",
    "P = E / E.sum(axis=0)",
    "G = P - Y",
    "2 * lam * W",
    "G @ X.T",
)
DW, DB = f"dW = {X} / N + {PENALTY}", "db = G.sum(axis=1, keepdims=True) / N"
SOFTMAX_NAIVE = CS231N[: CS231N.index("def softmax_loss_vectorized")]
REG = "dW += 2 * reg * W"
START, END = "def ComputeGradients", "    return dW, db"
MARGINS = "M = S - (S * Y).sum(axis=0) + 1; V = (M > 0) * (1 - Y)"

# The gradients that people write wrong: a slip each.
GRADIENTS = [
    Wrong("1/N missing", "G01", N, "N = 1"),
    Wrong("1/N missing in dW", "G01", "X.T / N", "X.T"),
    Wrong("1/N missing in db", "G01", DB, DB.replace(" / N", "")),
    Wrong("1/N twice", "G02", N, f"{N} ** 2"),
    Wrong("1/N on l2, too", "G46", DW, f"dW = ({X} + {PENALTY}) / N"),
    Wrong("1/(NK)", "G03", N, "N = Y.size"),
    Wrong("sign", "G70", END, "    return -dW, -db"),
    Wrong("Y - P", "G10", G, "G = Y - P"),
    Wrong("l2 without its 2", "G40", PENALTY, "lam * W"),
    Wrong("l2 times 4", "G41", PENALTY, "4 * lam * W"),
    Wrong("l2 missing", "G42", f" + {PENALTY}", ""),
    Wrong("l2 of the wrong sign", "G43", f"+ {PENALTY}", f"- {PENALTY}"),
    Wrong("l2 by the norm", "G44", PENALTY, "lam * W / np.linalg.norm(W)"),
    Wrong("l2 by sizes", "G45", PENALTY, "lam * np.sign(W)"),
    Wrong("l2 on the bias", "G52", DB, f"{DB} + 2 * lam * b"),
    Wrong("bias zero", "G60", DB, "db = np.zeros_like(b)"),
    Wrong("bias a mean of means", "G02", DB, "db = G.mean(axis=1, keepdims=True) / N"),
    Wrong("bias of one row", "G06", DB, "db = G[:, :1]"),
    Wrong("bias reciprocal", "G61", DB, "db = N / G.sum(axis=1, keepdims=True)"),
    Wrong("W for X", "G07", X, "G.sum(axis=1, keepdims=True) * W"),
    Wrong("one-hot forgotten", "G13", G, "G = P - Y.argmax(axis=0)"),
    Wrong("one-hot shifted", "G14", G, "G = P - np.roll(Y, 1, axis=0)"),
    Wrong("one-hot permuted", "G15", G, "G = P - Y[:, ::-1]"),
    Wrong("last row dropped, over N", "G05", G, f"{G}; G[:, -1] = 0"),
    Wrong("last row dropped, over N - 1", "G05", G, f"{G}; G[:, -1] = 0; N = N - 1"),
    Wrong("features scaled in dW alone", "G36", X, "G @ X.T / 255"),
    Wrong("centred in dW alone", "G36", X, "G @ (X - X.mean(axis=1, keepdims=True)).T"),
    Wrong("centred in the scores alone", "G36", "W @ X", "W @ (X - X.mean(axis=1, keepdims=True))"),
    Wrong("sigmoid derivative kept", "G16", G, "G = (P - Y) * P * (1 - P)"),
    Wrong("squared error", "G17", G, "G = P * (P - Y - (P * (P - Y)).sum(axis=0))"),
    Wrong("diagonal Jacobian", "G18", G, "G = -Y / P * P * (1 - P)"),
    Wrong("sigmoid for softmax", "G19", P, "P = 1 / (1 + np.exp(-S))"),
    Wrong(
        "softmax over the batch", "G20", P, "P = (E := np.exp(S)) / E.sum(axis=1, keepdims=True)"
    ),
    Wrong("softmax over all", "G21", P, "P = (E := np.exp(S)) / E.sum()"),
    Wrong("p + 1e-6", "G22", G, "G = P + 1e-6 - Y"),
    Wrong("clipping", "G23", G, "G = np.clip(P, 1e-6, 1 - 1e-6) - Y"),
    Wrong("hinge for cross-entropy", "G27", G, f"{MARGINS}; G = V - Y * V.sum(axis=0)"),
    Wrong("transposed", "L01", END, "    return dW.T, db"),
    Wrong("reshaped", "G71", END, "    return dW.T.reshape(W.shape), db"),
    Wrong("float32", "L11", N, f"{N}; X, W = X.astype('f4'), W.astype('f4')"),
    Wrong("fresh dropout mask", "L04", G, "G = (P - Y) * (np.random.rand(*P.shape) < 0.5)"),
    Wrong(
        "accumulates",
        "L03",
        END,
        "    total[:] = [total[0] + dW, total[1] + db]\n    return total\n\ntotal = [0, 0]",
    ),
    Wrong("softmax without the shift", "L10", "S - S.max(axis=0)", "S"),
    Wrong("bias left out of the scores", "G33", "W @ X + b", "W @ X"),
]
OWN = [
    Wrong("divided by N - 1", "G04", N, "N = X.shape[1] - 1"),
    Wrong("divided by K", "G04", N, "N = W.shape[0]"),
    Wrong("divided by D", "G04", N, "N = X.shape[0]"),
    Wrong("the last sample alone", "G06", G, f"{G}; G[:, :-1] = 0"),
    Wrong("sizes of X", "G08", X, "G @ np.abs(X).T"),
    Wrong("labels not subtracted", "G11", G, "G = P"),
    Wrong("probabilities left out", "G12", G, "G = -Y"),
    Wrong("one-hot from 1", "G14", G, "G = P - np.eye(len(W) + 1)[Y.argmax(axis=0)][:, 1:].T"),
    Wrong("labels sorted", "G15", G, "G = P - np.eye(len(W))[:, np.sort(Y.argmax(axis=0))]"),
    Wrong("squared error of scores", "G17", G, "G = S - Y"),
    Wrong("log(p + 1e-3)", "G22", G, "p = (P * Y).sum(axis=0); G = p / (p + 1e-3) * (P - Y)"),
    Wrong("exponentials undivided", "G24", P, "P = np.exp(S)"),
    Wrong("softmax twice", "G38", P, f"{P}; P = np.exp(P) / np.exp(P).sum(axis=0)"),
    Wrong("log-softmax", "G25", P, "P = np.log(E / E.sum(axis=0))"),
    Wrong("logarithm of base 10", "G26", G, "G = (P - Y) / np.log(10)"),
    Wrong("factor 2", "G37", G, "G = 2 * (P - Y)"),
    Wrong("l2 times N", "G47", PENALTY, "2 * lam * W * N"),
    Wrong("l2 forgotten in its term", "G48", PENALTY, "2 * W"),
    Wrong("l2 as one number", "G49", PENALTY, "lam * (W ** 2).sum()"),
    Wrong("l2 of squares", "G50", PENALTY, "2 * lam * W ** 2"),
    Wrong(
        "l2 not on the last class", "G51", PENALTY, "2 * lam * W * (np.arange(len(W)) < 4)[:, None]"
    ),
    Wrong("bias from dW", "G62", DB, "db = (G @ X.T).sum(axis=1, keepdims=True) / N"),
    Wrong("bias one number", "G63", DB, "db = np.full_like(b, (G * Y).sum() / N)"),
    Wrong("classes reversed", "G72", END, "    return dW[::-1], db[::-1]"),
    Wrong("halved", "G73", END, "    return dW / 2, db / 2"),
    Wrong("NaN", "L02", P, "P = np.log(S)"),
    Wrong("writes to W", "L05", DW, f"{DW}; W -= 0.1"),
    Wrong("one sample alone fails", "L12", END, "    return dW, db.squeeze() / (N > 1 or [])"),
    Wrong("another factor", "P01", END, "    return 1.7 * dW, 1.7 * db"),
    Wrong("another l2", "P02", PENALTY, "2.3 * lam * W"),
    Wrong("one class", "P03", DW, f"{DW}; dW[2] *= 1.01"),
    Wrong("rank 1", "P04", DW, f"{DW}; dW += np.outer(np.arange(5), np.sin(np.arange(13)))"),
    Wrong("shuffled", "P05", DW, f"{DW}; dW = np.random.default_rng(0).permuted(dW, axis=1)"),
    Wrong(
        "noise",
        "P06",
        DW,
        f"{DW}; dW += 4e-6 * np.sin(np.arange(65) ** 2).reshape(5, 13) * dW.max()",
    ),
    Wrong("b by another formula", "P07", DB, "db = np.sin(G).sum(axis=1, keepdims=True)"),
    Wrong("W by another formula", "P08", X, "G @ np.sin(X).T"),
    Wrong("both by another formula", "P09", G, "G = np.sin(P - 2 * Y)"),
    Wrong("hinge: own class", "G28", "G[np.arange(N), y] = -G.sum(axis=1)", "", HINGE),
    Wrong("hinge: y counts", "G29", "-G.sum(axis=1)", "-G.sum(axis=1) - 1", HINGE),
    Wrong("hinge: no margin", "G30", "[:, None] + 1", "[:, None]", HINGE),
    Wrong("hinge: squared", "G31", "(M > 0).astype(float)", "2 * np.maximum(M, 0)", HINGE),
    Wrong(
        "hinge: the worst class",
        "G32",
        "(M > 0)",
        "((M > 0) & (M >= M.max(axis=1, keepdims=True)))",
        HINGE,
    ),
    Wrong("naive softmax: reg W", "G40", "dW / N + 2 * reg", "dW / N + reg", SOFTMAX_NAIVE),
    Wrong("naive softmax: sum", "G01", "dW / N +", "dW +", SOFTMAX_NAIVE),
    Wrong("softmax: reg over N", "G46", f"dW /= N\n    {REG}", f"{REG}\n    dW /= N", CS231N),
    Wrong("softmax: p alone", "G11", "    probs[range(N), y] -= 1\n", "", CS231N),
    Wrong("naive svm: own class", "G28", "                dW[:, y[i]] -= X[i]\n", "", CS231N),
    Wrong("naive svm: y counts", "G29", "continue", "pass", CS231N),
    Wrong("svm: margin", "G30", "reshape(-1, 1) + 1", "reshape(-1, 1)", CS231N),
    Wrong("svm: own class", "G28", "    mask[range(N), y] = -np.sum(mask, axis=1)\n", "", CS231N),
]
COST, NUMERICAL = "    return loss + lam * (W ** 2).sum()", "ComputeCost(X, Y, W_try, b, lam)"
OTHERS = [
    Wrong(
        "cost with half l2 beside 2 l2 W",
        "C01",
        "lam * (W ** 2).sum()",
        "lam / 2 * (W ** 2).sum()",
        COURSE,
    ),
    Wrong("cost a sum beside a mean", "C02", "axis=0)).mean()", "axis=0)).sum()", COURSE),
    Wrong(
        "cost of all classes", "G34", "(Y * P).sum(axis=0)).mean()", "P).sum(axis=0).mean()", COURSE
    ),
    Wrong(
        "cost without log",
        "G35",
        "-np.log((Y * P).sum(axis=0)).mean()",
        "-(Y * P).sum(axis=0).mean()",
        COURSE,
    ),
    Wrong("cost unknown", "C03", "return loss + lam", "return loss ** 3 + lam", COURSE),
    Wrong("not restored", "N01", "        W_try[i] -= h\n", "", COURSE),
    Wrong(
        "one-sided called centred", "N02", "/ (2 * h)", "/ h", COURSE.replace("(-h, h)", "(0, h)")
    ),
    Wrong("over h, not 2h", "N03", "/ (2 * h)", "/ h", COURSE),
    Wrong("step too small", "N04", "h=1e-6", "h=1e-13", COURSE),
    Wrong("step too large", "N05", "h=1e-6", "h=0.1", COURSE),
    Wrong("costs in float32", "N06", NUMERICAL, f"np.float32({NUMERICAL})", COURSE),
    Wrong("subtracted the wrong way", "N07", "costs[1] - costs[0]", "costs[0] - costs[1]", COURSE),
    Wrong("numerical without l2", "N08", NUMERICAL, "ComputeCost(X, Y, W_try, b, 0)", COURSE),
    Wrong(
        "softmax over the batch, alone",
        "G20",
        "e / e.sum(axis=0)",
        "e / e.sum(axis=1, keepdims=True)",
        COURSE,
    ),
    Wrong(
        "scores for probabilities", "F02", "return softmax(W @ X + b)", "return W @ X + b", COURSE
    ),
    Wrong("softmax of cut scores", "L07", "s - s.max(axis=0)", "np.minimum(s, 4)", COURSE),
    Wrong("accuracy a count", "F10", "np.mean(k == y)", "np.sum(k == y)", COURSE),
    Wrong("accuracy of mistakes", "F11", "np.mean(k == y)", "np.mean(k != y)", COURSE),
    Wrong("accuracy in per cent", "F12", "np.mean(k == y)", "100 * np.mean(k == y)", COURSE),
    Wrong("accuracy of argmin", "F13", "argmax(axis=0)\n", "argmin(axis=0)\n", COURSE),
    Wrong(
        "accuracy of p",
        "F14",
        "np.mean(k == y)",
        "EvaluateClassifier(X, W, b)[y, np.arange(len(y))].mean()",
        COURSE,
    ),
    Wrong(
        "a sample of each batch dropped",
        "F20",
        "(j + 1) * n_batch",
        "(j + 1) * n_batch - 1",
        COURSE,
    ),
    Wrong("first batch missed", "F21", "for j in range(", "for j in range(1, ", COURSE),
    Wrong("rows j to j + B", "F22", "j * n_batch, (j + 1) * n_batch", "j, j + n_batch", COURSE),
    Wrong("N - 1 epochs", "F23", "range(n_epochs)", "range(1, n_epochs)", COURSE),
    Wrong(
        "uphill",
        "F24",
        "W -= eta * dW\n            b -=",
        "W += eta * dW\n            b +=",
        COURSE,
    ),
    Wrong("bias stays", "F25", "            b -= eta * db\n", "", COURSE),
    Wrong("rate over B", "F26", 'GDparams["eta"]', 'GDparams["eta"] / 4', COURSE),
    Wrong("descent without l2", "F27", "Yb, P, W, lam)", "Yb, P, W, 0)", COURSE),
    Wrong(
        "shuffled order",
        "F28",
        "range(X.shape[1] // n_batch)",
        "np.random.default_rng(0).permutation(X.shape[1] // n_batch)",
        COURSE,
    ),
    Wrong(
        "each image by itself",
        "F30",
        "    return (trainX - mean)",
        "    return [(A - A.mean(axis=0)) / A.std(axis=0) for A in (trainX, valX, testX)]\n"
        "    return (trainX - mean)",
        COURSE,
    ),
    Wrong(
        "own mean",
        "F31",
        "(valX - mean) / std",
        "(valX - valX.mean(1, keepdims=True)) / valX.std(1, keepdims=True)",
        COURSE,
    ),
    Wrong(
        "one mean",
        "F32",
        "axis=1, keepdims=True)\n    std = trainX.std(axis=1, keepdims=True)",
        ")\n    std = trainX.std()",
        COURSE,
    ),
    Wrong("variance", "F33", "trainX.std(", "trainX.var(", COURSE),
    Wrong(
        "pixels mixed", "F40", "reshape(3, 32, 32).transpose(1, 2, 0)", "reshape(32, 32, 3)", COURSE
    ),
    Wrong("on its side", "F41", "transpose(1, 2, 0)", "transpose(2, 1, 0)", COURSE),
    Wrong(
        "one range",
        "F42",
        "(row - row.min()) / (row.max() - row.min())",
        "(row - W.min()) / np.ptp(W)",
        COURSE,
    ),
]

NETWORK = """
import numpy as np

def ApplyNetwork(X, network):
    S = network["W"] @ X + network["b"]
    E = np.exp(S - S.max(axis=0))
    return E / E.sum(axis=0)

def ComputeLoss(P, y):
    return -np.mean(np.log(P[y, np.arange(len(y))]))

def ComputeCost(X, y, network, lam):
    return ComputeLoss(ApplyNetwork(X, network), y) + lam * np.sum(network["W"] ** 2)

def BackwardPass(X, Y, P, network, lam):
    G = (P - Y) / X.shape[1]
    return {"W": G @ X.T + 2 * lam * network["W"], "b": G.sum(axis=1, keepdims=True)}

def ComputeAccuracy(P, y):
    return np.mean(np.argmax(P, axis=0) == y)

def MiniBatchGD(X, Y, y, GDparams, init_net, lam):
    net = {name: array.copy() for name, array in init_net.items()}
    for epoch in range(GDparams.n_epochs):
        for j in range(0, X.shape[1], GDparams.n_batch):
            Xb, Yb = X[:, j : j + GDparams.n_batch], Y[:, j : j + GDparams.n_batch]
            grads = BackwardPass(Xb, Yb, ApplyNetwork(Xb, net), net, lam)
            for name in net:
                net[name] -= GDparams.eta * grads[name]
    return net
"""
ROWS = """
import numpy as np

def gradients(X, y, W, b, reg):
    S = X @ W + b
    P = np.exp(S - S.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    P[np.arange(len(y)), y] -= 1
    return X.T @ P / len(X) + 2 * reg * W, P.mean(axis=0)
"""
LAYERS = NETWORK.replace('network["W"]', 'network[0]["W"]').replace(
    'network["b"]', 'network[0]["b"]'
)
LAYERS = LAYERS[: LAYERS.index("def ComputeAccuracy")]
LISTS = LAYERS.replace('network[0]["W"]', 'network["W"][0]').replace(
    'network[0]["b"]', 'network["b"][0]'
)
HALF = COURSE.replace(PENALTY, "lam * W").replace("return loss + lam", "return loss + lam / 2")
BINARY = """
import numpy as np

def bce_grad(X, Y, W, b, lam):
    P = 1 / (1 + np.exp(-(W @ X + b)))
    G = (P - Y) / P.size
    return G @ X.T + 2 * lam * W, G.sum(axis=1, keepdims=True)
"""
UNNAMED = ALONE.replace("(X, Y, W, b, lam)", "(first, second, third, fourth, fifth)").replace(
    "    N =", "    X, Y, W, b, lam = first, second, third, fourth, fifth\n    N ="
)
CLASS = """
import numpy as np

class Network:
    def __init__(self, n_features, n_classes=10, lam=0.1, seed=0):
        self.W = np.random.default_rng(seed).normal(0, 0.01, (n_classes, n_features))
        self.b = np.zeros((n_classes, 1))
        self.lam = lam
        self.losses = [1.0, 2.0]

    def forward(self, X):
        self.X = X
        S = self.W @ X + self.b
        E = np.exp(S - S.max(axis=0))
        self.P = E / E.sum(axis=0)
        return self.P

    def cost(self, X, Y):
        P = self.forward(X)
        return -np.log((Y * P).sum(axis=0)).mean() + self.lam * (self.W ** 2).sum()

    def backward(self, Y):
        G = (self.P - Y) / Y.shape[1]
        self.dW = G @ self.X.T + 2 * self.lam * self.W
        self.db = G.sum(axis=1, keepdims=True)

    def accuracy(self, X, y):
        return (self.forward(X).argmax(axis=0) == y).mean()

    def train(self, X, y, callbacks):
        raise NotImplementedError
"""
IN_DICT = (
    CLASS.replace("self.W =", 'self.params = {"W": 0, "b": 0}; self.params["W"] =')
    .replace("self.b =", 'self.params["b"] =')
    .replace("self.W", 'self.params["W"]')
    .replace("self.b", 'self.params["b"]')
    .replace("self.dW = G", 'self.grads = {}; self.grads["W"] = G')
    .replace("self.db =", 'self.grads["b"] =')
)
IN_LISTS = CLASS.replace("self.W =", "self.W = [0]; self.W[0] =").replace("self.W @", "self.W[0] @")
IN_LISTS = IN_LISTS.replace("(self.W **", "(self.W[0] **").replace(
    "lam * self.W\n", "lam * self.W[0]\n"
)
MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self, input_size=3072, num_classes=10):
        super().__init__()
        self.fc = torch.nn.Linear(input_size, num_classes)

    def forward(self, x):
        return self.fc(x)

    def gradients(self, X, y, lam):
        loss = torch.nn.functional.cross_entropy(self(X), y)
        (loss + lam * self.fc.weight.square().sum()).backward()
"""
TORCH = """
import torch

def ComputeGradsWithTorch(X, y, network_params, lam):
    X = torch.from_numpy(X)
    W = torch.tensor(network_params["W"], requires_grad=True)
    b = torch.tensor(network_params["b"], requires_grad=True)
    P = torch.nn.Softmax(dim=0)(W @ X + b)
    cost = -torch.log(P[y, torch.arange(X.shape[1])]).mean() + lam * (W ** 2).sum()
    cost.backward()
    return {"W": W.grad.numpy(), "b": b.grad.numpy()}
"""
TENSORS = """
import torch

def cost(X, y, W, b, lam):
    return torch.nn.functional.cross_entropy(X @ W.T + b, y) + lam * W.square().sum()

def gradient(X, y, W, b, lam):
    return torch.autograd.grad(cost(X, y, W, b, lam), (W, b))
"""
SINGLE = """
def gradient(X, y, weight, bias, lam):
    X, weight, bias = X.float(), weight.float(), bias.float()
    scores = X @ weight.T + bias
    loss = torch.nn.CrossEntropyLoss()(scores, y) + lam * weight.pow(2).sum()
    return torch.autograd.grad(loss, (weight, bias))

import torch
"""
RIGHT = {
    "course": COURSE,
    "hinge": HINGE,
    "alone": ALONE,
    "CS231n": CS231N,
    "network": NETWORK,
    "layers": LAYERS,
    "lists": LISTS,
    "rows": ROWS,
    "row bias": ROWS.replace("P.mean(axis=0)", "P.mean(axis=0, keepdims=True)"),
    "rows, K by D": ROWS.replace("X @ W", "X @ W.T").replace("X.T @ P", "P.T @ X"),
    "joint": COURSE.replace(
        "    return dW, db\n\ndef ComputeGradsNum(X",
        "    J = -np.log((Y * P).sum(axis=0)).mean() + lam * (W ** 2).sum()\n"
        "    return {'cost': J, 'dW': dW, 'db': db}\n\ndef ComputeGradsNum(X",
    )
    .replace("dW, db = ComputeGradients(", "_, dW, db = ComputeGradients(")
    .replace("Yb, P, W, lam)", "Yb, P, W, lam).values()"),
    "half": HALF,
    "unnamed": UNNAMED,
    "reg by default": ROWS.replace("reg)", "reg=0.1, verbose=False)"),
    "float32 results": ALONE.replace("return dW, db", "return dW.astype('f4'), db.astype('f4')"),
    "lists of numbers": ALONE.replace("return dW, db", "return dW.tolist(), db.ravel().tolist()"),
    "CIFAR-10 alone": ALONE.replace("G = P - Y", "G = np.zeros((10, N)) + P - Y"),
    "keywords": ALONE.replace("(X, Y, W, b, lam)", "(*, X, Y, W, b, lam)"),
    "Windows lines": ALONE.replace("\n", "\r\n"),
    "class": CLASS,
    "class of dicts": IN_DICT,
    "class of lists": IN_LISTS,
    "classes of training alone": ALONE.replace(
        "def ComputeGradients", "class Net:\n    W = 0\n\ndef ComputeGradients"
    ),
}
WITH_TORCH = {"module": MODULE, "autograd": TORCH, "tensors": TENSORS, "float32": SINGLE}
