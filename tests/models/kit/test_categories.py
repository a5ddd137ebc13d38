"""Products into categories: the first rule wins, whole words count, the first description stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from errors import SchemaError
from models.kit import categories
from models.kit.categories import Rule
from tests.models.kit.test_orders import LATER, START, line, table

RULES = (
    Rule(category="christmas", words=("christmas", "santa")),
    Rule(category="candle holders", words=("t-light", "candle stick")),
    Rule(category="mugs", words=("mug", "cup")),
    Rule(category="christmas", words=("sleigh",)),
)


@pytest.mark.parametrize(
    ("description", "category"),
    [
        ("RED MUG", "mugs"),
        ("Christmas mug", "christmas"),  # the first rule wins
        ("CHRISTMASSY MUG", "mugs"),  # whole words only
        ("WHITE T-LIGHT HOLDER", "candle holders"),
        ("ZINC CANDLE STICK", "candle holders"),  # a phrase
        ("CANDLE", "other"),
        ("MUG,BLUE", "mugs"),
        ("MUGS", "other"),
        ("SLEIGH BELLS", "christmas"),  # a category may have several rules
        ("", "other"),
    ],
)
def test_the_first_rule_with_a_word_decides(description: str, category: str) -> None:
    assert categories.classify([description], RULES) == [category]


def test_names_are_sorted_and_have_other() -> None:
    assert categories.names(RULES) == ("candle holders", "christmas", "mugs", "other")


@pytest.mark.parametrize("name", ["other", "total", ""])
def test_a_rule_may_not_use_a_name_that_is_taken(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"category": name, "words": ["x"]}, Rule)


def found(*lines: dict[str, Any], as_of: Any = LATER) -> dict[str, str]:
    return dict(categories.of_products(table(*lines), as_of, RULES))


def test_a_product_keeps_the_category_of_its_first_description() -> None:
    renamed = (line(0, description="RED MUG"), line(5, description="CHRISTMAS MUG"))
    assert found(*renamed) == {"22423": "mugs"}
    assert found(*renamed[::-1]) == {"22423": "mugs"}
    assert found(renamed[1]) == {"22423": "christmas"}


def test_what_is_written_later_is_not_known_yet() -> None:
    lines = (line(0, description=None), line(60, description="RED MUG"))
    assert found(*lines, as_of=START + timedelta(minutes=60)) == {}
    assert found(*lines) == {"22423": "mugs"}


def test_a_clerk_s_note_is_no_name() -> None:
    note = line(0, description="santa damaged it", unit_price=0.0, units=-4)
    assert found(note, line(5, description="RED MUG")) == {"22423": "mugs"}


def test_case_variants_are_one_product() -> None:
    lines = (line(0, item="85123a", description="RED MUG"), line(5, item="85123A", description="SANTA"))
    assert found(*lines) == {"85123A": "mugs"}


def test_without_descriptions_the_column_is_named() -> None:
    with pytest.raises(SchemaError, match="description"):
        categories.of_products(table(line(0)).drop(columns="description"), LATER, RULES)
