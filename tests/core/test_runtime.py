"""The numeric environment: set before NumPy, whatever the user's own says, and told where it is not."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed

from pipeline.core import processor, runtime
from pipeline.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FEATURES: Mapping[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]  # the only list of what this processor has

HOSTILE = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "OPENBLAS_NUM_THREADS": "4",
    "OMP_NUM_THREADS": "4",
    "GOTO_NUM_THREADS": "4",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
}

SHOW = """
import sys
assert "numpy" not in sys.modules
import {module}
import json, os, warnings
from pipeline.core import runtime
import numpy
from threadpoolctl import threadpool_info
blas = [found for found in threadpool_info() if found["user_api"] == "blas"]
features = numpy._core._multiarray_umath.__cpu_features__
print(json.dumps({{
    "tier": runtime.active(),
    "kernels": [found["architecture"] for found in blas],
    "threads": [found["num_threads"] for found in blas],
    "above": [name for name in ("X86_V4", "AVX512_ICL", "AVX512_SPR") if features[name]],
    "doubts": runtime.doubts(),
}}))
"""

# Two layers and products of every shape that training has, in both precisions: their bits tell the kernels.
TRAIN = """
import pipeline
import hashlib
from pathlib import Path
import numpy as np
from pipeline.config.compose import compose
from pipeline.nn.examples import Examples
from pipeline.nn.preprocessing import Statistics
from pipeline.nn.training import train
random = np.random.RandomState(0)
images = random.randint(0, 256, (300, 784)).astype(np.uint8)
labels = random.randint(0, 10, 300).astype(np.uint8)
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    chosen = compose(Path({conf!r}), [
        "model.hidden=[97,53]", "training.batch_size=37", "training.epochs=2", f"dtype={{dtype}}",
        "optimizer=adam",
    ])
    examples = Examples(images, labels, np.arange(300))
    *_, last = train(chosen, examples, {{"train": examples}}, Statistics(255.0))
    digest.update(last.parameters.tobytes())
    digest.update(repr(last.history).encode())
print(digest.hexdigest())
"""


def run(program: str, environment: Mapping[str, str] | None = None, *, cleared: bool = True) -> str:
    """What a program prints in a Python of its own, with a clean environment but for `environment`."""
    names = {*runtime.TIERS["portable"], runtime.VARIABLE, "NPY_ENABLE_CPU_FEATURES"} if cleared else set()
    kept = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(  # noqa: S603  (our own interpreter)
        [sys.executable, "-W", "error", "-c", program],
        env={**kept, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def shown(environment: Mapping[str, str] | None = None, module: str = "pipeline") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(SHOW.format(module=module), environment))
    return found


needs_avx2 = pytest.mark.skipif(not FEATURES.get("X86_V3"), reason="this processor has no AVX2")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has neither chosen a tier nor loaded NumPy; everything is put back."""
    for name in {*runtime.TIERS["portable"], runtime.VARIABLE, "NPY_ENABLE_CPU_FEATURES"}:
        # Set first, so that what `activate` adds is taken away at the end.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(runtime, "_active", None)
    monkeypatch.setattr(runtime, "_found", {})
    monkeypatch.delitem(sys.modules, "numpy")


def test_the_instruction_sets_have_numpys_own_names() -> None:
    dispatched = np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]  # the only list of them
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        pytest.skip("another processor, other names")
    above = [name for name in dispatched if re.match(r"AVX512|X86_V[4-9]|AVX10", name)]
    assert runtime.TIERS["portable"]["NPY_DISABLE_CPU_FEATURES"].split() == above
    assert runtime.TIERS["avx512"]["NPY_DISABLE_CPU_FEATURES"].split() == [
        name for name in above if name != "X86_V4"
    ]
    assert set(above) <= set(FEATURES)


def test_the_tests_themselves_run_on_the_default_tier() -> None:
    assert runtime.active() == os.environ[runtime.VARIABLE] == "portable"
    for name, value in runtime.TIERS["portable"].items():
        assert os.environ[name] == value


@needs_avx2
@pytest.mark.parametrize(
    ("module", "environment"),
    [
        ("pipeline", {}),
        ("pipeline", {"NPY_ENABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"}),
        ("pipeline.__main__", HOSTILE),
        ("pipeline.nn.training", HOSTILE),
    ],
    ids=["clean", "enabled", "main", "module"],
)
def test_importing_the_package_decides(module: str, environment: Mapping[str, str]) -> None:
    assert shown(environment, module) == {
        "tier": "portable",
        "kernels": ["Haswell"],
        "threads": [1],
        "above": [],
        "doubts": [],
    }


@pytest.mark.slow
@needs_avx2
def test_a_training_has_the_same_bits_whatever_the_environment_says() -> None:
    program = TRAIN.format(conf=str(ROOT / "conf"))
    clean = run(program)
    assert re.fullmatch(r"[0-9a-f]{64}\n", clean)
    assert run(program, HOSTILE) == clean
    # On another kernel it has others: the program would tell.
    assert run(program, {runtime.VARIABLE: "native", "OPENBLAS_CORETYPE": "Sandybridge"}) != clean


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_runs_on_the_tier_too(script: Path) -> None:
    """It imports the package before NumPy."""
    program = (
        f"import runpy, sys\nsys.path.insert(0, {str(script.parent)!r})\n"
        f"runpy.run_path({str(script)!r}, run_name='imported')\n"
        "from pipeline.core import runtime\nprint(runtime.active())"
    )
    assert run(program, HOSTILE) == "portable\n"


@needs_avx2
def test_a_search_in_worker_processes_runs_on_the_tier() -> None:
    """As the workers see it themselves, NumPy loaded."""
    program = (
        "import pipeline, json, joblib\n"
        "def look():\n"
        "    from threadpoolctl import threadpool_info\n"
        "    import numpy, pipeline.core.runtime\n"
        "    numpy.ones((2, 2)) @ numpy.ones((2, 2))\n"
        "    blas = [found for found in threadpool_info() if found['user_api'] == 'blas']\n"
        "    kernels = [(each['architecture'], each['num_threads']) for each in blas]\n"
        "    return kernels, pipeline.core.runtime.doubts()\n"
        "print(json.dumps(joblib.Parallel(n_jobs=2)(joblib.delayed(look)() for _ in range(2))))\n"
    )
    assert json.loads(run(program, HOSTILE)) == [[[["Haswell", 1]], []]] * 2


def test_native_leaves_the_environment_alone() -> None:
    found = shown(
        {runtime.VARIABLE: "native", "OPENBLAS_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Sandybridge"}
    )
    assert (found["tier"], found["kernels"], found["threads"]) == ("native", ["Sandybridge"], [2])
    assert found["doubts"] == ["runtime=native promises nothing"]


def test_avx512() -> None:
    if "X86_V4" not in shown({runtime.VARIABLE: "native"})["above"]:
        pytest.skip("this processor has no AVX-512")
    found = shown({runtime.VARIABLE: "avx512"})
    assert (found["tier"], found["kernels"], found["doubts"]) == ("avx512", ["SkylakeX"], [])


def test_a_program_that_loads_numpy_first_keeps_its_own_environment() -> None:
    program = (
        "import os\nbefore = dict(os.environ)\nimport numpy, pipeline\nassert dict(os.environ) == before\n"
        "assert pipeline.core.runtime.active() is None\nprint(pipeline.core.runtime.doubts()[0])"
    )
    assert run(program).startswith("no runtime tier is active: NumPy was imported before the pipeline")


@pytest.mark.parametrize("tier", ["portable", "native"])
def test_a_worker_that_has_numpy_already_takes_over_the_tier_of_its_parent(tier: str) -> None:
    program = "import numpy, pipeline\nprint(pipeline.core.runtime.active())"
    variables = {**runtime.TIERS[tier], runtime.VARIABLE: tier}
    assert run(program, variables) == f"{tier}\n"
    # Not where something else was set after all.
    if tier == "portable":
        assert run(program, {**variables, "OPENBLAS_NUM_THREADS": "2"}) == "None\n"
        del variables["OPENBLAS_CORETYPE"]
        assert run(program, variables) == "None\n"


@pytest.mark.usefixtures("fresh")
def test_activating_sets_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPY_ENABLE_CPU_FEATURES", "X86_V4")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    assert runtime.active() is None
    assert runtime.activate() == runtime.active() == "portable"
    assert {name: os.environ[name] for name in runtime.TIERS["portable"]} == runtime.TIERS["portable"]
    assert "NPY_ENABLE_CPU_FEATURES" not in os.environ
    assert os.environ[runtime.VARIABLE] == "portable"


@pytest.mark.usefixtures("fresh")
def test_another_tier_before_numpy_takes_the_place_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPY_ENABLE_CPU_FEATURES", "X86_V4")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    before = dict(os.environ)
    runtime.activate("portable")
    runtime.activate("avx512")
    assert {name: os.environ[name] for name in runtime.TIERS["avx512"]} == runtime.TIERS["avx512"]
    runtime.activate("native")
    # What the user had set counts again.
    assert dict(os.environ) == {**before, runtime.VARIABLE: "native"}


@pytest.mark.usefixtures("fresh")
def test_the_environment_of_before_for_programs_that_choose_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPY_ENABLE_CPU_FEATURES", "X86_V4")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    before = dict(os.environ)
    assert runtime.environment_before() == before
    runtime.activate("portable")
    assert runtime.environment_before() == {**before, runtime.VARIABLE: "portable"}


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("tier", "instructions"), [("portable", "AVX2"), ("avx512", "AVX-512")])
def test_no_kernel_is_named_that_the_processor_cannot_run(
    monkeypatch: pytest.MonkeyPatch, tier: str, instructions: str
) -> None:
    """OpenBLAS would die of an illegal instruction."""
    answers: dict[str, bool | None] = {instructions: False}
    monkeypatch.setattr(processor, "has", answers.get)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    runtime.activate(tier)
    assert "OPENBLAS_CORETYPE" not in os.environ
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert runtime.environment_before()["OPENBLAS_CORETYPE"] == "Zen"
    # Where nothing is known of it, the tier holds.
    answers[instructions] = None
    monkeypatch.setattr(runtime, "_active", None)
    runtime.activate(tier)
    assert os.environ["OPENBLAS_CORETYPE"] == runtime.TIERS[tier]["OPENBLAS_CORETYPE"]


@pytest.mark.usefixtures("fresh")
def test_the_tier_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.VARIABLE, "avx512")
    assert runtime.activate() == "avx512"


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["nope", "Portable", " portable"])
def test_an_unknown_tier(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = dict(os.environ)
    with pytest.raises(ConfigError, match=f"^runtime={name}: unknown; one of portable, avx512, native"):
        runtime.activate(name)
    assert dict(os.environ) == before
    monkeypatch.setenv(runtime.VARIABLE, name)
    with pytest.raises(ConfigError, match=f"^PIPELINE_RUNTIME={name}: unknown"):
        runtime.activate()
    assert runtime.active() is None


def test_another_tier_after_numpy_is_refused() -> None:
    before = dict(os.environ)
    with pytest.raises(ConfigError) as caught:
        runtime.activate("native")
    assert str(caught.value) == (
        "runtime=native: NumPy is already loaded with runtime=portable; "
        "set PIPELINE_RUNTIME=native in the environment instead"
    )
    assert dict(os.environ) == before
    assert runtime.activate("portable") == "portable"


def test_a_wrong_variable_does_not_keep_the_package_from_being_imported() -> None:
    program = "import pipeline\nprint(pipeline.core.runtime.active(), pipeline.core.runtime.doubts())"
    assert "PIPELINE_RUNTIME is wrong" in run(program, {runtime.VARIABLE: "nope"})


# What `doubts` says


@pytest.fixture
def blas(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The one BLAS that threadpoolctl reports; as the portable tier wants it, until a test changes it."""
    library: dict[str, Any] = {
        "user_api": "blas",
        "internal_api": "openblas",
        "architecture": "Haswell",
        "num_threads": 1,
    }
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [library, {"user_api": "openmp"}])
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(FEATURES, "X86_V3", value=True)  # type: ignore[arg-type]  # a dict in fact
    monkeypatch.setitem(FEATURES, "X86_V4", value=False)  # type: ignore[arg-type]  # a dict in fact
    monkeypatch.setattr(runtime, "arithmetic", lambda: runtime._BITS[str(runtime.active())])
    return library


def test_no_doubts(blas: dict[str, Any]) -> None:
    del blas
    assert runtime.doubts() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "SkylakeX"}, "OpenBLAS runs its SkylakeX kernel instead of Haswell"),
        ({"num_threads": 4}, "OpenBLAS runs more than one thread"),
        ({"internal_api": "mkl"}, "NumPy's BLAS is not OpenBLAS"),
        ({"user_api": "none"}, "NumPy's BLAS is not OpenBLAS"),
    ],
)
def test_doubts_about_the_blas(blas: dict[str, Any], changes: Mapping[str, object], said: str) -> None:
    blas.update(changes)
    assert runtime.doubts() == [said]


def test_doubts_about_the_processor(blas: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    del blas
    monkeypatch.setitem(FEATURES, "X86_V3", value=False)  # type: ignore[arg-type]  # a dict in fact
    assert runtime.doubts() == ["NumPy does not use the AVX2 instructions"]
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert runtime.doubts() == ["the processor is aarch64, not x86-64"]


def test_doubts_about_several_things(blas: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without AVX2, as the emulator shows it."""
    monkeypatch.setitem(FEATURES, "X86_V3", value=False)  # type: ignore[arg-type]  # a dict in fact
    blas["architecture"] = "Sandybridge"
    assert runtime.doubts() == [
        "NumPy does not use the AVX2 instructions",
        "OpenBLAS runs its Sandybridge kernel instead of Haswell",
    ]


def test_doubts_about_the_bits(blas: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """All looks right, and yet some results differ."""
    found = dict(runtime._BITS["portable"])
    found["float64 functions"] = found["matrix products"] = "0"
    monkeypatch.setattr(runtime, "arithmetic", lambda: found)
    (said,) = runtime.doubts()
    assert said == (
        "matrix products and float64 functions give other bits than in the locked environment: another NumPy"
        f" (this is {np.__version__}), another C library, or GLIBC_TUNABLES"
    )
    # A cause that is known says enough.
    blas["num_threads"] = 2
    assert runtime.doubts() == ["OpenBLAS runs more than one thread"]


@needs_avx2
def test_the_c_librarys_own_choice_of_instructions_is_noticed() -> None:
    """It is made before Python starts, and NumPy's float64 exp and log are the C library's."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    program = "import pipeline\nprint(pipeline.core.runtime.doubts())"
    assert run(program) == "[]\n"
    assert "float64 functions" in run(program, {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA"})


@needs_avx2
def test_every_kind_of_result_has_its_bits() -> None:
    assert runtime.arithmetic() == runtime._BITS["portable"]
    assert all(set(bits) == set(runtime._BITS["portable"]) for bits in runtime._BITS.values())


def test_doubts_about_avx512(blas: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_active", "avx512")
    assert runtime.doubts() == [
        "NumPy does not use the AVX-512 instructions",
        "OpenBLAS runs its Haswell kernel instead of SkylakeX",
    ]
    monkeypatch.setitem(FEATURES, "X86_V4", value=True)  # type: ignore[arg-type]  # a dict in fact
    blas["architecture"] = "SkylakeX"
    assert runtime.doubts() == []


@pytest.mark.parametrize(
    ("tier", "said"), [("native", "runtime=native promises nothing"), (None, "no runtime tier is active: ")]
)
def test_doubts_where_nothing_is_promised(
    monkeypatch: pytest.MonkeyPatch, tier: str | None, said: str
) -> None:
    monkeypatch.setattr(runtime, "_active", tier)
    (found,) = runtime.doubts()
    assert found.startswith(said)


def test_threads_are_asked_for_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # No more than two find work.
    for text, number in (("1", 1), ("2", 2), ("16", 2)):
        monkeypatch.setenv(runtime.THREADS_VARIABLE, text)
        assert runtime.threads() == number
    for text in ("0", "two", "-1", "1.5"):
        monkeypatch.setenv(runtime.THREADS_VARIABLE, text)
        with pytest.raises(ConfigError, match=f"PIPELINE_THREADS={text}: expected a number"):
            runtime.threads()


def test_there_are_as_many_threads_as_processors_but_one_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(runtime.THREADS_VARIABLE, raising=False)
    for processors, number in ((1, 1), (2, 2), (8, 2)):
        monkeypatch.setattr(runtime, "processors", lambda processors=processors: processors)
        assert runtime.threads() == number
    (found,) = Parallel(n_jobs=2)(delayed(runtime.threads)() for _ in range(1))
    assert found == 1
