"""A training step, and the prediction of a batch, by network."""

import numpy as np

from skconvnet import _network, architectures  # asv would take Network, with its time_parts, for a benchmark
from skconvnet._training import StepSettings, Trainer, TrainingData
from skconvnet.kernels import count_threads
from skconvnet.optimizers import Adam


class Architectures:
    """The networks of `skconvnet.architectures`, with a batch of 64."""

    param_names = ["network"]
    params = [sorted(architectures.INPUT_SHAPES)]

    def setup(self, name):
        rng = np.random.RandomState(0)
        shape = architectures.INPUT_SHAPES[name]
        self.network = _network.Network(getattr(architectures, name)(), shape, 10)
        self.network.initialize(rng)
        self.X = rng.standard_normal((64, *shape)).astype(np.float32)
        self.n_threads = count_threads()
        self.run_step = Trainer(self.network, Adam(), rng).prepare(
            TrainingData(self.X, rng.randint(0, 10, 64), np.ones(64)),
            StepSettings(64, 1e-3, True, self.n_threads),
        )

    def time_training_step(self, name):
        self.run_step()

    def time_predict(self, name):
        self.network.forward(self.X, self.n_threads, "softmax")
