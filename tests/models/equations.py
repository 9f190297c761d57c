"""Parts of networks in NumPy, of one example, as papers write them."""

import numpy as np


def dense(params, x):
    return x @ params["kernel"] + params.get("bias", 0)


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def tower(params, z):
    """Dense layers with tanh between them, as in `architecture_cases.heads`."""
    layers = sorted(params)
    for layer in layers[:-1]:
        z = np.tanh(dense(params[layer], z))
    return dense(params[layers[-1]], z)


def row(params, i):
    """The parameters of one network of several, of leaves `[n, ...]`."""
    if isinstance(params, dict):
        return {name: row(part, i) for name, part in params.items()}
    return params[i]
