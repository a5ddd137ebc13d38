"""Votes judged, approvals checked as serving checks them, codes matched."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from msgspec.structs import replace

from checks.ballots import is_author, judge_votes, matching_step, verify_approval
from errors import AdmissionRefused
from records import Approval, Arm, Decision, Vote
from stores.vault import Vault, Verifier
from tests.stores.ledger.world import MODEL, NOON, REVIEWERS, ROLES, arm, subject


def vote(reviewer: str, decision: Decision = "yes", *, role: str = "", about: str = "digest") -> Vote:
    return Vote(
        ballot="b1",
        subject=about,
        reviewer=reviewer,
        role=role or REVIEWERS[reviewer],
        decision=decision,
        reason="looked",
        cast_at=NOON,
    )


class TestJudge:
    def test_every_role_must_say_yes(self) -> None:
        cast: list[Vote] = []
        for reviewer in REVIEWERS:
            assert judge_votes("digest", cast, ROLES) == "open"
            cast.append(vote(reviewer))
        assert judge_votes("digest", cast, ROLES) == "approved"

    def test_any_no_refuses(self) -> None:
        cast = [vote("ada"), vote("ben", "no")]
        assert judge_votes("digest", cast, ROLES) == "refused"
        assert judge_votes("digest", [vote("ada"), vote("ben"), vote("cleo", "no")], ROLES) == "refused"

    def test_one_person_is_one_role(self) -> None:
        cast = [vote("ada", role=role) for role in ROLES]
        assert judge_votes("digest", cast, ROLES) == "open"

    def test_a_second_person_of_a_role_adds_nothing(self) -> None:
        cast = [vote("ada"), vote("ben", role=ROLES[0]), vote("cleo")]
        assert judge_votes("digest", cast, ROLES) == "open"

    def test_a_vote_over_something_else_does_not_count(self) -> None:
        cast = [vote("ada"), vote("ben"), vote("cleo", about="another")]
        assert judge_votes("digest", cast, ROLES) == "open"
        assert judge_votes("digest", [vote("cleo", "no", about="another")], ROLES) == "open"

    def test_nothing_required_approves_nothing(self) -> None:
        assert judge_votes("digest", [vote("ada")], ()) == "open"
        assert judge_votes("digest", [], ROLES) == "open"


class TestApproval:
    """An arm with three votes signed by the release key of a real vault."""

    @pytest.fixture
    def ring(self, tmp_path: Path) -> Verifier:
        return Vault.open(tmp_path, "reader").verifier

    @pytest.fixture
    def release(self, tmp_path: Path) -> Vault:
        return Vault.open(tmp_path, "release")

    @pytest.fixture
    def approved(self, release: Vault) -> Arm:
        chosen = arm(1)
        about = replace(subject(chosen, 0), ballot="b1")
        cast = [self.signed(release, vote(name, about=about.digest)) for name in REVIEWERS]
        return replace(chosen, approval=Approval(subject=about, votes=tuple(cast), required_roles=ROLES))

    @staticmethod
    def signed(vault: Vault, plain: Vote) -> Vote:
        signer = vault.signer
        return replace(plain, key=signer.id, signature=signer.sign(plain.unsigned()))

    @staticmethod
    def with_votes(chosen: Arm, *cast: Vote) -> Arm:
        assert chosen.approval is not None
        return replace(chosen, approval=replace(chosen.approval, votes=cast))

    def check(self, chosen: Arm, ring: Verifier) -> None:
        verify_approval(chosen, ring.verify, model=MODEL, roles=ROLES)

    def test_a_full_approval_admits(self, approved: Arm, ring: Verifier) -> None:
        self.check(approved, ring)

    def test_none_is_refused(self, ring: Verifier) -> None:
        with pytest.raises(AdmissionRefused, match="ballot over it"):
            self.check(arm(1), ring)

    @pytest.mark.parametrize("field", ["artifact", "evidence", "config", "features", "model"])
    def test_anything_else_than_voted_on_is_refused(self, approved: Arm, ring: Verifier, field: str) -> None:
        assert approved.artifact is not None
        assert approved.features is not None
        definition = replace(approved.features.version, content="f" * 64)
        others: dict[str, dict[str, Any]] = {
            "artifact": {"artifact": replace(approved.artifact, content="f" * 64)},
            "evidence": {"evidence": "f" * 64},
            "config": {"config": ""},
            "features": {"features": replace(approved.features, version=definition)},
            "model": {},
        }
        model = "demand" if field == "model" else MODEL
        with pytest.raises(AdmissionRefused, match=field.removesuffix("s")):
            verify_approval(replace(approved, **others[field]), ring.verify, model=model, roles=ROLES)

    def test_a_missing_role_is_refused_whatever_the_approval_claims(self, approved: Arm, ring: Verifier) -> None:
        assert approved.approval is not None
        fewer = self.with_votes(approved, *approved.approval.votes[:2])
        with pytest.raises(AdmissionRefused, match="a yes of each"):
            self.check(fewer, ring)
        assert fewer.approval is not None
        claiming = replace(fewer, approval=replace(fewer.approval, required_roles=ROLES[:2]))
        with pytest.raises(AdmissionRefused, match="a yes of each"):
            self.check(claiming, ring)

    def test_a_changed_vote_is_refused(self, approved: Arm, ring: Verifier) -> None:
        assert approved.approval is not None
        one, two, three = approved.approval.votes
        with pytest.raises(AdmissionRefused, match="valid signature"):
            self.check(self.with_votes(approved, one, two, replace(three, reason="forged")), ring)

    def test_a_vote_of_another_ballot_is_refused(self, approved: Arm, ring: Verifier, release: Vault) -> None:
        assert approved.approval is not None
        one, two, _ = approved.approval.votes
        other = self.signed(release, replace(vote("cleo", about=one.subject), ballot="b2"))
        with pytest.raises(AdmissionRefused, match="vote over"):
            self.check(self.with_votes(approved, one, two, other), ring)

    @pytest.mark.parametrize("holder", ["operator:eve", "guard"])
    def test_a_vote_signed_by_a_key_for_plans_is_refused(
        self, approved: Arm, ring: Verifier, tmp_path: Path, holder: str
    ) -> None:
        assert approved.approval is not None
        one, two, three = approved.approval.votes
        forged = self.signed(Vault.open(tmp_path, holder), replace(three, key="", signature=""))
        with pytest.raises(AdmissionRefused, match="the release key"):
            self.check(self.with_votes(approved, one, two, forged), ring)
        with pytest.raises(AdmissionRefused, match="valid signature"):
            self.check(self.with_votes(approved, one, two, replace(forged, key="release")), ring)


class TestCode:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # the key of RFC 6238, appendix B

    def code(self, shift: int) -> str:
        return str(pyotp.TOTP(self.secret).at(NOON + timedelta(seconds=30 * shift)))

    def test_the_vector_of_the_rfc(self) -> None:
        at = datetime(1970, 1, 1, 0, 0, 59, tzinfo=UTC)
        assert matching_step(self.secret, "287082", at) == 1

    @pytest.mark.parametrize("shift", [-1, 0, 1])
    def test_a_step_to_either_side_is_taken(self, shift: int) -> None:
        assert matching_step(self.secret, self.code(shift), NOON) == int(NOON.timestamp()) // 30 + shift

    @pytest.mark.parametrize("shift", [-2, 2])
    def test_two_steps_away_is_too_far(self, shift: int) -> None:
        assert matching_step(self.secret, self.code(shift), NOON) is None

    def test_it_is_judged_at_the_time_given_not_now(self) -> None:
        assert matching_step(self.secret, self.code(0), NOON + timedelta(minutes=5)) is None

    def test_spaces_are_forgiven(self) -> None:
        code = self.code(0)
        assert matching_step(self.secret, f" {code[:3]} {code[3:]}\n", NOON) is not None

    @pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "１２３４５６", "-12345", "12345\x00"])
    def test_what_is_no_code_matches_nothing(self, typed: str) -> None:
        assert matching_step(self.secret, typed, NOON) is None

    def test_another_secret_matches_nothing(self) -> None:
        assert matching_step("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", self.code(0), NOON) is None


@pytest.mark.parametrize(
    ("names", "authors", "expected"),
    [
        (["ada"], ["Ada <ada@example.org>"], True),
        (["ada", "ADA@example.org"], ["Lovelace <ada@example.org>"], True),
        (["ben"], ["Ada <ada@example.org>"], False),
        (["ada"], ["ada"], True),
        (["ada"], ["adam", ""], False),
        (["", "x"], ["", " <>"], False),
        (["ada"], [], False),
    ],
)
def test_an_author_is_known_by_name_or_address(names: list[str], authors: list[str], expected: bool) -> None:
    assert is_author(names, authors) is expected
