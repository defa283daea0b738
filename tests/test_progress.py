"""Where there is no terminal, a line now and then says how far work has come and how long it goes on."""

import pytest

from pipeline.core import progress as module
from pipeline.core.progress import progress


def test_a_line_every_ten_seconds_says_how_long_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with progress("read birds", 1000) as bar:
        for seconds, n_images, note in ((9, 5, ""), (2, 5, ""), (40, 90, "half"), (30, 400, ""), (1, 500, "")):
            now[0] += seconds
            bar.advance(n_images, note)
    assert capsys.readouterr().err.splitlines() == [
        "read birds: 10/1000 images · 18 min left",
        "read birds: 100/1000 images · 8 min left · half",
        "read birds: 500/1000 images · 81 s left",
        "read birds: 1000/1000 images",
    ]
