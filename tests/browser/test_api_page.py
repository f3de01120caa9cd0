"""The page of the API in real Chromium: nothing from elsewhere, nothing cut off on a phone, in both themes."""

from browsing import Looked
from servers import Server


def test_the_api_can_be_read(tab: Looked, server: Server) -> None:
    page = tab.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.origin}/docs")
    page.get_by_role("link", name="The API", exact=True).click()
    page.wait_for_url(f"{server.origin}/docs/api")
    page.get_by_role("link", name="GET /v1/events", exact=True).click()
    tab.look("api")
    page.get_by_role("link", name="Rows", exact=True).click()
    page.wait_for_url("**/docs/api/forms/Rows")
    page.get_by_role("link", name="Row", exact=True).click()
    page.wait_for_url("**/docs/api/forms/Row")
    tab.look("api-form")
    assert [url for url in asked if not url.startswith(server.origin)] == []
