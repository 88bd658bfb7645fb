"""Layer normalisation against its reference implementation."""

import numpy as np
import pytest
import reference

from skconvnet._network import Network
from skconvnet.layers import (
    LayerNorm,
)


@pytest.mark.parametrize("shape", [(1, 1), (17, 5), (3, 2, 5, 7), (20, 40), (33, 3, 4, 4)], ids=str)
def test_layer_norm(isa, dtype, shape):
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal((2, *shape)) * 3).astype(dtype)
    gamma, beta = rng.standard_normal((2, *shape[1:])).astype(dtype)
    network = Network([LayerNorm(epsilon=0.01)], shape[1:], None, dtype)
    network.set_weights({"0.weight": gamma, "0.bias": beta})
    wide = [a.astype(np.float64) for a in (x, dy, gamma, beta)]
    expected = [
        reference.layer_norm(wide[0], *wide[2:], 0.01),
        *reference.layer_norm_backward(*wide[:3], 0.01),
    ]
    for n_threads in (1, 2, 3):
        dx, dparams = network.backward(x, dy, n_threads)
        results = [network.forward(x, n_threads).reshape(shape), dx, *network.split(dparams).values()]
        for result, exact in zip(results, expected, strict=True):
            assert result.dtype == dtype
            np.testing.assert_allclose(result, exact, rtol=0, atol=300 * np.finfo(dtype).eps)
