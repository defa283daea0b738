"""Every panel in a real browser, clicked through as a person would."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.storage import read_json, write_json
from pipeline.core.upgrades import SCORES, read_model_file, read_record
from pipeline.page import compose
from pipeline.report import erase_images
from tests.page.browser import Browser
from tests.page.builders import publish, write_page
from tests.report.builders import MODEL_VERSION, make_showcase, two_facets

pytestmark = [
    pytest.mark.xdist_group("browser"),  # one of it, and the same page stays open from test to test
    pytest.mark.no_cover,  # the page runs in the browser; what makes it is covered by other tests
]


def with_hints(root: Path) -> Path:
    """Return a page whose facet 1 had help."""
    given = publish(root, two_facets())
    model_dir = root / "models" / MODEL_VERSION
    model = read_model_file(model_dir)
    write_json(
        model_dir / "model.json",
        {**model, "hints": [{"trained": 0, "kept_aside": 0}, {"trained": 20, "kept_aside": 9}]},
    )
    pairs = {"same": 10, "same_right": 8, "different": 20, "different_right": 19, "chance": 17.4}
    path = model_dir / "score" / "metrics.json"
    judged = {"facet_1": {"kept_aside": 9, "clusters": pairs}}
    write_json(path, {**read_record(path, SCORES), "hints": judged})
    return compose(root, given)


def test_that_real_images_in_place_of_made_up_ones_are_of_other_clusters_is_said(
    browser: Browser, tmp_path: Path
) -> None:
    showcase = two_facets()
    n_drawn = sum(facet.generated.shape[0] * facet.generated.shape[1] for facet in showcase.facets)
    own = int(showcase.facets[0].pool.cluster_id[0])
    other = next(c for c, n in enumerate(showcase.facets[0].sizes) if n and c != own)
    browser.open(write_page(tmp_path, replace(showcase, nearest={"generated": [0] * n_drawn})), "clusters/0")
    assert "the real images of any cluster that are nearest to what the model makes up" in browser.text("#main")
    n = showcase.facets[0].generated.shape[1]
    browser.go(f"clusters/0?show=cluster:0:{other}")
    assert f"{n} of these {n} images lie in other clusters, as no image of this one" in browser.text("dialog")
    browser.go(f"clusters/0?show=cluster:0:{own}")
    assert "in other clusters" not in browser.text("dialog")


@pytest.mark.parametrize("embedder", [None, {"backbone": "x", "sha256": "0" * 64}])
def test_rows_of_a_table_are_called_so_and_features_of_images_are_not(
    browser: Browser, tmp_path: Path, embedder: dict[str, str] | None
) -> None:
    given = publish(tmp_path, two_facets())
    path = tmp_path / "models" / MODEL_VERSION / "model.json"
    spec = {"kind": "features", "dtype": "float32", "shape": [1, 1, 5], "is_bounded": False}
    made = {} if embedder is None else {"embedder": embedder}
    write_json(path, {**read_model_file(path.parent), "input": {**spec, **made}})
    browser.open(compose(tmp_path, replace(given, files=None, aside=[])))
    found = ""
    panels = ("overview", "cross/0/1", "compose", "map/0", "unusual/0", "batches", "training", "scores", "about")
    for route in (*panels, "clusters/0", "clusters/0?show=cluster:0:0", "clusters/0?show=image:7"):
        browser.go(route)
        found += browser.text("body")
    called = re.findall(r".{20}\bimages?\b", found, re.IGNORECASE)
    assert bool(called) == (embedder is not None), called
    assert bool(re.search(r"\d rows, seen 2 ways", found)) == (embedder is None)


def test_that_a_facet_had_help_is_told_where_it_is_shown_and_where_the_model_is(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(with_hints(tmp_path))
    told = browser.text("body")
    assert "With help. It was told what it is about by hints on 20 images. Of 30 pairs of 9 images" in told
    assert told.count("With help.") == 1
    browser.go("about")
    assert "trained with hints on 20 images" in browser.text("body")


PANELS = [
    "overview",
    "clusters/0",
    "clusters/1",
    "cross/0/1",
    "compose",
    "map/0",
    "unusual/1",
    "batches",
    "training",
    "scores",
    "about",
]

CASES = {
    "one facet": {"n_components": (5,)},
    "four facets in colour": {"n_components": (2, 3, 4, 5), "shape": (3, 96, 96), "n_images": 80},
    "one cluster beside another facet": {"n_components": (1, 6), "shape": (1, 28, 28), "n_images": 60},
    "mostly empty": {"n_components": (3, 6), "empty": [(0, 1), (0, 2), (1, 0), (1, 3), (1, 5)], "n_images": 60},
    "no labels": {"n_components": (3, 4), "has_labels": False, "shape": (3, 20, 31), "n_images": 60},
}


@pytest.mark.parametrize("route", PANELS)
def test_a_panel_opens_with_its_heading_and_marks_its_link(browser: Browser, page: Path, route: str) -> None:
    browser.show(page, route)
    assert len(browser.all("main h1")) == 1
    (here,) = browser.all("#nav [aria-current=page]")
    name = route.split("/")[0]
    assert name in (here.get_attribute("href") or "").split("#/")[1]


def test_every_link_of_the_navigation_leads_somewhere(browser: Browser, page: Path) -> None:
    browser.open(page)
    names = [link.text.split("\n")[0] for link in browser.all("#nav a")]
    assert names == [
        "Overview",
        "Facet 0",
        "Facet 1",
        "Cross-table",
        "Compose",
        "Map",
        "Unusual images",
        "Batches",
        "Training",
        "Scores",
        "About this page",
    ]
    seen = []
    for number in range(len(names)):
        browser.all("#nav a")[number].click()
        browser.until("return document.activeElement.tagName === 'H1' || arguments[0] === 0", number)
        seen.append(browser.text("main h1"))
    assert len(set(seen)) == len(names)


@pytest.mark.parametrize("case", CASES)
def test_every_panel_is_right_for_unusual_models(browser: Browser, tmp_path: Path, case: str) -> None:
    page = write_page(tmp_path, make_showcase(**CASES[case]), has_batches=case != "no labels", longer_side=24)
    browser.open(page)
    for width in (1280, 390):
        browser.resize(width)
        names = browser.run("return [...document.querySelectorAll('#nav a')].map((link) => link.textContent)")
        for number in range(len(names)):
            browser.run("document.querySelectorAll('#nav a')[arguments[0]].click()", number)
            browser.until("return document.querySelector('main h1')")
            overflow = browser.run("return document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, (width, browser.text("main h1"))
        assert any("Cross-table" in name for name in names) == (case != "one facet")


def test_one_facet_has_no_cross_table_even_by_address(browser: Browser, tmp_path: Path) -> None:
    page = write_page(tmp_path, make_showcase(n_components=(3,), n_images=40))
    browser.open(page, "cross/0/1")
    assert "sorted one way" in browser.text("main h1")
    assert "single facet" in browser.text("main")


def test_no_labels_are_said_not_shown_as_zero(browser: Browser, tmp_path: Path) -> None:
    page = write_page(tmp_path, make_showcase(n_components=(3, 4), has_labels=False, n_images=40))
    browser.open(page, "scores")
    assert "no labels" in browser.text("main .empty")
    assert not browser.all("main table")


def test_the_overview_says_which_facet_is_a_continuum_and_how_many_groups_others_have(
    browser: Browser, page: Path
) -> None:
    browser.open(page, "overview")
    first, second = (card.text for card in browser.all("section[aria-label=Facets] article"))
    assert "A continuum, cut into regions. Other trainings cut it elsewhere" in first
    assert "agree with each other by 0.13, where 1 is the same and 0 is chance" in first
    assert "groups. Other trainings tell these groups apart, too" in second


def test_a_continuum_that_trainings_cut_alike_is_not_said_to_be_cut_elsewhere(browser: Browser, tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase(n_images=40))
    path = tmp_path / "models" / MODEL_VERSION / "groups.json"
    groups = json.loads(path.read_text())
    assert groups["facets"][0]["n_groups"] == 1
    groups["facets"][0]["reproducibility"] = 0.91
    path.write_text(json.dumps(groups))
    browser.open(compose(tmp_path, given), "overview")
    first, _ = (card.text for card in browser.all("section[aria-label=Facets] article"))
    assert "Other trainings cut it in the same places, though no gap is there: its clusters are stretches" in first
    assert "agree with each other by 0.91" in first


def test_the_overview_says_what_a_facet_was_trained_not_to_see(browser: Browser, page: Path) -> None:
    browser.open(page, "overview")
    first, second = (card.text for card in browser.all("section[aria-label=Facets] article"))
    assert "trained not to see" not in first
    assert "It was trained not to see: rotated by up to ±15°; shifted by up to ±10 % of each side." in second


def test_a_page_of_a_model_without_groups_says_nothing_of_them(browser: Browser, tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase(n_images=40))
    (tmp_path / "models" / MODEL_VERSION / "groups.json").unlink()
    browser.open(compose(tmp_path, given), "overview")
    assert "ther trainings" not in browser.text("section[aria-label=Facets]")


def test_the_overview_counts_clusters_in_use(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert "seen 2 ways" in browser.text("main h1")
    assert "5 of 6" in browser.all("main article")[1].text
    assert "accuracy 0.80, where chance gives 0.20" in browser.text("main article")
    assert "Seed 0 was selected" in browser.text("main")
    assert "phase 1, step 20: kl_1 is not finite" in browser.text("main")
    assert "These two facets sort the images in different ways." in browser.text("main")
    assert "The model redraws 38 % of what differs between images" in browser.text("main")


@pytest.mark.parametrize("width", [1280, 390])
def test_no_table_or_card_of_the_overview_is_cut_off(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    cut = browser.run(
        "return [...document.querySelectorAll('main .card, main .scroll')]"
        ".filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)"
    )
    assert cut == []


def test_training_draws_every_seed_and_gaps(browser: Browser, page: Path) -> None:
    browser.open(page, "training")
    browser.until("return document.querySelectorAll('.chart .scatterlayer .trace').length === 4")
    bands = browser.run(
        "return [...document.querySelectorAll('.chart .annotation-text')].map((text) => text.textContent)"
    )
    assert bands == ["Facet 1 alone", "Facet 0 joins"]
    browser.one("details summary").click()
    rows = [row.text for row in browser.all("main tbody tr")]
    assert rows[0] == "Seed 0, train 39 −13.000"
    assert rows[2] == "Seed 1, train 39 −14.026"
    browser.run(
        "const s = document.querySelector('main select'); s.value = 'kl_z_1'; s.dispatchEvent(new Event('change'))"
    )
    browser.until("return document.querySelectorAll('.chart .scatterlayer .trace').length === 2")
    browser.run(
        "const s = document.querySelector('main select'); s.value = 'accuracy_1_digit'; "
        "s.dispatchEvent(new Event('change'))"
    )
    rows = browser.run("return [...document.querySelectorAll('main tbody tr')].map((row) => row.textContent)")
    assert rows == ["Seed 0, validation390.780", "Seed 1, validation390.780"]


def test_scores_show_baselines_chance_and_spread(browser: Browser, page: Path) -> None:
    browser.open(page, "scores")
    browser.until("return document.querySelector('.chart .scatterlayer')")
    assert [cell.text for cell in browser.all("main tbody tr:first-child > *")] == [
        "Facet 0",
        "0.800",
        "0.780 ± 0.030",
        "0.700",
        "0.700",
        "0.200",
    ]
    assert "better than k-means, by 10.0 percentage points (95 % interval 5.0 to 15.0)" in browser.text("main")
    browser.run("document.querySelector('input[value=nmi]').click()")
    nmi = [cell.text for cell in browser.all("main tbody tr:first-child > *")]
    assert nmi == ["Facet 0", "0.700", "0.680 ± 0.030", "0.600", "0.600", "–"]


def test_bars_wider_than_the_scale_stay_on_the_canvas(browser: Browser, tmp_path: Path) -> None:
    given = publish(tmp_path, two_facets())
    path = tmp_path / "models" / MODEL_VERSION / "score" / "metrics.json"
    metrics = read_json(path)
    for facet, std in (("facet_0", 0.3), ("facet_1", 0.9)):
        metrics["std"]["facets"][facet]["factors"]["digit"]["accuracy"] = std
    write_json(path, metrics)
    browser.open(compose(tmp_path, given), "scores")
    browser.until("return document.querySelector('.chart .scatterlayer')")
    low, high = browser.run("return document.querySelector('.chart').layout.xaxis.range")
    assert low < 0.78 - 0.9
    assert high > 0.78 + 0.9


def test_batches_show_drift_and_what_moved(browser: Browser, page: Path) -> None:
    browser.open(page, "batches")
    first = browser.text("main tbody tr")
    assert "b-000000000001" in first
    assert "drifted" in first
    assert "0.320 · 0.320" in first
    browser.until("return document.querySelector('.chart .scatterlayer .trace')")
    shift = browser.text(".batch section:last-child")
    assert "1 cluster holds another part of it than of the training and test images" in shift
    assert "40 % of the batch, else 19 %" in shift
    assert [marked.text for marked in browser.all(".batch .shifted")] == ["40 % of the batch, else 19 %"]


def test_a_batch_with_erased_thumbnails_shows_the_others(browser: Browser, tmp_path: Path) -> None:
    showcase = make_showcase(n_images=60)
    given = publish(tmp_path, showcase)
    thumbnails = given.batches[2].thumbnails
    assert thumbnails is not None
    erase_images(thumbnails, showcase.pool.image_ids[:1].tolist())
    browser.open(compose(tmp_path, given), "batches")
    shown = browser.run("return [...document.querySelectorAll('.batch .pics')].map((group) => group.children.length)")
    assert shown == [10, 11]  # newest first: every sixth of 60, then every fifth without the first


def test_unusual_images_are_in_order_and_open(browser: Browser, page: Path) -> None:
    showcase = two_facets()
    browser.open(page, "unusual/1")
    pictures = "[...document.querySelector('.odd-grid').querySelectorAll('[data-image]')]"
    shown = browser.run(f"return {pictures}.map((picture) => Number(picture.dataset.image))")
    assert shown == showcase.facets[1].unusual.tolist()
    lowest = np.sort(showcase.facets[1].pool.typicality)[0]
    assert f"{lowest:.1f} nats".replace("-", "−") in browser.text(".odd")
    browser.one(".odd").click()
    browser.until("return document.getElementById('details').open")
    assert str(showcase.pool.image_ids[shown[0]]) in browser.text("#details")


def test_about_names_version_model_and_machine(browser: Browser, page: Path) -> None:
    browser.open(page, "about")
    text = browser.text("main")
    for expected in (
        "m-0123456789ab",
        "3, 2026-11-20 08:30 UTC",
        "8 × 8 pixels, grey",
        "device cpu",
        "the page says where 216 of its 240 pictures come from",
        'facets query toy "SELECT',
        "f0-c901",
    ):
        assert expected in text
