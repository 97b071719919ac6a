"""The tear sheet: one file that asks nobody for anything, shows what was measured, and runs nothing that was put into it."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.backtest import pictures, sheet_page
from autohedge.backtest.comparison import Side, compare
from autohedge.backtest.definitions import DEFINITIONS
from autohedge.backtest.metrics import measure
from autohedge.backtest.no_fills import why_no_fills
from autohedge.backtest.result import BacktestResult, Curve, Mids, Quotes
from autohedge.backtest.tear_sheet import compare_sheet, settings_hash, tear_sheet
from autohedge.errors import ConfigError

START_NS = 1_704_067_200_000_000_000
LOADING = {"src", "href", "srcset", "data", "action", "formaction", "poster", "background", "xlink:href", "ping", "manifest"}
PAGE_TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "section", "pre", "script", "strong"}
LIST_TAGS = {"dl", "dt", "dd", "ul", "li", "details", "summary", "abbr", "figure", "figcaption"}
OUR_TAGS = PAGE_TAGS | LIST_TAGS | {"table", "thead", "tbody", "tr", "th", "td"}
HOSTILE = "</script></title><img src=x onerror=alert(1)><script>alert(2)</script>\"'><b>&amp;{{x}}\ud800\0"


class Page(HTMLParser):
    """What a browser would see: tags, attributes, scripts and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif data.strip():
            self.words.append(data)

    @property
    def pictures(self) -> list[dict[str, Any]]:
        """The data of the pictures."""
        return json.loads(self.scripts[0])

    @property
    def text(self) -> str:
        """All words of the page."""
        return " ".join(self.words)


def numbers(packed: dict[str, str]) -> Any:
    """The numbers of a packed column."""
    return np.frombuffer(base64.b64decode(packed["bdata"]), dtype="<f8")


def changed(result: BacktestResult, **changes: Any) -> BacktestResult:
    parts = {name: getattr(result, name) for name in BacktestResult.__dataclass_fields__}
    return BacktestResult(**(parts | changes))


def sheet(result: BacktestResult) -> tuple[str, Page]:
    text = tear_sheet(result, measure(result))
    return text, Page(text)


def test_the_file_asks_nobody_for_anything(make: Any) -> None:
    """No element loads anything, no style does, and the page forbids itself to: it works from disk without a network."""
    text, page = sheet(make.sample())
    for tag, attributes in page.tags:
        assert not LOADING & attributes.keys(), tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "img", "a"}
    styles = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_the_policy_allows_exactly_the_two_scripts_of_the_page(make: Any) -> None:
    """Each script that runs is named by the hash of its text, and plotly is there once."""
    _, page = sheet(make.sample())
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    allowed = next(each for each in policy.split(";") if each.strip().startswith("script-src")).split()[1:]
    library, ours = page.scripts[1:]
    assert allowed == [
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in (library, ours)
    ]
    assert "plotly.js v" in library[:200]
    assert len(library) > 1_000_000 > len(ours)
    assert "\r" not in library  # a browser would turn it into a line feed before it computes the hash


def test_hostile_text_stays_text(make: Any) -> None:
    """Symbol, strategy, notes, settings, data and counts may hold any HTML: it is shown, and becomes no element."""
    result = changed(
        make.sample(),
        symbol=HOSTILE,
        strategy=HOSTILE,
        engine=HOSTILE,
        notes=(HOSTILE,),
        settings={HOSTILE: HOSTILE},
        data={"source": HOSTILE, "fingerprint": HOSTILE},
        counts={HOSTILE: 1},
        decisions={HOSTILE: [HOSTILE]},
    )
    text, page = sheet(result)
    assert {tag for tag, _ in page.tags} <= OUR_TAGS
    assert len(page.scripts) == 3
    assert page.text.count("<img src=x onerror=alert(1)>") >= 9
    text.encode()  # a lone surrogate would fail here
    side = Side(HOSTILE, result, measure(result))
    compared = Page(compare_sheet([side, side], compare(side, side)))
    assert {tag for tag, _ in compared.tags} <= OUR_TAGS
    assert len(compared.scripts) == 3
    assert "<img" not in compared.scripts[0]


def test_data_of_pictures_cannot_end_their_element() -> None:
    """A name inside the data of a picture may hold the end of a script; the page is still the same page."""
    hostile = "</script><script>alert(1)</script><!--"
    drawn = pictures.Picture(hostile, hostile, [{"type": "scatter", "name": hostile}], {"title": hostile})
    page = Page(sheet_page.page(hostile, sheet_page.figures([drawn]), [drawn]))
    assert len(page.scripts) == 3
    assert page.pictures[0]["data"][0]["name"] == hostile


@settings(deadline=None)
@given(text=st.text())
def test_escaped_text_has_no_markup_and_can_be_written(text: str) -> None:
    """Nothing that opens an element or ends an attribute is left, whatever it was."""
    done = sheet_page.escaped(text)
    assert not set("<>\"'\0") & set(done)
    done.encode()


def test_every_figure_is_shown_with_its_definition_and_every_gap_with_its_reason(make: Any) -> None:
    """Definitions and reasons are on the page, to be read by pointing."""
    metrics = measure(make.sample())
    page = Page(tear_sheet(make.sample(), metrics))
    titles = [attributes["title"] for tag, attributes in page.tags if tag == "abbr"]
    for definition in DEFINITIONS.values():
        assert definition.text in titles
    for name, reason in metrics.undefined.items():
        assert reason in titles or name == "mark_outs"


def test_the_head_names_what_was_run(make: Any) -> None:
    """Settings hash, fingerprint of the data, engine, period, and that no order reached a venue."""
    result = make.sample()
    _, page = sheet(result)
    for words in (
        "BTC/USDT",
        "by-hand",
        "00000000",
        settings_hash(result),
        "2024-01-01 00:00:00 to 2024-01-01 01:06:40",
        "Simulated: no order reached a venue.",
        "a note",
    ):
        assert words in page.text
    assert settings_hash(changed(result, settings={"seed": 8})) != settings_hash(result)


def test_pictures_show_what_was_measured(make: Any) -> None:
    """Equity row by row, fills at their prices, and the bars of the profit are the figures."""
    result = make.sample()
    metrics = measure(result)
    drawn = {each["id"]: each for each in Page(tear_sheet(result, metrics)).pictures}
    assert len(drawn) == 7
    equity, drawdown = drawn["picture-0"]["data"]
    assert numbers(equity["y"]).tolist() == result.curve.equity_quote.tolist()
    assert numbers(equity["x"])[0] == START_NS / 1e6
    assert -numbers(drawdown["y"]).min() == metrics.drawdown.max_frac
    price = {trace["name"]: trace for trace in drawn["picture-2"]["data"]}
    assert numbers(price["buys"]["y"]).tolist() == [99.9, 100.8, 100.1]
    assert numbers(price["sells"]["y"]).tolist() == [100.4, 100.3]
    assert np.isnan(numbers(price["our bid"]["y"])).sum() == 1
    waterfall = drawn["picture-4"]["data"][0]
    assert waterfall["y"] == [0.5, -0.6, 0.15, -0.22, -0.17]
    marks = {trace["name"]: trace for trace in drawn["picture-5"]["data"]}
    assert marks["all"]["x"] == ["1 s", "5 s", "30 s", "60 s"]
    hours = {trace["name"]: trace for trace in drawn["picture-6"]["data"]}
    assert hours["together"]["x"] == ["00", "01"]
    assert sum(hours["together"]["y"]) == pytest.approx(-0.17)


def test_round_trips_are_listed_and_a_selection_is_told(make: Any) -> None:
    """All of a few, and of many those that won or lost most, in order of time."""
    _, page = sheet(make.sample())
    text = page.text
    assert "Round trips" in text
    assert text.index("2024-01-01 00:01:10") < text.index("2024-01-01 00:03:20")
    fills = [
        make.fill(float(at), +1 if at % 2 else -1, str(100 + (at % 2 == 0) * (at / 100)), "1", mid="100", order=at)
        for at in range(1, 601)
    ]
    _, long = sheet(make.traded(fills, [(0.0, "100")], end_s=700.0))
    assert "Round trips: the 200 of 300 that won or lost most" in long.text
    assert "2024-01-01 00:10:00" in long.text
    assert "2024-01-01 00:00:02 " not in long.text


def test_a_long_run_has_a_table_of_months(make: Any) -> None:
    """Months of a run of a hundred days, each in its cell; April is in the fourth."""
    result = make.with_returns([0.001] * 100)
    picture = pictures.returns(result)
    assert picture.title == "Returns per month"
    (row,) = picture.data[0]["z"]
    assert row[0] == pytest.approx(1.001**31 - 1)
    assert [value is None for value in row] == [False] * 4 + [True] * 8


def test_a_million_rows_make_a_small_file_that_keeps_the_extremes(make: Any) -> None:
    """A spike of one row out of a million is on the picture, and the file stays below 8 MB."""
    n = 1_000_000
    ts = START_NS + np.arange(1, n + 1, dtype=np.int64) * 1_000_000_000
    level = 10_000 + np.sin(np.arange(n) / 5_000) * 50
    level[777_777] = 4_321.0
    base = np.cos(np.arange(n) / 999.0)
    quotes = Quotes(ts, level - 1, level + 1)
    many = make.sample().fills
    fills = type(many)(*(np.resize(column, 50_000) for column in many))._replace(ts_ns=ts[::20])
    result = changed(
        make.sample(),
        curve=Curve(ts, level, base, level / 100),
        mids=Mids(ts, level / 100),
        quotes=quotes,
        fills=fills,
        end_ns=int(ts[-1]),
    )
    text, page = sheet(result)
    assert len(text.encode()) < 8_000_000
    equity = page.pictures[0]["data"][0]
    assert numbers(equity["y"]).min() == 4_321.0
    assert numbers(equity["y"]).size < 5 * pictures.BUCKETS
    assert "3,847 of 50,000 fills are shown, every 13th" in page.text
    assert sum(numbers(trace["y"]).size for trace in page.pictures[2]["data"][-2:]) == 3_847


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=200), buckets=st.integers(1, 9))
def test_thinning_keeps_first_last_and_extremes_in_order(values: list[float], buckets: int) -> None:
    """Rows stay in order, the ends and the highest and lowest are kept, and there are at most four per bucket."""
    column = np.array(values)
    ts = START_NS + np.cumsum(np.arange(column.size, dtype=np.int64) % 3)
    rows = pictures.thinned(ts, column, buckets)
    assert np.all(np.diff(rows) > 0)
    assert rows[0] == 0
    assert rows[-1] == column.size - 1
    assert rows.size <= max(4 * buckets, 1)
    if not np.isnan(column).all():
        assert np.nanmax(column[rows]) == np.nanmax(column)
        assert np.nanmin(column[rows]) == np.nanmin(column)


@pytest.mark.parametrize(
    ("counts", "quoted", "words"),
    [
        ({"orders_placed": 12}, True, "12 orders rested 100.0 bps from the mid on average and no trade reached them"),
        ({"orders_placed": 12}, False, "12 orders were placed and the market reached none of them"),
        ({"orders_placed": 3, "orders_rejected": 3}, True, "the venue rejected all 3 orders"),
        ({"orders_placed": 0, "orders_denied": 9}, True, "our own risk checks denied all 9"),
        ({}, False, "the strategy never wanted one"),
    ],
)
def test_a_run_without_fills_says_why(make: Any, counts: dict[str, int], quoted: bool, words: str) -> None:
    """Instead of empty pictures of fills there is one sentence."""
    times = np.array([START_NS], dtype=np.int64)
    quotes = Quotes(times, np.array([99.0]), np.array([101.0])) if quoted else None
    result = make.traded([], [(0.0, "100"), (5.0, "101")], end_s=900.0, counts=counts, quotes=quotes)
    _, page = sheet(result)
    assert f"0 fills: {why_no_fills(result)}" in page.text
    assert words in page.text
    assert {each["data"][0]["type"] for each in page.pictures} <= {"scatter", "bar"}
    assert not any(trace["type"] == "waterfall" for each in page.pictures for trace in each["data"])
    assert why_no_fills(make.sample()) is None


def test_several_results_lie_over_each_other(make: Any) -> None:
    """One line each, as returns since the start; the verdict and the settings that differ are said."""
    results = [make.with_returns([0.001 * k, 0.002, -0.001] * 30, settings={"k": k}) for k in (1, 2)]
    a, b = (Side(name, result, measure(result)) for name, result in zip(("slow", "fast"), results, strict=True))
    comparison = compare(a, b)
    page = Page(compare_sheet([a, b], comparison))
    assert comparison.verdict in page.text
    assert "settings.k" in page.text
    equity = page.pictures[0]["data"]
    assert [trace["name"] for trace in equity] == ["slow", "fast"]
    assert numbers(equity[0]["y"])[-1] == pytest.approx(a.metrics.returns.total_frac)
    assert len(Page(compare_sheet([a, b, a])).pictures[1]["data"]) == 3


def test_endless_texts_are_cut_and_said(make: Any) -> None:
    """Notes and settings of any length do not make the file large."""
    result = changed(make.sample(), notes=("n" * 10_000,) * 500, settings={"all": "s" * 100_000})
    text, page = sheet(result)
    assert len(text.encode()) < 8_000_000
    assert "… and 400 more" in page.text
    assert "characters more" in page.text


def test_without_plotly_the_extra_is_named(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ConfigError, match=r"a tear sheet needs plotly: pip install 'autohedge\[backtest\]'"):
        tear_sheet(make.sample(), measure(make.sample()))
