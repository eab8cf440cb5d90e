"""The pages in a real Chromium: sliders by mouse, finger and keyboard, filters, and not a word in the console."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_runs import save_photo
from fake_engine import fake_sources

from nsp_pipeline.cli.main import main

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser: pip install playwright")
EVIL = "a <b>'&\".png"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of 31 photos, one of which failed, and a preview."""
    folder = tmp_path_factory.mktemp("pages")
    for number in range(28):
        save_photo(folder / "in" / f"{number:02}.png", number, model="Other")
    save_photo(folder / "in" / "sub" / EVIL, 1, (400, 300), model="<script>window.evil=1</script>")
    save_photo(folder / "in" / "sub" / "last.png", 2, (400, 300), model="NIKON D800")
    (folder / "in" / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    report, preview = folder / "report.html", folder / "preview.html"
    with pytest.raises(SystemExit):
        main(["denoise", str(folder / "in"), str(folder / "out"), "--report", str(report)], given=fake_sources())
    photo = folder / "in" / "sub" / EVIL
    main(["preview", str(photo), "--out", str(preview), "--size", "96", "--profile", "auto"], given=fake_sources())
    return {"report": report, "preview": preview}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Open a page by name; what it says to the console, and what it would load, fail the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, has_touch=True)
    trouble: list[str] = []

    def open_page(name: str) -> Any:
        tab = context.new_page()
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("request", lambda request: trouble.append(request.url) if "http" in request.url[:4] else None)
        tab.goto(pages[name].as_uri())
        return tab

    yield open_page
    context.close()
    assert trouble == []


def border(slider: Any) -> float:
    return float(slider.evaluate("node => parseFloat(node.style.getPropertyValue('--at'))"))


def test_the_border_follows_mouse_finger_and_arrow_keys(opened: Any) -> None:
    tab = opened("report")
    slider = tab.locator("before-after").first
    slider.scroll_into_view_if_needed()
    place = slider.bounding_box()
    down = place["y"] + place["height"] / 2

    def across(share: float) -> float:
        return float(place["x"] + share * place["width"])

    tab.mouse.move(across(0.5), down)
    tab.mouse.down()
    tab.mouse.move(across(0.8), down)
    tab.mouse.up()
    assert border(slider) == pytest.approx(80, abs=3)
    tab.mouse.move(across(0.1), down)  # not held any more
    assert border(slider) == pytest.approx(80, abs=3)

    dragged = border(slider)
    tab.keyboard.press("ArrowLeft")
    assert border(slider) == pytest.approx(dragged - 1, abs=1)
    tab.keyboard.press("Home")
    assert border(slider) == 0
    tab.keyboard.press("End")
    assert border(slider) == 100

    tab.touchscreen.tap(across(0.25), down)
    assert border(slider) == pytest.approx(25, abs=3)


def test_photos_are_filtered_and_drawn_a_page_at_a_time(opened: Any) -> None:
    tab = opened("report")
    cards = tab.locator("#cards article")
    assert cards.count() == 24
    assert cards.first.locator("h3").inner_text() == "bad.jpg"
    assert tab.locator("#count").inner_text() == "31 of 31 photos"
    tab.locator("#on").click()
    assert cards.count() == 7

    tab.locator("select[name=state]").select_option("failed")
    assert cards.locator("h3").all_inner_texts() == ["bad.jpg"]
    tab.locator("select[name=state]").select_option("*")
    tab.locator("select[name=camera]").select_option("NIKON D800")
    assert cards.locator("h3").all_inner_texts() == ["sub/last.png"]
    tab.locator("select[name=camera]").select_option("*")
    tab.locator("select[name=folder]").select_option("sub")
    assert cards.locator("h3").all_inner_texts() == [f"sub/{EVIL}", "sub/last.png"]
    tab.locator("input[name=text]").fill("LAST")
    assert cards.count() == 1


def test_names_stand_in_the_page_as_they_are_and_run_nothing(opened: Any) -> None:
    for name in ("report", "preview"):
        tab = opened(name)
        if name == "report":
            tab.locator("input[name=text]").fill(EVIL)
            assert tab.locator("#cards h3").inner_text() == f"sub/{EVIL}"
        assert EVIL in tab.locator("body").inner_text()
        assert "<script>window.evil=1</script>" in tab.locator("body").inner_text()
        assert tab.evaluate("window.evil") is None
        assert tab.locator("b b, script[src]").count() == 0


def test_what_was_removed_takes_the_place_of_what_is_left(opened: Any) -> None:
    tab = opened("report")
    card = tab.locator("#cards article", has=tab.locator("before-after")).first
    right = card.locator("img").nth(1)
    after = right.get_attribute("src")

    card.locator("button").click()
    assert right.get_attribute("src") != after
    assert card.locator("b.right").inner_text() == "removed, amplified"
    card.locator("button").click()
    assert right.get_attribute("src") == after


def test_a_preview_compares_what_is_chosen_and_says_its_command(opened: Any) -> None:
    tab = opened("preview")
    assert tab.locator("before-after").count() == 3
    command = tab.locator(".made:visible code")
    assert command.inner_text().endswith("clean")

    tab.get_by_role("button", name="fake, strength 0.5").last.click()
    assert command.inner_text().endswith("--strength 0.5")
    slider = tab.locator("before-after").first
    shown = slider.locator("img").nth(1)
    assert shown.get_attribute("src") == tab.locator(".row img[data-label='fake, strength 0.5']").first.get_attribute(
        "src"
    )
    tab.locator(".row img").nth(1).click()
    assert "--strength" not in command.inner_text()
    # One pixel of the photo is one of the screen.
    assert slider.bounding_box()["width"] == 96


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable_in_light_and_dark_and_on_a_phone(browser: Any, pages: dict[str, Path], scheme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    for page in pages.values():
        tab = context.new_page()
        tab.goto(page.as_uri())
        back, text = (tab.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
        bright = [sum(map(int, colour[4:-1].split(",")[:3])) for colour in (back, text)]
        assert (bright[0] > bright[1]) == (scheme == "light")
        assert abs(bright[0] - bright[1]) > 450
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
