"""Fitting and predicting with the estimator: time by dataset size and threads, and peak memory."""

import numpy as np

from skconvnet import ConvNetClassifier, architectures


class LeNet5:
    """An epoch over float32 images."""

    param_names = ["images", "threads"]
    params = [[500, 5_000], [1, 2]]

    def setup(self, n_images, n_threads):
        self.X = np.random.default_rng(0).random((n_images, 32, 32), np.float32)
        self.y = np.arange(n_images) % 10
        self.clf = ConvNetClassifier(architectures.lenet5(), max_iter=1, n_threads=n_threads, random_state=0)

    def time_fit(self, n_images, n_threads):
        self.clf.fit(self.X, self.y)


class MNIST:
    """60,000 float32 images, the number of MNIST's training images."""

    def setup(self):
        rng = np.random.default_rng(0)
        clf = ConvNetClassifier(architectures.numpy_cnn(), max_iter=1, random_state=0)
        self.clf = clf.fit(rng.random((10, 28, 28), np.float32), np.arange(10))
        self.X = rng.random((60_000, 28, 28), np.float32)

    def peakmem_predict(self):
        self.clf.predict(self.X)

    def time_predict_image(self):
        self.clf.predict(self.X[:1])


class CIFAR10:
    """A tenth of CIFAR-10's training images, of uint8."""

    def setup(self):
        self.X = np.random.default_rng(0).integers(0, 256, (5_000, 32, 32, 3), np.uint8)
        self.y = np.arange(5_000) % 10
        self.clf = ConvNetClassifier(architectures.annt_cifar10(), max_iter=1, random_state=0)

    def peakmem_fit(self):
        self.clf.fit(self.X, self.y)
