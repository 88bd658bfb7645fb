"""Kernels by shape, in batches of 64."""

import numpy as np

from skconvnet import functional


class Images:
    """Kernels on images as in the first layers of small networks, and in a later layer of large ones."""

    param_names = ["channels, height, width"]
    params = [[(1, 28, 28), (8, 14, 14), (64, 8, 8)]]

    def setup(self, shape):
        rng = np.random.default_rng(0)
        self.x = rng.random((64, *shape), np.float32)
        self.weight = rng.random((32, shape[0], 3, 3), np.float32)
        self.dy = rng.random((64, 32, *shape[1:]), np.float32)

    def time_conv2d(self, shape):
        functional.conv2d(self.x, self.weight, padding="same")

    def time_conv2d_backward(self, shape):
        functional.conv2d_backward(self.x, self.weight, self.dy, padding="same")

    def time_max_pool2d(self, shape):
        functional.max_pool2d(self.x, 2)

    def time_avg_pool2d(self, shape):
        functional.avg_pool2d(self.x, 2)


class Vectors:
    """Kernels on vectors."""

    def setup(self):
        rng = np.random.default_rng(0)
        self.x = rng.random((64, 1024), np.float32)
        self.weight = rng.random((256, 1024), np.float32)
        self.dy = rng.random((64, 256), np.float32)

    def time_dense(self):
        functional.dense(self.x, self.weight)

    def time_dense_backward(self):
        functional.dense_backward(self.x, self.weight, self.dy)
