"""Training steps per second, side by side: this pipeline, its matrix products alone, and other libraries.

Every contestant does the same work: draw a batch with replacement, gather its images, one step of gradient
descent. Each runs in a process of its own, started once and kept; they take turns, one at work at a time,
for several rounds, so that whatever else the machine does meets them alike. Processor affinity limits all
of them to one core, then to two.

    python benchmarks/training.py                       # ten minutes; writes docs/training_speed/PROCESSOR.*
    python benchmarks/training.py --rounds 3 --only 784-50-10 --output /tmp/speed

`pip install -r benchmarks/requirements.txt` brings the other libraries; a missing one is a line saying so.
On one core the clock is the process's own processor time, which other processes do not run up; on two it is
the time of day.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
IMAGES: Final = 50_000
SECONDS: Final = 0.2
"""How long a turn takes, about."""

RATE: Final = 1e-3


@dataclass(frozen=True)
class Task:
    """A network and how it is trained.

    Attributes:
        sizes: units per layer.
        batch: rows.
        activation: ``sigmoid`` or ``relu``.
        loss: ``cross_entropy`` or ``squared_error``.
        strength: of the L2 penalty.
        mean: whether the mean image is subtracted, instead of dividing by 255.
        published: whether it is an experiment's network, and not a large one.
    """

    sizes: tuple[int, ...]
    batch: int
    activation: str = "sigmoid"
    loss: str = "cross_entropy"
    strength: float = 0.0
    mean: bool = False
    published: bool = True

    @property
    def name(self) -> str:
        """Such as 784-50-10, batch 100."""
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"


TASKS: Final = (
    Task((784, 50, 100, 10), 100),
    Task((784, 100, 10), 100),
    Task((784, 90, 10), 100, activation="relu", loss="squared_error"),
    Task((3072, 50, 10), 200, activation="relu", strength=0.5, mean=True),
    Task((784, 50, 10), 100),
    Task((784, 50, 10), 10),
    Task((784, 1000, 1000, 10), 100, published=False),
    Task((784, 1000, 1000, 10), 1000, published=False),
    Task((3072, 1024, 10), 100, activation="relu", published=False),
)

Steps = Callable[[int], None]
"""Does that many steps."""


# --- the contestants; each imports its library itself, in its own process


def ours(task: Task) -> Steps:
    """The pipeline's own loop, without evaluations and checkpoints."""
    import numpy as np  # under the tier that `serve` activates first

    from pipeline.config.build import with_values
    from pipeline.config.compose import compose
    from pipeline.config.schema import Preprocess
    from pipeline.core import runtime
    from pipeline.nn import preprocessing, training
    from pipeline.nn.examples import Examples

    config = with_values(
        compose(ROOT / "conf", ["dataset=cifar10"] if task.sizes[0] > 784 else []),
        {
            "model.hidden": list(task.sizes[1:-1]),
            "model.activation": task.activation,
            "loss.name": task.loss,
            "regularizer.name": "l2" if task.strength else "none",
            "regularizer.strength": task.strength,
            "optimizer.learning_rate": RATE,
            "training.batch_size": task.batch,
            "training.sampling": "replacement",
            "training.steps": 100_000,
            "training.epochs": None,
        },
    )
    pixels, labels = data(task)
    examples = Examples(pixels, labels, np.arange(IMAGES))
    name = "mean_image" if task.mean else "unit"
    learnt = preprocessing.learn(Preprocess(name), pixels, np.arange(1000), 1)
    threads = runtime.threads()
    run = training._Run(config, {}, examples, learnt, threads)  # noqa: SLF001  (the loop without what surrounds it)

    def steps(count: int) -> None:
        run.epoch_steps = count
        run.epoch(0, 0)

    return steps


def products(task: Task) -> Steps:
    """Only the matrix products of a step, into arrays that are there: what NumPy's BLAS allows."""
    import numpy as np  # under the tier that `serve` activates first

    random = np.random.default_rng(0)
    layers = range(len(task.sizes) - 1)
    below = [random.standard_normal((task.batch, size)).astype(np.float32) for size in task.sizes]
    weights = [
        (random.standard_normal(task.sizes[layer : layer + 2]) / task.sizes[layer] ** 0.5).astype(np.float32)
        for layer in layers
    ]
    errors = [np.ones_like(each) for each in below]
    gradients = [np.empty_like(weight) for weight in weights]

    def steps(count: int) -> None:
        for _ in range(count):
            for layer in layers:
                np.matmul(below[layer], weights[layer], out=below[layer + 1])
            for layer in reversed(layers):
                np.matmul(below[layer].T, errors[layer + 1], out=gradients[layer])
                if layer:
                    np.matmul(errors[layer + 1], weights[layer].T, out=errors[layer])

    return steps


def textbook(task: Task) -> Steps:
    """The loop as textbooks print it: float64, a new array for everything, one-hot labels."""
    import numpy as np  # as the other libraries

    inputs, labels = prepared(task, "float64")
    one_hot = np.eye(10)[labels]
    random = np.random.default_rng(0)
    weights = [
        random.standard_normal((a, b)) / a**0.5 for a, b in zip(task.sizes, task.sizes[1:], strict=False)
    ]
    biases = [np.zeros(size) for size in task.sizes[1:]]

    def step() -> None:
        mask = random.choice(IMAGES, task.batch)
        x, t = inputs[mask], one_hot[mask]
        outputs = [x]
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            z = outputs[-1] @ weight + bias
            if layer < len(weights) - 1:
                z = 1 / (1 + np.exp(-z)) if task.activation == "sigmoid" else np.maximum(0, z)
            outputs.append(z)
        z = outputs.pop()
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        y = powers / powers.sum(axis=1, keepdims=True)
        error = (y - t) / len(x)
        if task.loss == "squared_error":
            error = 2 * y * (error - (y * error).sum(axis=1, keepdims=True))
        for layer in reversed(range(len(weights))):
            below = outputs[layer]
            weight_gradient = below.T @ error + task.strength * weights[layer]
            bias_gradient = error.sum(axis=0)
            if layer:
                error = error @ weights[layer].T
                error = error * (below * (1 - below) if task.activation == "sigmoid" else below > 0)
            weights[layer] -= RATE * weight_gradient
            biases[layer] -= RATE * bias_gradient

    return repeated(step)


def scikit_learn(task: Task) -> Steps | None:
    """MLPClassifier.partial_fit, batch by batch; it has no squared error for classes."""
    import numpy as np  # only for this contestant
    from sklearn.neural_network import MLPClassifier

    if task.loss != "cross_entropy":
        return None
    inputs, labels = prepared(task, "float32")
    model = MLPClassifier(
        task.sizes[1:-1],
        activation="logistic" if task.activation == "sigmoid" else "relu",
        solver="sgd",
        momentum=0.0,
        alpha=task.strength,
        batch_size=task.batch,
        learning_rate_init=RATE,
        shuffle=False,
    )
    random = np.random.default_rng(0)
    classes = np.arange(10)

    def step() -> None:
        mask = random.integers(0, IMAGES, task.batch)
        model.partial_fit(inputs[mask], labels[mask], classes=classes)

    return repeated(step)


def torch_step(task: Task, *, compiled: bool) -> Steps:
    """A module, its loss and torch.optim.SGD, as in PyTorch's own tutorial."""
    import torch  # only for these contestants

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    array, label_array = prepared(task, "float32")
    inputs, labels = torch.from_numpy(array), torch.from_numpy(label_array)
    layers: list[Any] = []
    for below, above in zip(task.sizes, task.sizes[1:], strict=False):
        layers += [
            torch.nn.Linear(below, above),
            torch.nn.Sigmoid() if task.activation == "sigmoid" else torch.nn.ReLU(),
        ]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), RATE, weight_decay=task.strength)

    def loss_of(x: Any, labels: Any) -> Any:  # noqa: ANN401  (a library that may be missing)
        logits = model(x)
        if task.loss == "cross_entropy":
            return torch.nn.functional.cross_entropy(logits, labels)
        one_hot = torch.nn.functional.one_hot(labels, 10)
        return (torch.softmax(logits, 1) - one_hot).square().sum(1).mean()

    if compiled:
        loss_of = torch.compile(loss_of)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        mask = torch.randint(0, IMAGES, (task.batch,), generator=generator)
        optimizer.zero_grad()
        loss_of(inputs[mask], labels[mask]).backward()
        optimizer.step()

    return repeated(step)


def jax_scan(task: Task) -> Steps:
    """A jitted lax.scan over the steps, gathering bytes as we do; parameters are donated."""
    import jax  # only for this contestant
    import jax.numpy as jnp
    import numpy as np

    pixels, label_array = data(task)
    images, labels = jnp.asarray(pixels), jnp.asarray(label_array)
    mean = jnp.asarray(pixels[:1000].mean(axis=0, dtype=np.float32)) if task.mean else None
    random = np.random.default_rng(0)
    parameters = [
        (jnp.asarray(random.standard_normal((a, b)).astype(np.float32) / a**0.5), jnp.zeros(b))
        for a, b in zip(task.sizes, task.sizes[1:], strict=False)
    ]
    activation = jax.nn.sigmoid if task.activation == "sigmoid" else jax.nn.relu

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:  # noqa: ANN401  (a library that may be missing)
        for weight, bias in parameters[:-1]:
            x = activation(x @ weight + bias)
        logits = x @ parameters[-1][0] + parameters[-1][1]
        if task.loss == "cross_entropy":
            value = -jnp.take_along_axis(jax.nn.log_softmax(logits), t[:, None], 1).mean()
        else:
            value = jnp.square(jax.nn.softmax(logits) - jax.nn.one_hot(t, 10)).sum(1).mean()
        return value + 0.5 * task.strength * sum((weight**2).sum() for weight, _ in parameters)

    def step(parameters: Any, mask: Any) -> Any:  # noqa: ANN401  (the same)
        x = images[mask].astype(jnp.float32)
        x = x / 255 if mean is None else x - mean
        loss, gradient = jax.value_and_grad(loss_of)(parameters, x, labels[mask])
        return jax.tree.map(lambda value, slope: value - RATE * slope, parameters, gradient), loss

    scan = jax.jit(lambda parameters, masks: jax.lax.scan(step, parameters, masks), donate_argnums=0)

    def steps(count: int) -> None:
        nonlocal parameters
        # One length, compiled once; fewer steps than it has are not asked for.
        for _ in range(max(count // jax_block(task), 1)):
            masks = random.integers(0, IMAGES, (jax_block(task), task.batch))
            parameters, losses = scan(parameters, masks)
            jax.block_until_ready(losses)

    return steps


def jax_block(task: Task) -> int:
    """Steps of one scan; the counts of all contestants are multiples of it."""
    return 100 if task.published else 2


def repeated(step: Callable[[], None]) -> Steps:
    """Steps one by one."""

    def steps(count: int) -> None:
        for _ in range(count):
            step()

    return steps


def data(task: Task) -> tuple[Any, Any]:
    """Pixels uint8 (IMAGES, features), four in five zero as in digits, and labels int64 (IMAGES,)."""
    import numpy as np  # under the tier that `serve` activates first

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (IMAGES, task.sizes[0]), dtype=np.uint8)
    if not task.mean:
        pixels *= random.random(pixels.shape, dtype=np.float32) < 0.2
    return pixels, random.integers(0, 10, IMAGES)


def prepared(task: Task, dtype: str) -> tuple[Any, Any]:
    """The same as inputs of a network, converted beforehand."""
    pixels, labels = data(task)
    inputs = pixels.astype(dtype)
    return (inputs - inputs[:1000].mean(axis=0) if task.mean else inputs / 255).astype(dtype), labels


@dataclass(frozen=True)
class Contestant:
    """One column of the table.

    Attributes:
        title: its heading.
        make: prepares a task; None where the library cannot express it.
        tier: the runtime tier, which only NumPy knows of.
        needs: modules that have to be installed.
        two_cores: whether it runs on two cores too.
    """

    title: str
    make: Callable[[Task], Steps | None]
    tier: str = "native"
    needs: tuple[str, ...] = ()
    two_cores: bool = True


CONTESTANTS: Final = {
    "bound": Contestant("products only, portable", products, "portable", two_cores=False),
    "ours": Contestant("this pipeline, portable", ours, "portable"),
    "bound_avx512": Contestant("products only, avx512", products, "avx512", two_cores=False),
    "ours_avx512": Contestant("this pipeline, avx512", ours, "avx512"),
    "jax": Contestant("JAX, jit and scan", jax_scan, needs=("jax",)),
    "torch": Contestant("PyTorch, eager", lambda task: torch_step(task, compiled=False), needs=("torch",)),
    "compile": Contestant(
        "PyTorch, compiled", lambda task: torch_step(task, compiled=True), needs=("torch",), two_cores=False
    ),
    "sklearn": Contestant("scikit-learn", scikit_learn, needs=("sklearn",), two_cores=False),
    "textbook": Contestant("textbook NumPy, float64", textbook, two_cores=False),
}


# --- a contestant's process


def serve(name: str, cores: int) -> None:
    """Answer lines of JSON, [task number, steps], with the seconds that they took, until the input ends."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    os.environ |= {"OPENBLAS_NUM_THREADS": str(cores), "OMP_NUM_THREADS": str(cores)}
    # What libraries print goes elsewhere: answers alone go to the parent.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant = CONTESTANTS[name]
    os.environ["PIPELINE_RUNTIME"] = contestant.tier
    os.environ["PIPELINE_THREADS"] = str(cores)
    sys.path.insert(0, str(ROOT))
    import pipeline  # noqa: F401  (sets the tier before anything loads NumPy)

    clock = time.process_time if cores == 1 else time.perf_counter
    number, steps = -1, None
    for line in sys.stdin:
        asked, count = json.loads(line)
        if asked != number:
            steps = None  # its memory is free before the next one is made
            number, steps = asked, contestant.make(TASKS[asked])
            if steps is not None:
                steps(jax_block(TASKS[asked]))
        if steps is None:
            seconds = None
        else:
            started = clock()
            steps(count)
            seconds = clock() - started
        print(json.dumps(seconds), file=answers, flush=True)


class Process:
    """A contestant at work elsewhere."""

    def __init__(self, name: str, cores: int) -> None:
        self._name = name
        self._command = [sys.executable, __file__, "--serve", name, "--cores", str(cores)]
        self._process = subprocess.Popen(  # noqa: S603  (this file)
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def seconds(self, task: int, count: int) -> float | None:
        """How long that many steps took; None where the contestant cannot do the task."""
        assert self._process.stdin is not None  # noqa: S101  (a pipe was asked for)
        assert self._process.stdout is not None  # noqa: S101  (the same)
        self._process.stdin.write(json.dumps([task, count]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} ended; see: echo '[{task}, {count}]' | {' '.join(self._command)}")
        found = json.loads(line)
        return None if found is None else float(found)

    def end(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None  # noqa: S101  (a pipe was asked for)
        self._process.stdin.close()
        self._process.wait()


# --- the run


Rates = dict[str, list[float]]
"""Contestant -> steps per second in every round."""


def measure(names: Sequence[str], cores: int, tasks: Sequence[int], rounds: int) -> dict[int, Rates]:
    """Let them take turns: task -> rates."""
    found: dict[int, Rates] = {}
    processes = {name: Process(name, cores) for name in names}
    for task in tasks:
        block = jax_block(TASKS[task])
        counts: dict[str, int] = {}
        for name, process in processes.items():
            process.seconds(task, block)
            # Twice: the first turn may have to warm up.
            seconds = process.seconds(task, block)
            if seconds is not None:
                counts[name] = block * max(1, round(SECONDS / max(seconds, 1e-6)))
        rates: Rates = {name: [] for name in counts}
        for _ in range(rounds):
            for name, count in counts.items():
                seconds = processes[name].seconds(task, count)
                if seconds is not None:
                    rates[name].append(count / seconds)
        found[task] = rates
        shown = ", ".join(f"{name} {statistics.median(each):,.0f}" for name, each in rates.items())
        print(f"{cores} core{'s' * (cores > 1)}, {TASKS[task].name}: {shown}", flush=True)
    for process in processes.values():
        process.end()
    return found


def ratio(rates: Rates, one: str, other: str) -> float | None:
    """Median over the rounds of `one` to `other`, each pair from the same round."""
    if not rates.get(one) or not rates.get(other):
        return None
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


TARGETS: Final = (
    # cores, one, other, for published networks, for large ones
    (1, "ours", "bound", 0.85, 0.95),
    (1, "ours", "torch", 2.0, None),
    (1, "ours", "textbook", 3.0, None),
    (1, "ours_avx512", "bound_avx512", 0.80, None),
    (1, "ours_avx512", "jax", 1.15, 1.0),
    (1, "ours_avx512", "torch", 2.5, None),
    (2, "ours_avx512", "jax", 1.1, 1.1),
)


def processor() -> str:
    """What Linux calls the processor, with the family and model that tell apart those of one name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    vectors = "AVX-512" if "avx512f" in values.get("flags", "").split() else "no AVX-512"
    family, model = values.get("cpu family", "?"), values.get("model", "?")
    return f"{values.get('model name', 'unknown')} (family {family}, model {model}, {vectors})"


def file_name(processor: str) -> str:
    """The name of a processor as that of a file: ``amd_epyc_family_25_model_17_avx_512``."""
    return "_".join(re.findall(r"[a-z0-9]+", processor.lower()))


def table(found: dict[int, Rates], names: Sequence[str]) -> list[str]:
    """Medians, with the smallest and largest below."""
    names = [name for name in names if any(name in rates for rates in found.values())]
    lines = [
        "| | " + " | ".join(CONTESTANTS[name].title for name in names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for task, rates in found.items():
        cells = [
            f"{shown(statistics.median(rates[name]))}<br><sub>{shown(min(rates[name]))} to"
            f" {shown(max(rates[name]))}</sub>"
            if rates.get(name)
            else "–"
            for name in names
        ]
        lines.append(f"| {TASKS[task].name} | " + " | ".join(cells) + " |")
    return lines


def shown(rate: float) -> str:
    """Three digits are more than the spread allows for."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def ratios(found: dict[int, dict[int, Rates]]) -> list[str]:
    """Each ratio with a target, by network, and what it would be if nothing but products were done."""
    tasks = list(found[1])
    lines = [
        "| ratio of medians | target | " + " | ".join(TASKS[task].name for task in tasks) + " |",
        "| --- | --- |" + " ---: |" * len(tasks),
    ]
    for cores, one, other, published, large in TARGETS:
        wanted = f"≥ {published}" + (f", large ≥ {large}" if large else "")
        cells = []
        for task in tasks:
            value = ratio(found[cores].get(task, {}), one, other) if cores in found else None
            target = published if TASKS[task].published else large
            text = "–" if value is None else f"{value:.2f}"
            cells.append(f"**{text}**" if value is not None and target and value >= target else text)
        title = f"{CONTESTANTS[one].title} : {CONTESTANTS[other].title}"
        lines.append(f"| {title}, {cores} core{'s' * (cores > 1)} | {wanted} | " + " | ".join(cells) + " |")
        bound = one.replace("ours", "bound")
        if cores == 1 and other != bound:
            most = [ratio(found[1].get(task, {}), bound, other) for task in tasks]
            cells = ["–" if value is None else f"{value:.2f}" for value in most]
            lines.append("| the products alone would reach | | " + " | ".join(cells) + " |")
    return lines


def draw(found: dict[int, dict[int, Rates]], path: Path) -> None:
    """One row of dots per network: steps per second as a multiple of the portable products alone."""
    import matplotlib as mpl  # contestants do without it

    mpl.use("agg")
    from matplotlib import pyplot as plt

    styles = {
        "ours_avx512": ("#c1272d", "o", 90),
        "ours": ("#f28e2b", "o", 90),
        "bound_avx512": ("#444444", "|", 260),
        "jax": ("#1f77b4", "s", 46),
        "torch": ("#2ca02c", "D", 40),
        "compile": ("#98c379", "D", 40),
        "sklearn": ("#9467bd", "^", 46),
        "textbook": ("#8c8c8c", "v", 46),
    }
    tasks = list(found[1])
    figure, axes = plt.subplots(
        1,
        len(found),
        figsize=(7.2 * len(found), 0.5 * len(tasks) + 2.2),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, (cores, by_task) in zip(axes[0], found.items(), strict=True):
        for name, (color, marker, size) in styles.items():
            points = [
                (statistics.median(rates[name]) / statistics.median(found[1][task]["bound"]), row)
                for row, task in enumerate(tasks)
                if (rates := by_task.get(task, {})).get(name)
            ]
            if points:
                axis.scatter(
                    *zip(*points, strict=True),
                    s=size,
                    c=color,
                    marker=marker,
                    label=CONTESTANTS[name].title,
                    zorder=4 if name.startswith("ours") else 3,
                    linewidths=2.2 if marker == "|" else 0,
                )
        axis.axvline(1, color="#444444", linewidth=1.2, zorder=1, label="products only, portable")
        axis.set_xscale("log")
        ticks = [0.1, 0.2, 0.5, 1, 2, 4]
        axis.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
        axis.minorticks_off()
        axis.set_yticks(range(len(tasks)), [TASKS[task].name for task in tasks])
        axis.set_ylim(len(tasks) - 0.5, -0.5)
        axis.grid(axis="x", color="#dddddd", linewidth=0.8)
        for row in range(0, len(tasks), 2):
            axis.axhspan(row - 0.5, row + 0.5, color="#f6f6f6", zorder=0)
        axis.set_axisbelow(True)
        axis.tick_params(length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_title(f"{'one core' if cores == 1 else 'two cores'}", loc="left", fontweight="bold")
        axis.set_xlabel("steps per second; 1× is the portable matrix products alone, one core")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3 * len(found), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, print as it goes, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="just the tasks whose names contain this")
    parser.add_argument("--output", type=Path, help="default: docs/training_speed/PROCESSOR")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.cores)
        return
    options.output = options.output or ROOT / "docs" / "training_speed" / file_name(processor())
    tasks = [number for number, task in enumerate(TASKS) if options.only in task.name]
    names, missing = [], []
    for name, contestant in CONTESTANTS.items():
        absent = [module for module in contestant.needs if importlib.util.find_spec(module) is None]
        missing += [f"{contestant.title}: {module} is not installed" for module in absent]
        if not absent:
            names.append(name)
    print("\n".join(missing))
    found = {1: measure(names, 1, tasks, options.rounds)}
    write(found, names, missing, options)
    if len(os.sched_getaffinity(0)) > 1:
        both = [name for name in names if CONTESTANTS[name].two_cores]
        found[2] = measure(both, 2, tasks, options.rounds)
        write(found, names, missing, options)
    print("\n".join(ratios(found)))


def write(
    found: dict[int, dict[int, Rates]],
    names: Sequence[str],
    missing: Sequence[str],
    options: argparse.Namespace,
) -> None:
    """The table and the picture of what there is so far."""
    lines = [
        "# Training speed",
        "",
        f"Processor: {processor()}, {len(os.sched_getaffinity(0))} cores of it.",
        f"NumPy {importlib.metadata.version('numpy')}.",
        "Written by `make benchmark`: steps per second (drawing a batch, gathering it, gradient, update).",
        f"Medians of {options.rounds} rounds in which all took turns, with the smallest and largest below.",
        "On one core the clock is a process's own processor time, on two the time of day.",
        "",
    ]
    for cores, by_task in found.items():
        lines += [f"## {'One core' if cores == 1 else 'Two cores'}", "", *table(by_task, names), ""]
    lines += [
        "## Ratios",
        "",
        "Medians over the rounds of the ratio within a round; bold where the target is reached.",
        "",
        *ratios(found),
        *(["", *missing] if missing else []),
    ]
    options.output.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(found, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
