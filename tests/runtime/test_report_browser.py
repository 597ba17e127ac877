"""The site as people meet it: opened from disk in Chromium, with pointer, keyboard or phone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from chromium import chromium
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from upath import UPath

from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.store import Layout, Store

from .sites import PNG, Done, Runs, executed, given, run_id_of, written

pytestmark = pytest.mark.slow

WAIT = 20  # seconds for a page to show what a script makes of it
# What a notebook might put out to get at the site that shows it. Whatever runs leaves its mark: in
# the title of a page, on the window, in the place that the browser is at.
ATTACKS = (
    "<script>document.title = top.document.title = 'hacked'; top.hacked = 1</script>",
    "<img src=x onerror=\"document.title='hacked'; parent.document.body.innerHTML='hacked'\">",
    "<svg onload=\"document.title='hacked'\"></svg>",
    "<a id=top href='hacked.html' target=_top>up</a>",
    "<a id=out href='hacked.html' target=_blank>out</a>",
    "<a id=code href=\"javascript:document.title='hacked'\">code</a>",
    "<form id=form action='hacked.html' target=_top><button id=send>send</button></form>",
    "<meta http-equiv=refresh content='0; url=hacked.html'>",
    "<base href='hacked/' target=_top>",
    "<iframe srcdoc=\"<script>top.document.title='hacked'</script>\"></iframe>",
    "<iframe src='../../../../index.html'></iframe><object data='x.html'></object>",
    "<style>@import 'hacked.css'; body::after { content: 'styled' }</style>",
    "<link rel=stylesheet href='hacked.css'>",
)
FIGURE = (
    "<p id=x>a figure</p><script>"
    "try { parent.document.title = 'hacked' } catch { }"
    "try { top.location = 'hacked.html' } catch { }"
    "try { open('hacked.html') } catch { }"
    "let seen = 'nothing'; try { seen = parent.location.href } catch { }"
    "document.getElementById('x').textContent = 'drawn, has seen ' + seen"
    "</script>"
)
# A frame in a sandbox cannot be looked into from here; what is in it is looked at by itself.
AXE = "axe.run(document, { iframes: false, preload: false }).then(arguments[0])"
HOSTILE = "<img src=x onerror=document.title='hacked'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Chromium with a profile of its own."""
    with chromium(tmp_path_factory.mktemp("profile"), "1200,900", {"browser": "ALL"}) as found:
        yield found


@pytest.fixture(autouse=True)
def _a_desktop(browser):
    """Each test begins with one window, by day, on a desktop."""
    look(browser)
    browser.get("about:blank")
    browser.get_log("browser")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that passed and failed, 60 of them; the folder has a space and a # in its name."""
    folder = tmp_path_factory.mktemp("a site") / "number #1"
    store = Store(UPath(folder / "store"), Layout(DEFAULT_PATTERN), folder / "store")
    runs = Runs(store)
    for number in range(57):
        done = Done(metrics={"accuracy": number / 100})
        runs.add(number, {"train.fit": done}, experiment=("small", "wide")[number % 2])
    notebook = executed(
        {"text/html": "<b>bold</b>", "text/plain": "x"}, {"text/plain": "shown to readers"}
    )
    kept = {"executed.ipynb": notebook, "log.txt": "line\n" * 300}
    fit = Done(
        parameters={"depth": (3, "run"), "seed": 1},
        metrics={"accuracy": 0.93, "loss": [3.0, 2.0, 1.0]},
        inputs={"table": given("load.data.table", run_id_of(56))},
        outs={"scores.json": b'{"a": 1}', "table.csv": b"x,y\n1,2\n"},
        logged={"curve.png": PNG, "plot.html": FIGURE.encode()},
        kept=kept,
    )
    told = Done(kept={**kept, "report.html": ""})
    runs.add(57, {"train.fit": fit, "tell.all": told})
    runs.add(58, {"train.fit": Done({"depth": 9, "seed": 1}, error="it broke", kept=kept)})
    hostile = executed(*({"text/html": text} for text in ATTACKS), text=f"# {HOSTILE}\n\n{HOSTILE}")
    named = Done(
        {HOSTILE: (HOSTILE, HOSTILE)},
        metrics={HOSTILE: [1.0, 2.0]},
        kept={"executed.ipynb": hostile, "report.html": "", "log.txt": HOSTILE},
        logged={"bad.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"},
    )
    runs.add(59, {"train.fit": named}, pipeline=HOSTILE, user=HOSTILE, partition=HOSTILE)
    written(store, folder / "site")
    return folder / "site"


def look(browser, width=1200, *, dark=False):
    """A window of that width, by day or by night."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def go(browser, site, *parts, then=""):
    """Open a page of the site from disk."""
    browser.get(f"{site.joinpath(*parts).as_uri()}{then}")


def shown(browser) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def wait(browser, condition):
    return WebDriverWait(browser, WAIT, 0.05).until(lambda _: condition())


def click(browser, text):
    """Follow the first link of that text."""
    browser.find_element(By.LINK_TEXT, text).click()


def rows(browser) -> list[str]:
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#rows tr")]


def complaints(browser) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


# --- the way through it ---------------------------------------------------------------------------


def test_one_gets_from_the_list_to_a_notebook_without_code_and_to_a_comparison(browser, site):
    go(browser, site, "index.html")
    assert browser.title == "small: runs"
    click(browser, run_id_of(57)[:8])
    assert "training · wide" in shown(browser)
    click(browser, "train.fit")
    assert "depth 3 run" in shown(browser)
    click(browser, "notebook")
    frame = browser.find_element(By.CSS_SELECTOR, "iframe.notebook")
    browser.switch_to.frame(frame)
    assert "secret_code" in shown(browser)
    browser.find_element(By.ID, "without-code").click()
    assert "secret_code" not in shown(browser)
    assert "shown to readers" in shown(browser)
    browser.switch_to.default_content()
    click(browser, f"run {run_id_of(57)[:8]}")
    click(browser, "with other runs")
    Select(browser.find_element(By.ID, "run")).select_by_value(run_id_of(58))
    browser.find_element(By.CSS_SELECTOR, "#choose button").click()
    wait(browser, lambda: "2 runs" in shown(browser))
    assert "differs from the first run" in browser.page_source
    assert complaints(browser) == []


def test_the_list_is_searched_filtered_sorted_and_paged_and_the_address_keeps_that(browser, site):
    go(browser, site, "index.html")
    assert "60 runs" in shown(browser)
    assert len(rows(browser)) == 50
    browser.find_element(By.ID, "older").click()
    assert len(rows(browser)) == 10
    Select(browser.find_element(By.ID, "status")).select_by_visible_text("failed")
    assert [run_id_of(58)[:8] in row for row in rows(browser)] == [True]
    Select(browser.find_element(By.ID, "status")).select_by_visible_text("all")
    Select(browser.find_element(By.ID, "experiment")).select_by_visible_text("small")
    assert "29 of 60 runs" in shown(browser)
    heading = browser.find_element(By.XPATH, "//thead//button[contains(., 'accuracy')]")
    heading.click()
    values = [float(row.split()[-1]) for row in rows(browser)]
    assert values == sorted(values, reverse=True)
    address = browser.current_url
    go(browser, site, "index.html", then="#q=nobody")
    browser.refresh()
    assert "0 of 60 runs" in shown(browser)
    browser.get(address)
    browser.refresh()
    assert "29 of 60 runs" in shown(browser)
    assert float(rows(browser)[0].split()[-1]) == max(values)
    (title,) = (
        picture.get_attribute("textContent")
        for picture in browser.find_elements(By.CSS_SELECTOR, "thead svg title")
        if "accuracy" in picture.get_attribute("textContent")
    )
    assert "over 29 runs: 0 to 0.56" in title


def test_runs_that_are_ticked_are_compared_also_over_several_pages_of_the_list(browser, site):
    go(browser, site, "index.html")
    first = browser.find_elements(By.CSS_SELECTOR, "#rows input")[1]
    first.click()
    browser.find_element(By.ID, "older").click()
    browser.find_elements(By.CSS_SELECTOR, "#rows input")[-1].click()
    click(browser, "Compare 2 runs")
    wait(browser, lambda: "2 runs" in shown(browser))
    assert browser.current_url.endswith(f"#{run_id_of(58)},{run_id_of(0)}")
    table = browser.find_element(By.CSS_SELECTOR, "table.compare").text
    assert "\N{EN DASH}" in table  # what only one of them has


def test_what_differs_is_marked_by_a_sign_and_metrics_tell_how_far_they_are_apart(browser, site):
    ids = f"{run_id_of(57)},{run_id_of(58)},{run_id_of(56)}"
    go(browser, site, "compare.html", then=f"#{ids}")
    wait(browser, lambda: "3 runs" in shown(browser))
    lines = {
        row.find_element(By.TAG_NAME, "th").text: row.text
        for row in browser.find_elements(By.CSS_SELECTOR, "table.compare tbody tr")
    }
    assert "3 9 ≠" in lines["train.fit\ndepth"].replace("\n", " ")
    assert "\N{MINUS SIGN}0.37" in lines["train.fit\naccuracy"]
    browser.find_element(By.ID, "different").click()
    wait(browser, lambda: "seed" in shown(browser))
    browser.find_element(By.CSS_SELECTOR, f"[aria-label='Remove run {run_id_of(56)[:8]}']").click()
    wait(browser, lambda: "2 runs" in shown(browser))


def test_a_keyboard_alone_gets_from_the_list_to_the_log(browser, site):
    go(browser, site, "index.html")
    keys = ActionChains(browser)
    keys.send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.text == "Skip to the content"
    keys.send_keys(Keys.ENTER).perform()
    focus_on(browser, "search", lambda element: element.get_attribute("id") == "search")
    ActionChains(browser).send_keys(run_id_of(57)[:8]).perform()
    wait(browser, lambda: len(rows(browser)) == 1)
    follow(browser, run_id_of(57)[:8])
    follow(browser, "train.fit")
    follow(browser, "log")
    assert "attempt 1" in browser.title
    focus_on(browser, "log", lambda element: element.get_attribute("aria-label") == "Log")
    outline = browser.switch_to.active_element.value_of_css_property("outline-width")
    assert float(outline.removesuffix("px")) >= 2
    before = browser.execute_script("return document.activeElement.scrollTop")
    ActionChains(browser).send_keys(Keys.PAGE_DOWN).perform()
    wait(
        browser, lambda: browser.execute_script("return document.activeElement.scrollTop") > before
    )


def focus_on(browser, what, is_it):
    """Press Tab until the focus is on something."""
    for _ in range(150):
        if is_it(browser.switch_to.active_element):
            return
        ActionChains(browser).send_keys(Keys.TAB).perform()
    pytest.fail(f"the keyboard does not get to {what}")


def follow(browser, text):
    """Get to a link with the keyboard, and follow it."""
    focus_on(browser, text, lambda element: element.text == text and element.tag_name == "a")
    address = browser.current_url.partition("#")[0]
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    wait(browser, lambda: browser.current_url.partition("#")[0] != address)


# --- on any screen, for everybody -----------------------------------------------------------------


def pages_of(site: Path) -> dict[str, tuple[Path, str]]:
    """One page of each kind, and what comes behind its address."""
    run, failed, hostile = (site / "runs" / run_id_of(number) for number in (57, 58, 59))
    ids = ",".join(run_id_of(number) for number in (57, 58, 59))
    return {
        "list": (site / "index.html", ""),
        "comparison": (site / "compare.html", f"#{ids}"),
        "run": (run / "index.html", ""),
        "failed run": (failed / "index.html", ""),
        "run with odd names": (hostile / "index.html", ""),
        "step": (run / "train.fit" / "index.html", ""),
        "attempt": (failed / "train.fit" / "1" / "index.html", ""),
        "notebook": (run / "train.fit" / "1" / "notebook.html", ""),
        "report": (run / "tell.all" / "1" / "report.html", ""),
        "figure": (run / "train.fit" / "logged" / "plot.page.html", ""),
    }


def opened(browser, site):
    """Open one page of each kind."""
    for kind, (file, then) in pages_of(site).items():
        browser.get("about:blank")
        browser.get(f"{file.as_uri()}{then}")
        if kind == "comparison":
            wait(browser, lambda: "3 runs" in shown(browser))
        yield kind


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_axe_finds_nothing_that_keeps_people_from_using_a_page(browser, site, width, dark):
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None
    (folder,) = spec.submodule_search_locations
    axe = Path(folder, "axe.min.js").read_text(encoding="utf-8")
    look(browser, width, dark=dark)
    found = {}
    for kind in opened(browser, site):
        browser.execute_script(axe)
        result = browser.execute_async_script(AXE)
        assert result["passes"]
        found[kind] = [
            (each["id"], each["nodes"][0]["html"])
            for each in result["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert {kind: each for kind, each in found.items() if each} == {}


def test_on_a_phone_no_page_is_wider_than_the_screen(browser, site):
    look(browser, 360)
    wider = {
        kind: by
        for kind in opened(browser, site)
        if (by := browser.execute_script("return document.documentElement.scrollWidth") - 360) > 0
    }
    assert wider == {}


def test_by_night_every_page_is_dark(browser, site):
    look(browser, dark=True)
    for kind in opened(browser, site):
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert all(int(part) < 60 for part in colour[4:-1].split(",")), kind


def test_no_page_loads_anything_from_elsewhere_or_breaks_its_own_rules(browser, site):
    for kind in opened(browser, site):
        names = browser.execute_script(
            "return performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        assert [n for n in names if not n.startswith(("file:", "data:"))] == [], kind
        if kind != "run with odd names":
            assert complaints(browser) == [], kind


def test_a_report_is_printed_on_pages_without_links_to_anything_else(browser, site):
    go(browser, site, "runs", run_id_of(57), "tell.all", "1", "report.html")
    assert browser.title == "A title"
    assert "secret_code" not in browser.page_source
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    output = browser.find_element(By.CSS_SELECTOR, ".output_area")
    assert output.value_of_css_property("break-inside") == "avoid"
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert printed["data"].startswith("JVBERi")  # %PDF
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


# --- what a notebook may not do -------------------------------------------------------------------


def unhurt(browser, address):
    """The browser is where it was, with one window, and nothing has left a mark."""
    assert browser.current_url.partition("#")[0] == address.partition("#")[0]
    assert len(browser.window_handles) == 1
    assert browser.title != "hacked"
    assert not browser.execute_script("return window.hacked || document.body.innerHTML == 'hacked'")


def test_a_hostile_notebook_can_neither_read_nor_change_the_site(browser, site):
    go(browser, site, "runs", run_id_of(59), "train.fit", "1", "index.html")
    address = browser.current_url
    unhurt(browser, address)
    frame = browser.find_element(By.CSS_SELECTOR, "iframe.notebook")
    for link in ("top", "out", "code", "send"):
        browser.switch_to.frame(frame)
        browser.execute_script("arguments[0].scrollIntoView()", one(browser, link))
        one(browser, link).click()
        browser.switch_to.default_content()
        unhurt(browser, address)
        browser.refresh()
        frame = browser.find_element(By.CSS_SELECTOR, "iframe.notebook")
    origin = browser.execute_script(
        "try { return arguments[0].contentDocument.title } catch { return null }", frame
    )
    assert origin is None  # the frame is no part of the site, and so the site is none of its


def one(browser, name):
    return browser.find_element(By.ID, name)


@pytest.mark.parametrize("file", ["notebook.html", "report.html"])
def test_a_hostile_notebook_that_is_opened_by_itself_runs_nothing_and_stays(browser, site, file):
    go(browser, site, "runs", run_id_of(59), "train.fit", "1", file)
    address = browser.current_url
    wait(browser, lambda: "up" in shown(browser))
    unhurt(browser, address)
    assert browser.title == HOSTILE
    one(browser, "code").click()
    unhurt(browser, address)
    one(browser, "send").click()
    unhurt(browser, address)
    assert browser.find_elements(By.TAG_NAME, "meta")[-1].get_attribute("name") == "referrer"


def test_an_interactive_figure_is_drawn_and_reaches_nothing_else(browser, site):
    go(browser, site, "runs", run_id_of(57), "train.fit", "index.html")
    browser.find_element(By.PARTIAL_LINK_TEXT, "Open the interactive figure").click()
    address = browser.current_url
    assert address.endswith(f"{quote('plot')}.page.html")
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.notebook"))
    wait(browser, lambda: "drawn, has seen nothing" in shown(browser))
    browser.switch_to.default_content()
    unhurt(browser, address)


def test_names_that_look_like_markup_are_only_names(browser, site):
    run = run_id_of(59)
    for parts, then in (
        (("index.html",), ""),
        (("runs", run, "index.html"), ""),
        (("runs", run, "train.fit", "index.html"), ""),
        (("compare.html",), f"#{run},{run_id_of(57)}"),
        (("compare.html",), f"#{quote(HOSTILE)},{run}"),
    ):
        browser.get("about:blank")
        go(browser, site, *parts, then=then)
        wait(browser, lambda: HOSTILE in shown(browser))
        assert browser.title != "hacked"
        assert browser.find_elements(By.CSS_SELECTOR, "img[onerror]") == []
