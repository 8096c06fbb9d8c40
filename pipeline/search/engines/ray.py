"""A Ray cluster, by the address of its head."""

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pipeline.core import runtime
from pipeline.core.errors import PipelineError, UsageError
from pipeline.search.engines import POLL_SECONDS, Ended


class RayCluster:
    """The nodes of a cluster, and those that join it later.

    Args:
        address: of the head, such as ``127.0.0.1:6379``.
    """

    name = "ray"

    def __init__(self, address: str) -> None:
        self._address = address
        self._ray: Any = None
        self._call: Any = None
        self._under_way: list[Any] = []
        self._given_up: list[Any] = []

    @property
    def window(self) -> int:
        """Twice what all nodes run at a time."""
        return 2 * max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, function: Callable[[Any], Any], item: object) -> Any:  # noqa: ANN401  (a Ray reference)
        """Hand it to the cluster."""
        reference = self._call.remote(function, item)
        self._under_way.append(reference)
        return reference

    def wait(self) -> Sequence[Ended]:
        """Those that have ended.

        Raises:
            PipelineError: the cluster is lost, or what a function raised is one.
        """
        if self._given_up:
            given_up, self._given_up = self._given_up, []
            return [Ended(reference, died=True) for reference in given_up]
        ready: list[Any] = []
        try:
            ready, self._under_way = self._ray.wait(
                self._under_way, num_returns=1, timeout=POLL_SECONDS, fetch_local=True
            )
            if ready and self._under_way:
                more, self._under_way = self._ray.wait(
                    self._under_way, num_returns=len(self._under_way), timeout=0
                )
                ready += more
        except self._ray.exceptions.RaySystemError as error:
            raise self._loss_error(error) from None
        return [self._describe_end(reference) for reference in ready]

    def _describe_end(self, reference: Any) -> Ended:  # noqa: ANN401  (a Ray reference)
        errors = self._ray.exceptions
        try:
            return Ended(reference, self._ray.get(reference))
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
            errors.LocalRayletDiedError,
            errors.TaskCancelledError,
        ):
            return Ended(reference, died=True)
        except errors.RayTaskError as error:
            if isinstance(error.cause, PipelineError):
                raise error.cause from None
            raise PipelineError(f"a Ray worker could not begin: {_describe_error(error.cause)}") from None
        except (errors.RaySystemError, errors.RuntimeEnvSetupError) as error:
            raise self._loss_error(error) from None

    def _loss_error(self, error: Exception) -> PipelineError:
        return PipelineError(
            f"the Ray cluster at {self._address} is lost ({_describe_error(error)}). What has ended is kept:"
            " start it and the same command again"
        )

    def give_up(self, handles: Sequence[Any]) -> None:
        """Have Ray end the processes that these run on, and wait for them no longer.

        A process that is stopped does not hear that it is to end.
        """
        for reference in handles:
            self._ray.cancel(reference, force=True)
        self._given_up += handles
        self._under_way = [each for each in self._under_way if each not in set(handles)]

    def everywhere(self, function: Callable[[], Any]) -> None:
        """Nothing: Ray starts processes as it needs them, and each is checked before its first trial."""

    def __enter__(self) -> Self:
        try:
            import ray  # an extra
        except ImportError:
            raise UsageError(
                "PIPELINE_ENGINE=ray: the package ray is not installed: pip install -e '.[ray]'"
            ) from None
        self._ray = ray
        # Ray sets these before it starts a process, so NumPy is loaded under the tier.
        tier = runtime.active() or "native"
        variables = {**runtime.TIERS[tier], runtime.VARIABLE: tier}
        if path := os.environ.get("PYTHONPATH"):
            variables["PYTHONPATH"] = path
        try:
            ray.init(
                address=self._address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": variables},
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise PipelineError(
                f"no Ray cluster answers at {self._address} ({_describe_error(error)}): see RAY_ADDRESS"
            ) from None
        # `engines.run` counts the attempts.
        self._call = ray.remote(max_retries=0, num_cpus=1)(_call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the cluster, which abandons what is still under way."""
        self._ray.shutdown()


def _call(function: Callable[[Any], Any], item: object) -> Any:  # noqa: ANN401  (the function's result)
    return function(item)


def _describe_error(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
