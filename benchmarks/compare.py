"""Side by side with PyTorch: samples a second, the ratio, and the share of the machine's FMA peak.

    python benchmarks/compare.py [--rounds 5] [--threads 2] [--rows ROW ...] [--output table.md]

Every contender runs in a process of its own, in turn, for several rounds; the figures are medians over
rounds. PyTorch runs contiguous and channels last, eager, with fused Adam; the better one counts. It gets
its mini-batches as slices of a shuffled tensor, for nothing; skconvnet's time is that of a whole epoch of
`fit`, shuffling, gathering and the running score included. A peer that is not installed is skipped, and
the table says so. The peak is measured in the same run by a loop that works in registers only (it needs
a C compiler).
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

ROWS = {
    "annt_mnist train": {
        "what": "ANNT's MNIST network, all maps connected, batch 50, a training step with Adam",
        "network": "annt_mnist",
        "task": "train",
        "batch": 50,
        "samples": 10000,
    },
    "annt_mnist predict": {
        "what": "the same, predicting 10,000 images",
        "network": "annt_mnist",
        "task": "predict",
        "batch": 1000,
        "samples": 10000,
    },
}
CONTENDERS = ["skconvnet", "torch", "torch_channels_last"]


def make_layers(network):
    """The layers of a row's network, without the output layer, and the shape of its images."""
    from skconvnet import architectures

    return architectures.annt_mnist(full=True), architectures.INPUT_SHAPES[network]


def make_torch_module(network):
    """The same network in PyTorch."""
    from torch import nn

    modules = [
        nn.Conv2d(1, 6, 5),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(120, 10),
    ]
    return nn.Sequential(*{"annt_mnist": modules}[network])


def count_flops(network, task):
    """Floating-point operations a sample: two a multiply-add; the first layer needs no input gradient."""
    import numpy as np

    from skconvnet._network import Network

    layers, shape = make_layers(network)
    forward = [
        2 * (s.n_parameters - np.prod(s.shapes.get("bias", 0))) * np.prod(s.output_shape[1:])
        for s in Network(layers, shape, 10).stages
        if s.n_parameters
    ]
    return int(sum(forward)) if task == "predict" else int(3 * sum(forward) - forward[0])


def make_data(shape, samples):
    """Images and labels; their values do not matter."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.random((samples, *shape), dtype=np.float32), rng.integers(0, 10, samples)


def run_skconvnet(row, threads):
    """Samples a second of skconvnet: the median epoch, or the median prediction."""
    from skconvnet import ConvNetClassifier

    layers, shape = make_layers(row["network"])
    X, y = make_data(shape, row["samples"])
    clf = ConvNetClassifier(
        layers,
        data_format="channels_first",
        batch_size=row["batch"],
        n_threads=threads,
        learning_rate=0.002,
        random_state=0,
        max_iter=8 if row["task"] == "train" else 1,
    ).fit(X, y)
    if row["task"] == "train":
        durations = [record["duration"] for record in clf.history_[1:]]
    else:
        durations = time_calls(lambda: clf.predict_proba(X), 8)
    return len(X) / statistics.median(durations)


def run_torch(row, threads, channels_last=False):
    """Samples a second of PyTorch."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    _, shape = make_layers(row["network"])
    X, y = (torch.from_numpy(a) for a in make_data(shape, row["samples"]))
    module = make_torch_module(row["network"])
    if channels_last:
        X, module = (t.to(memory_format=torch.channels_last) for t in (X, module))
    batches = [slice(k, k + row["batch"]) for k in range(0, len(X), row["batch"])]
    if row["task"] == "predict":
        module.eval()

        def work():
            with torch.inference_mode():
                for batch in batches:
                    torch.softmax(module(X[batch]), 1)

    else:
        optimizer = torch.optim.Adam(module.parameters(), lr=0.002, fused=True)

        def work():
            for batch in batches:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(X[batch]), y[batch]).backward()
                optimizer.step()

    return len(X) / statistics.median(time_calls(work, 4))


def time_calls(work, calls):
    """Seconds of each call, after one that does not count."""
    work()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def run_contender(name, row, threads):
    """Run one contender in this process."""
    if name == "skconvnet":
        return run_skconvnet(row, threads)
    return run_torch(row, threads, channels_last=name == "torch_channels_last")


def call_contender(name, key, threads):
    """Run one contender in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--worker", name, key]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(output.stdout)


def measure_peak(threads):
    """GFLOP/s of a loop of multiply-adds in registers, or None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fma_peak"
        flags = ["-O3", "-march=native", "-fopenmp"]
        subprocess.run([compiler, *flags, HERE / "fma_peak.c", "-o", program], check=True)
        output = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True)
    return float(output.stdout)


def describe_machine():
    """The processor's name and the versions that matter."""
    names = (
        [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        if Path("/proc/cpuinfo").exists()
        else [platform.processor()]
    )
    from skconvnet import __version__, kernels

    parts = [
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        f"skconvnet {__version__} ({kernels.get_isa()})",
    ]
    if importlib.util.find_spec("torch"):
        from importlib.metadata import version

        parts.append(f"PyTorch {version('torch')}")
    return "; ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="; ".join(ROWS)
    )
    parser.add_argument("--output", type=Path, help="also write the table, and a .json beside it")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, key = arguments.worker
        print(run_contender(name, ROWS[key], arguments.threads))
        return

    contenders = list(CONTENDERS)
    notes = []
    if importlib.util.find_spec("torch") is None:
        contenders = ["skconvnet"]
        notes.append("PyTorch is not installed (torch==2.13.0): its columns are empty.")
    rates = {key: {name: [] for name in contenders} for key in arguments.rows}
    peaks = []
    for _ in range(arguments.rounds):
        peaks.append(measure_peak(arguments.threads))
        for key in arguments.rows:
            for name in contenders:
                rates[key][name].append(call_contender(name, key, arguments.threads))
    peak = None if None in peaks else statistics.median(peaks)
    if peak is None:
        notes.append("No C compiler: the peak was not measured.")

    lines = [
        "| work | skconvnet, samples/s | best PyTorch | ratio | share of the FMA peak |",
        "|---|---|---|---|---|",
    ]
    results = {}
    for key in arguments.rows:
        medians = {name: statistics.median(values) for name, values in rates[key].items()}
        ours = medians.pop("skconvnet")
        best = max(medians, key=medians.get, default=None)
        flops = count_flops(ROWS[key]["network"], ROWS[key]["task"])
        share = f"{ours * flops / peak / 1e9:.0%}" if peak else ""
        theirs = f"{medians[best]:,.0f} ({best})" if best else ""
        ratio = f"{ours / medians[best]:.2f} x" if best else ""
        lines.append(f"| {ROWS[key]['what']} | {ours:,.0f} | {theirs} | {ratio} | {share} |")
        results[key] = {"samples_per_second": rates[key], "flops_per_sample": flops}
    lines += [
        "",
        f"{arguments.threads} threads, float32, medians of {arguments.rounds} rounds. "
        + describe_machine()
        + "."
        + (f" FMA peak: {peak:.0f} GFLOP/s." if peak else ""),
        *notes,
    ]
    table = "\n".join(lines)
    print(table)
    if arguments.output:
        arguments.output.write_text(table + "\n")
        arguments.output.with_suffix(".json").write_text(
            json.dumps({"peak_gflops": peaks, "threads": arguments.threads, "rows": results}, indent=1)
        )


if __name__ == "__main__":
    main()
