import pytest
from msgspec.structs import replace

from errors import LedgerError, NotFound, TamperError
from records import Candidate, Evidence, Gate
from stores.ledger import audit, evidence
from tests.stores.ledger.world import MODEL, NOON, World, arm, by_hand

ARM = arm(1)
assert ARM.artifact is not None
assert ARM.features is not None
assert ARM.versions is not None
CANDIDATE = Candidate(
    id="c1",
    model=MODEL,
    number=1,
    artifact=ARM.artifact,
    features=ARM.features,
    versions=ARM.versions,
    config_digest="c",
    commit="abc",
    authors=("ada",),
    run_id="r",
    reason="monthly",
    created_at=NOON,
    trained_until=NOON,
)
EVIDENCE = Evidence(
    candidate="c1",
    model=MODEL,
    artifact=ARM.artifact.content,
    gates=(Gate(name="champion", outcome="pass", reason="better", figures={"difference": 1}),),
    metrics={"hit_rate": 0},
    intervals={"difference": (0, 1)},
    created_at=NOON,
)


def test_a_candidate_is_written_once(world: World) -> None:
    flow = world.ledgers["flow"]
    for _ in range(2):
        evidence.save_candidate(flow, CANDIDATE)
    assert evidence.candidate(flow, "c1") == CANDIDATE
    assert evidence.candidates(flow, MODEL) == [CANDIDATE]
    assert evidence.candidates(flow, "demand") == []
    assert audit.verify(flow) == 1
    with pytest.raises(LedgerError, match="another candidate"):
        evidence.save_candidate(flow, replace(CANDIDATE, commit="def"))
    with pytest.raises(NotFound):
        evidence.candidate(flow, "c2")


def test_an_answer_leads_from_its_artifact_to_the_candidate(world: World) -> None:
    flow = world.ledgers["flow"]
    evidence.save_candidate(flow, CANDIDATE)
    assert evidence.candidate_of_artifact(flow, CANDIDATE.artifact.content) == CANDIDATE
    assert evidence.candidate_of_artifact(flow, "other") is None


def test_evidence_is_found_by_its_digest(world: World) -> None:
    flow = world.ledgers["flow"]
    digest = evidence.save_evidence(flow, EVIDENCE)
    assert evidence.save_evidence(flow, EVIDENCE) == digest
    found = evidence.evidence(flow, digest)
    assert found == EVIDENCE
    assert found.digest == digest  # although whole numbers were given where floats are kept
    assert evidence.evidence_of(flow, "c1") == [found]
    with pytest.raises(NotFound):
        evidence.evidence(flow, "f" * 64)


def test_a_discarded_candidate_keeps_its_first_reason(world: World) -> None:
    flow = world.ledgers["flow"]
    evidence.save_candidate(flow, CANDIDATE)
    assert evidence.discarded(flow, "c1") is None
    evidence.discard(flow, "c1", "worse than the champion")
    evidence.discard(flow, "c1", "another reason")
    assert evidence.discarded(flow, "c1") == "worse than the champion"
    with pytest.raises(NotFound):
        evidence.discard(flow, "c2", "why")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DELETE FROM candidates", "candidate c1"),
        ("UPDATE candidates SET payload = replace(payload, 'monthly', 'weekly')", "candidate c1"),
        ("UPDATE candidates SET artifact = 'x'", "candidate c1"),
        ("UPDATE candidates SET payload = '{garbage'", "candidate c1"),
        ("DELETE FROM evidence", f"evidence {EVIDENCE.digest}"),
        ("UPDATE evidence SET payload = replace(payload, 'better', 'best')", f"evidence {EVIDENCE.digest}"),
        ("UPDATE evidence SET candidate = 'c2'", f"evidence {EVIDENCE.digest}"),
        ("DELETE FROM discards", "discard of c1"),
        ("UPDATE discards SET reason = 'none'", "discard of c1"),
    ],
)
def test_what_was_changed_or_is_gone_is_found(world: World, change: str, named: str) -> None:
    flow = world.ledgers["flow"]
    evidence.save_candidate(flow, CANDIDATE)
    evidence.save_evidence(flow, EVIDENCE)
    evidence.discard(flow, "c1", "too slow")
    assert evidence.verify(world.ledgers["reader"]) == (1, 1)
    by_hand(world, change)
    with pytest.raises(TamperError, match=named):
        evidence.verify(world.ledgers["reader"])


def test_a_candidate_that_cannot_be_read_is_named(world: World) -> None:
    evidence.save_candidate(world.ledgers["flow"], CANDIDATE)
    by_hand(world, "UPDATE candidates SET payload = '{garbage'")
    with pytest.raises(TamperError, match="candidate c1"):
        evidence.candidate(world.ledgers["reader"], "c1")
