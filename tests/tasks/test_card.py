from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as with_

from tasks.card import card
from tasks.story import CHANGED
from tasks.telling import verdict
from tests.tasks import papers


def test_a_fresh_card_says_what_is_known_and_what_is_not() -> None:
    text = card(papers.origin(), papers.chapter()).markdown
    assert "# recommendation-v1\n\n**Trained, not judged yet.**" in text
    assert "Owners: lead@example.org, second@example.org." in text
    assert "> Nobody wrote about fairness." in text
    assert "1,200 rows of 2026-11-21 to 2026-11-21" in text
    assert "learned from the 1,000 rows before 2026-11-21 12:00 UTC" in text
    assert "Not measured yet." in text
    assert "Nobody was asked yet." in text


def test_data_and_privacy_are_told_column_by_column() -> None:
    text = card(papers.origin(), papers.chapter()).markdown
    assert "| `customer_id` | string, may be missing | who |" in text
    assert "orders: `customer_id` became keyed pseudonyms" in text
    assert "numbers were taken out of `note`" in text
    assert "`address` is left outside: nobody learns from it" in text
    assert "monitors see of a request: `known`" in text


def test_a_judged_card_has_figures_with_intervals_segments_gates_and_limits() -> None:
    text = card(papers.origin(), replace(papers.chapter(), evidence=papers.evidence())).markdown
    assert "| champion | +0.1 [+0.05, +0.15] |" in text
    assert "| `ndcg` | 0.5 [0.45, 0.55] | 0.4 | 0.6 |" in text
    assert "| country: home | 40 | 0.45 | -10.0% [-20.0%, +5.0%] |" in text
    assert "| country: moon | 3 | - | too few to judge |" in text
    assert "| champion | pass | against rules, a \\| b |" in text
    assert "- Too few to judge, so nothing is known of: country moon." in text
    assert "- Not beyond doubt better than item\\_item: the difference is -0.02 to +0.04." in text


def test_what_people_wrote_about_the_model_is_quoted_and_what_nobody_wrote_is_said() -> None:
    made = card(papers.origin(), papers.chapter())
    assert "## Known failure modes\n\nFrom docs/models/recommendation.md" in made.markdown
    assert "- new customers get what sells" in made.markdown
    assert "says nothing under “Who it is fair to”" in made.markdown
    assert "<td>EASE</td>" in made.html


def test_people_cannot_write_markup() -> None:
    made = card(papers.origin(), papers.chapter(reason="<script>x</script>\n# Heading [a](http://b)"))
    assert "<script" not in made.html
    assert made.html.count("<h1>") == 1
    assert 'http://b"' not in made.html


def test_a_discarded_version_looks_like_one() -> None:
    gone = replace(papers.chapter(), discarded="champion fail", state="discarded")
    assert verdict(gone) == "fail"
    assert "Discarded, nobody was asked: champion fail" in card(papers.origin(), gone).markdown
    assert verdict(replace(gone, state="serves")) == "pass"
    assert verdict(replace(gone, state="waits for votes")) == "inconclusive"


def test_nested_parameters_are_one_level_and_limits_are_there() -> None:
    text = card(with_(papers.origin(), params={"blend": {"weight": 0.5}, "empty": {}}), papers.chapter()).markdown
    assert "| parameter | `blend.weight` | 0.5 |" in text
    assert "| parameter | `empty` | \\{\\} |" in text
    assert "| gate | `bias_max_gap` | 0.5 |" in text


def test_evidence_that_is_not_believed_is_said_to_be_so() -> None:
    made = card(papers.origin(), replace(papers.chapter(), doubt=CHANGED))
    assert f"## Performance\n\n**{CHANGED}**" in made.markdown
    assert "Not measured yet" not in made.markdown
    assert "evidence not believed." in made.html
