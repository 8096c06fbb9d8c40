"""A browser for the tests of this folder, which they share: it takes a second to start."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, started once."""
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-service installs playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as started:
        # Its sandbox needs rights that a container does not have; the page is ours.
        chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_offline(browser: Any) -> Iterator[Callable[..., Any]]:  # noqa: ANN401  (Playwright's)
    """Opens a page offline; what it complains of, and what it asks for beside itself, is an error."""
    contexts, complaints, requests, addresses = [], [], [], set()

    def open_page(address: str, **options: Any) -> Any:  # noqa: ANN401  (the same)
        # Without motion a place on the page stays where it was found.
        context = browser.new_context(offline=True, reduced_motion="reduce", **options)
        contexts.append(context)
        addresses.add(address)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} == addresses
