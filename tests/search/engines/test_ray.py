"""The Ray engine: what is given up is not waited for, played by a stand-in for its client."""

from collections.abc import Sequence

from pipeline.search.engines import Ended
from pipeline.search.engines.ray import RayCluster


class Client:
    """One in which a process is stopped: it ends nothing, and hears of no end."""

    exceptions = None  # none is raised

    def __init__(self, stopped: str) -> None:
        self.stopped = stopped
        self.cancelled: list[str] = []

    def remote(self, function: object, item: str) -> str:
        del function
        return item

    def wait(self, references: Sequence[str], **_: object) -> tuple[list[str], list[str]]:
        ready = [each for each in references if each != self.stopped]
        return ready, [each for each in references if each == self.stopped]

    def get(self, reference: str) -> str:
        return f"result of {reference}"

    def cancel(self, reference: str, *, force: bool) -> None:
        assert force
        self.cancelled.append(reference)


def test_what_a_stopped_process_has_ends_as_died_when_it_is_given_up() -> None:
    client = Client("one")
    engine = RayCluster("127.0.0.1:6379")
    engine._ray = engine._call = client  # no process is stopped on time
    for item in ("one", "other"):
        engine.submit(str, item)
    assert engine.wait() == [Ended("other", "result of other")]
    assert engine.wait() == []
    engine.give_up(["one"])
    assert client.cancelled == ["one"]
    assert engine.wait() == [Ended("one", died=True)]
    # From now on it is a new one.
    client.stopped = ""
    engine.submit(str, "one")
    assert engine.wait() == [Ended("one", "result of one")]
