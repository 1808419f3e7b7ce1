"""The page of an experiment's keys says what the models say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import pydantic
import pytest

from testbed.config import Strict
from testbed.experiment.document import BEGIN, END, PAGE, Key, keys, page
from testbed.experiment.spec import Experiment


def test_the_page_is_the_one_that_is_made_from_the_models() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "python -m testbed.experiment.document writes it anew"


def test_every_key_has_a_meaning_in_one_line() -> None:
    assert [key.path for key in keys(Experiment) if not key.meaning or "\n" in key.meaning] == []


class Part(Strict):
    """A part."""

    wait_s: float = pydantic.Field(0.5, gt=0, le=60, description="how long")
    kind: Literal["a", "b"] = pydantic.Field("a", description="which | sort")


class Whole(Strict):
    """A whole."""

    count: int | None = pydantic.Field(None, ge=1, description="how many; default: as many as there are")
    word: Annotated[str, pydantic.Field(max_length=9)] = pydantic.Field(description="some text")
    sure: bool = pydantic.Field(True, description="or not")
    parts: tuple[Part, ...] = pydantic.Field((), max_length=3, description="some parts")
    named: dict[str, Part] = pydantic.Field(default_factory=dict)
    shares: tuple[Annotated[float, pydantic.Field(ge=0, lt=1)], ...] = pydantic.Field((), max_length=4, description="x")


@pytest.fixture
def found() -> Iterator[dict[str, Key]]:
    return {key.path: key for key in keys(Whole)}


def test_bounds_defaults_and_units_come_from_the_models(found: dict[str, Key]) -> None:
    assert list(found.values()) == [
        Key("count", "as many as there are", "", "1 or more", "how many"),
        Key("word", "required", "", "9 characters at most", "some text"),
        Key("sure", "true", "", "true, false", "or not"),
        Key("parts", "none", "", "3 entries at most", "some parts"),
        Key("parts.N.wait_s", "0.5", "s", "above 0, to 60", "how long"),
        Key("parts.N.kind", "a", "", "a, b", "which | sort"),
        Key("named.NAME.wait_s", "0.5", "s", "above 0, to 60", "how long"),
        Key("named.NAME.kind", "a", "", "a, b", "which | sort"),
        Key("shares", "none", "", "0 to below 1, 4 entries at most", "x"),
    ]


def test_a_page_without_its_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no table of keys between"):
        page(BEGIN + "no end")
    assert page(f"before\n{BEGIN}old{END}after\n").endswith(f"{END}after\n")
