"""Dense layers against their reference implementation."""

import numpy as np
import pytest
import reference
from checks import check_sums, draw

from skconvnet import functional


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
@pytest.mark.parametrize(
    "n, inputs, units",
    [(1, 1, 1), (17, 17, 17), (5, 400, 120), (50, 84, 10), (3, 1, 30), (40, 33, 1)],
)
def test_dense(isa, dtype, n, inputs, units, integers):
    rng = np.random.default_rng(2)
    x, weight = draw(rng, (n, inputs), dtype, integers), draw(rng, (units, inputs), dtype, integers)
    bias, dy = draw(rng, units, dtype, integers), draw(rng, (n, units), dtype, integers)
    wide = [a.astype(np.float64) for a in (x, weight, bias, dy)]
    sizes = [np.abs(a) for a in wide]
    expected = [reference.dense(*wide[:3]), *reference.dense_backward(wide[0], wide[1], wide[3])]
    scales = [reference.dense(*sizes[:3]), *reference.dense_backward(sizes[0], sizes[1], sizes[3])]
    for n_threads in (1, 2, 3, 4):
        results = [
            functional.dense(x, weight, bias, n_threads=n_threads),
            *functional.dense_backward(x, weight, dy, n_threads=n_threads),
        ]
        check_sums(results, expected, scales, dtype, integers)
