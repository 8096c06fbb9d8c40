"""The experiment digits8_two_layer beside scikit-learn's MLPClassifier, on the same split: accuracies.

    python -m benchmarks.digits8

Both have 100 hidden units, ReLU, Adam at the same rate, the same batch size and number of epochs, and no
penalty; weights and batches are drawn by either's own random source, for the seeds 0 to 4.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from statistics import mean

from pipeline.config.compose import compose
from pipeline.core.files.arrays import read_arrays  # before NumPy, whose environment the package fixes
from pipeline.core.files.images import load
from pipeline.core.paths import Layout

from sklearn.exceptions import ConvergenceWarning  # isort: skip
from sklearn.neural_network import MLPClassifier  # isort: skip

SEEDS = range(5)
EXPERIMENT = "experiment=digits8_two_layer"


def main() -> None:
    """Print the table."""
    root = Path(__file__).resolve().parent.parent
    for stage in ("fetch", "parse"):
        command = [sys.executable, "-m", "pipeline", stage, "digits8", "--source", "bundled"]
        subprocess.run(command, cwd=root, check=True)  # noqa: S603  (our own)
    images = load(Layout(root).parsed("bundled", "digits8"), "train")
    pixels = images.images.reshape(len(images), -1) / 255.0
    ours, theirs = [], []
    print("| seed | this | scikit-learn |\n| --- | --- | --- |")
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            arguments = [EXPERIMENT, "source=bundled", f"seed={seed}", f"hydra.run.dir={folder}"]
            command = [sys.executable, "-m", "pipeline", "train", *arguments]
            subprocess.run(command, cwd=root, check=True, capture_output=True)  # noqa: S603  (our own)
            ours.append(json.loads((Path(folder) / "metrics.json").read_text())["test"])
            split = read_arrays(Path(folder) / "split.npz")
        config = compose(root / "conf", [EXPERIMENT])
        classifier = MLPClassifier(
            config.model.hidden,
            alpha=0,
            batch_size=config.training.batch_size,
            learning_rate_init=config.optimizer.learning_rate,
            max_iter=config.training.epochs,
            tol=0,
            n_iter_no_change=config.training.epochs,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(pixels[split["train"]], images.labels[split["train"]])
        theirs.append(classifier.score(pixels[split["test"]], images.labels[split["test"]]))
        print(f"| {seed} | {ours[-1]:.4f} | {theirs[-1]:.4f} |", flush=True)
    print(f"| mean | {mean(ours):.4f} | {mean(theirs):.4f} |")


if __name__ == "__main__":
    main()
