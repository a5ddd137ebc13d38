"""The small frozen records that travel between stages; each leads back to what it came from.

    source -> Snapshot -> FeatureSet -> Candidate -> Evidence -> [Ballot] -> ReleasePlan -> Answer -> Feedback -> counters -> guard

A record is data only: it is written as JSON with sorted keys, and its digest is the SHA-256 of those bytes,
so the same class checks it on both sides. An unknown or missing field is refused when it is read back.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec

RecordT = TypeVar("RecordT", bound="Record")
Outcome = Literal["pass", "fail", "inconclusive"]
Decision = Literal["yes", "no"]
ArmName = Literal["champion", "previous", "canary", "shadow", "control"]
Level = Literal["ok", "warning", "critical", "emergency"]
Answered = Literal["yes", "no", "undecided"]  # an input of the decision table; labels not due are undecided
Fell = Literal["yes", "both", "no", "undecided"]  # the KPI: yes, its control beats it; both, its control fell with it
Corrupted = Literal["stream", "journal", "snapshot", "batch"]  # where; the last one at the door
Role = Literal["canary", "champion", "rules"]  # what the decision table is asked about
Verb = Literal["promote", "unfreeze", "resume", "restore", "advance", "enroll"]
RULES = 0  # the version number of "the rules", which need no artifact


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword only, strict when decoded."""

    def to_json(self) -> bytes:
        """The canonical bytes: UTF-8 JSON, keys sorted, no spaces."""
        return canonical(self)

    @classmethod
    def from_json(cls: type[RecordT], data: bytes | str) -> RecordT:
        """Reads what `to_json` wrote; raises `msgspec.ValidationError` for anything else."""
        return msgspec.json.decode(data, type=cls)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes as they are after reading them back, 64 hex characters.

        Read back first, because a 0 given for a float is written "0" and read as 0.0: equal records have one digest.
        """
        return digest_bytes(canonical(type(self).from_json(self.to_json())))


def canonical(value: Any) -> bytes:
    """JSON bytes that are the same for equal values, whatever order their keys were given in."""
    return msgspec.json.encode(value, order="sorted")


def digest_bytes(data: bytes) -> str:
    """SHA-256 as 64 hex characters."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of any plain value."""
    return digest_bytes(canonical(value))


def utc_now() -> datetime:
    """The wall clock, in UTC. Only effects read it; arithmetic takes the time as an argument."""
    return datetime.now(UTC)


class Version(Record, frozen=True, kw_only=True):
    """A number people say and a digest machines check."""

    name: str  # "data_v3", "feature_v1", "recommendation-v2", "pipeline_v4"
    number: int
    content: str  # SHA-256 of what the number stands for


class Snapshot(Record, frozen=True, kw_only=True):
    """A version of a lake table."""

    table: str
    version: Version  # data_vN; its content digest covers the digests of all batches in order
    delta_version: int
    rows: int
    batches: tuple[str, ...]  # batch ids, in the order they were taken in
    suite: str  # digest of the expectations that judged the newest batch
    newest: datetime | None = None  # largest event time in the table


class FeatureSet(Record, frozen=True, kw_only=True):
    """What `build` made for every subject of the snapshots at `as_of`."""

    model: str
    version: Version  # feature_vN: the definitions, not the rows
    as_of: datetime
    uri: str  # encrypted Parquet in the artifact store
    content: str  # SHA-256 of the plaintext Parquet
    rows: int
    snapshots: tuple[Snapshot, ...]


class Refreshed(Record, frozen=True, kw_only=True):
    """Features of later rows for a version that serves, built by its own parameters; signed by the refresh flow's key."""

    model: str
    artifact: str  # content digest of the version
    number: int  # 1 is the first after training's own; a replica never goes back
    features: FeatureSet
    made_at: datetime  # wall clock
    key: str = ""
    signature: str = ""  # hex, over the record with the signature empty

    def unsigned(self) -> bytes:
        return msgspec.structs.replace(self, signature="").to_json()


class Artifact(Record, frozen=True, kw_only=True):
    """An encrypted bundle. The digest is of the plaintext; what is stored at the URI is ciphertext."""

    uri: str
    content: str
    size_bytes: int  # of the plaintext


class Versions(Record, frozen=True, kw_only=True):
    data: Version
    feature: Version
    model: Version
    pipeline: Version


class Manifest(Record, frozen=True, kw_only=True):
    """What a bundle says of itself. Nothing in it depends on clock, machine or run: equal input gives equal bytes."""

    model: str
    number: int
    name: str  # "recommendation-v2"
    versions: Versions
    config_digest: str
    params: dict[str, Any]  # checked by the model's Params
    policy: dict[str, Any]  # checked by the model's Policy
    serving: dict[str, Any]  # ServingConfig
    features: FeatureSet  # the snapshot to serve with
    trained_until: datetime  # the cut: rows before it were learned from
    kpi: str
    judge: Literal["split", "paired"]


class Order(Record, frozen=True, kw_only=True):
    """What a training is asked for with. A verdict and a cadence exclude each other; a person gives neither."""

    model: str
    reason: str = ""  # a person must give one; a verdict and a cadence have theirs
    verdict: str = ""  # id of the Ruling that asks for it
    segment: str = ""  # "country=home"
    cadence: Literal["", "weekly", "monthly", "seasonal"] = ""
    period: str = ""  # of the cadence, set when the order is accepted


class Candidate(Record, frozen=True, kw_only=True):
    """A trained model that nobody has judged yet."""

    id: str
    model: str
    number: int  # N of model-vN
    artifact: Artifact
    features: FeatureSet
    versions: Versions
    config_digest: str
    commit: str
    authors: tuple[str, ...]  # of the commit and of the configuration; they cannot vote
    run_id: str  # MLflow run
    reason: str
    created_at: datetime
    trained_until: datetime  # the cut: rows before it were learned from, rows after it are the holdout
    verdict: str = ""  # id of the Ruling that asked for it
    segment: str = ""  # "country=home": it must be better there as well
    period: str = ""  # of its cadence that it was trained for, "monthly 2026-11"


class Gate(Record, frozen=True, kw_only=True):
    """One check of a candidate."""

    name: str
    outcome: Outcome
    reason: str  # one sentence a reviewer can read
    figures: dict[str, float]
    required: bool = True  # an inconclusive required gate keeps a candidate from the ballot


class Evidence(Record, frozen=True, kw_only=True):
    """All that is known of a candidate when people are asked."""

    candidate: str
    model: str
    artifact: str  # content digest of the artifact judged
    gates: tuple[Gate, ...]
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    created_at: datetime

    @property
    def passed(self) -> bool:
        """True when no gate failed and every required one passed; an empty list of gates is not a pass."""
        return bool(self.gates) and all(
            gate.outcome == "pass" or (gate.outcome == "inconclusive" and not gate.required) for gate in self.gates
        )

    @property
    def reason(self) -> str:
        """Why it did not pass, gate by gate; empty when it did."""
        bad = [g for g in self.gates if g.outcome == "fail" or (g.required and g.outcome == "inconclusive")]
        return "; ".join(f"{gate.name} {gate.outcome}: {gate.reason}" for gate in bad)


class Step(Record, frozen=True, kw_only=True):
    """One step of a rollout. `percent` of the routing keys go to the canary (0 = shadow only, 100 = promoted)."""

    percent: float
    min_seconds: float
    min_answers: int  # matured answers of the arm under judgement


class RolloutGates(Record, frozen=True, kw_only=True):
    """The limits a rollout is judged by, fixed when the ballot opens."""

    kpi: str
    margin_fail: float  # relative effect: drop when the interval's upper end is below -margin_fail
    margin_pass: float  # pass when its lower end is above -margin_pass
    alpha: float  # stated false-alarm rate of the always-valid interval
    max_error_rate: float
    max_late_rate: float  # share of answers past the deadline
    min_requests: int  # before an error rate means something
    missing_seconds: float  # without matured answers for longer than this: hold
    attribution_seconds: float  # event time after which an answer without feedback counts as matured


class Rollout(Record, frozen=True, kw_only=True):
    steps: tuple[Step, ...]
    gates: RolloutGates
    control_percent: float  # stays on the previous version (or the rules) after 100 %


class BallotSubject(Record, frozen=True, kw_only=True):
    """What a vote covers. Its digest is what votes are signed over; anything changed voids the ballot."""

    ballot: str
    model: str
    verb: Verb
    artifact: str  # content digest, empty for a verb that concerns no artifact
    evidence: str
    rollout: str  # digest of steps and gates
    config: str
    feature: str  # content digest of feature_vN
    base_revision: int
    names_freeze: bool
    detail: str = ""  # for enroll: what is asked ("reviewer ada as privacy_officer, secret digest ...")


class Vote(Record, frozen=True, kw_only=True):
    """A verified vote, signed by the key that only the release flow holds."""

    ballot: str
    subject: str  # digest of the BallotSubject
    reviewer: str
    role: str
    decision: Decision
    reason: str
    cast_at: datetime  # when the input was created on the server
    key: str = ""  # id of the signing key
    signature: str = ""  # hex, over the record with key and signature empty

    def unsigned(self) -> bytes:
        return msgspec.structs.replace(self, key="", signature="").to_json()


class Approval(Record, frozen=True, kw_only=True):
    """The leave to serve: what was asked and the votes that answered, checked again where a model is loaded."""

    subject: BallotSubject
    votes: tuple[Vote, ...]
    required_roles: tuple[str, ...]


class Arm(Record, frozen=True, kw_only=True):
    """A version that may answer. Number 0 is the rules, which carry nothing else."""

    number: int
    name: str  # "recommendation-v2", or "rules"
    artifact: Artifact | None = None
    features: FeatureSet | None = None
    versions: Versions | None = None
    evidence: str = ""  # digest
    config: str = ""  # digest of the configuration voted on
    approval: Approval | None = None

    @property
    def is_rules(self) -> bool:
        return self.number == RULES


class ReleasePlan(Record, frozen=True, kw_only=True):
    """What serves a model: one current revision per model, small enough to read aloud."""

    model: str
    revision: int
    mode: Literal["model", "rules"]
    champion: Arm
    previous: Arm | None = None
    canary: Arm | None = None
    canary_percent: float = 0.0  # 0 while the canary only shadows
    control: Arm | None = None
    control_percent: float = 0.0
    rollout: Rollout | None = None  # of the canary, or of the champion while a control stays
    step: int = 0
    step_started_at: datetime | None = None
    rollout_started_at: datetime | None = None
    salt: str = ""
    frozen: bool = False
    frozen_for: str = ""  # "drift" is lifted by the guard after clean windows; anything else takes a ballot
    hold: bool = False
    rejected: tuple[str, ...] = ()  # content digests of failed canaries, for good
    reason: str
    actor: str
    created_at: datetime
    audit_head: str = ""  # hash of the audit entry written with the revision before this one


class SignedPlan(Record, frozen=True, kw_only=True):
    """The plan's exact bytes and who signed them."""

    payload: str
    key: str
    signature: str  # hex

    @property
    def plan(self) -> ReleasePlan:
        return ReleasePlan.from_json(self.payload)


class Answer(Record, frozen=True, kw_only=True):
    """A journal entry, written before the reply leaves. `arm` is the one that answered; scores made off the path for judging carry `paired_with`."""

    prediction_id: str
    model: str
    arm: str  # champion | canary | control | shadow | rules
    version: int
    artifact: str  # content digest, empty for rules
    revision: int
    event_time: datetime
    received_at: datetime
    subject: str  # pseudonym, or empty
    bucket: int  # subject-hash bucket, 0..199
    decision: Any  # what was replied, JSON
    override: str = ""  # "", deadline, error, break_glass, not_loaded, stale, tripped
    overruled: bool = False  # the policy rule changed the proposal
    latency_us: int = 0
    features: Any = None  # sampled
    paired_with: str = ""  # prediction id of the live answer this shadow score belongs to
    salt: str = ""  # of the rollout the key was dealt under
    failed_arm: str = ""  # with override error or deadline: the arm that was asked, when the rules answered for it
    failed_version: int = 0
    snapshot: str = ""  # content digest of the features that were looked up; empty where there were none


class Feedback(Record, frozen=True, kw_only=True):
    """What happened after an answer, as reported. The first one counts."""

    prediction_id: str
    model: str
    outcome: Any
    event_time: datetime
    received_at: datetime
    key: str  # id of the API key that sent it


class Counter(Record, frozen=True, kw_only=True):
    """A small additive row written by serving: how the arms did on the subjects of one bucket in one hour of event time.

    For a paired model `other_*` holds the champion's value on the same requests; for a split one it stays 0.
    """

    model: str
    salt: str  # of the rollout
    arm: str
    version: int
    bucket: int
    hour: datetime  # event time, truncated
    answers: int = 0  # requests answered (before feedback)
    errors: int = 0  # the arm failed and the rules answered
    late: int = 0
    matured: int = 0  # answers with feedback
    total: float = 0.0  # sum of the KPI
    squares: float = 0.0
    other_total: float = 0.0
    other_squares: float = 0.0
    cross: float = 0.0  # sum of products, for the paired variance


class Trip(Record, frozen=True, kw_only=True):
    """A replica refused or dropped an arm by itself."""

    id: str
    model: str
    replica: str
    revision: int
    arm: str
    artifact: str
    reason: str
    at: datetime
    kind: Literal["refused", "dropped", "late"] = "refused"  # not admitted; or dropped, for failing or for being late


class ReplicaState(Record, frozen=True, kw_only=True):
    """What a replica says it serves; the guard reads it back after every switch."""

    replica: str
    model: str
    revision: int
    loaded: dict[str, str]  # arm -> content digest ("rules" for the rules)
    at: datetime
    url: str = ""


class Incident(Record, frozen=True, kw_only=True):
    """Something that went wrong, as the guard saw it begin, acted, and saw it end. People explain it, and close it then.

    Times are those of the wall clock; None is not known, or not yet.
    """

    id: str
    model: str
    level: Level
    kind: str  # kpi_drop, both_down, errors, late, both_bad, refused_artifact, corruption
    summary: str
    evidence: dict[str, Any]
    first_bad_at: datetime | None  # the first bad answer, as near as it is known
    detected_at: datetime  # the figures said so
    decided_at: datetime | None = None  # what to do was concluded
    switched_at: datetime | None = None  # the plan that does it was written
    restored_at: datetime | None = None  # every living replica serves it; or, where nothing was done, it was over
    closed_at: datetime | None = None  # explained, by two people
    revision: int = 0  # of the plan that answered it; 0 where none did
    failed_requests: int = 0
    owner: str = ""
    actions: tuple[str, ...] = ()
    status: Literal["open", "closed"] = "open"


class IncidentEntry(Record, frozen=True, kw_only=True):
    """What a person says of an incident, signed with the person's own key: a note, its root cause, or leave to close it so."""

    incident: str
    number: int  # 1 is the first; all are kept
    kind: Literal["note", "cause", "agreed"]
    text: str
    evidence: str = ""  # of a cause: where it can be looked at
    covers: str = ""  # of an agreement: digest of the cause it agrees to
    at: datetime
    key: str  # "operator:NAME"
    signature: str = ""  # hex, over the record with the signature empty

    def unsigned(self) -> bytes:
        return msgspec.structs.replace(self, signature="").to_json()


class GuardVerdict(Record, frozen=True, kw_only=True):
    """What the guard concluded about an arm, with everything it concluded it from."""

    id: str
    model: str
    arm: str
    version: int
    revision: int
    kpi: Literal["drop", "pass", "inconclusive"]
    action: str  # none, advance, promote, rollback, hold, fallback
    reason: str
    effect: float | None  # relative, (arm - control) / control
    low: float | None
    high: float | None
    matured: int
    needed: int | None  # matured answers still needed to decide, None when unknown
    inputs: dict[str, Any]
    at: datetime


class Finding(Record, frozen=True, kw_only=True):
    """What the monitor flow (or the door) says of one input of the decision table, until it expires.

    The newest unexpired one of a kind counts; after that the input is undecided.
    """

    id: str
    model: str
    kind: Literal["corruption", "batch", "drift", "kpi", "level"]  # batch: at the door; level: whether both fell
    answer: Answered
    where: Corrupted | Literal[""] = ""  # of a corruption, or batch
    version: int  # of the model that answered in the window; RULES for the rules
    window_start: datetime  # event time, [start, end)
    window_end: datetime
    reason: str  # one sentence a person on call can read
    figures: dict[str, Any]  # by name; what a replay needs to derive the answer again
    report: str = ""  # page below home
    found_at: datetime  # wall clock, as expires_at
    expires_at: datetime


class Ruling(Record, frozen=True, kw_only=True):
    """What the guard read from the decision table, with everything it read it from; `grownet replay` derives it again."""

    id: str
    model: str
    role: Role
    revision: int
    version: int  # of the arm in that role; RULES in rules mode
    corruption: Corrupted | Literal["no", "undecided"]
    drift: Answered
    kpi: Fell
    row: str  # name of the row of the table that applied
    table: str  # digest of the table
    level: Literal["ok", "warning", "critical", "emergency", "inconclusive"]
    actions: tuple[str, ...]  # freeze, fallback, rollback, take_back, retrain, incident, unfreeze
    asked: str  # what people are asked to do
    reason: str
    inputs: dict[str, Any]  # findings, the judged comparison, the limits and the times: plain values
    at: datetime


class AlertBody(Record, frozen=True, kw_only=True):
    """What the body of an alert says; `OutboxEvent.body` holds it as plain values."""

    what: str  # what happened, in a sentence or two
    evidence: dict[str, Any]  # figures by name
    done: str  # what was done already
    owner: str
    next: str  # what the reader does now
    link: str  # where to look: an address or a command


class SegmentFigure(Record, frozen=True, kw_only=True):
    """One segment of subjects against all of them. Without a gap it was too small to judge."""

    kind: str
    name: str
    count: int  # subjects
    mean: float | None
    gap: float | None = None
    low: float | None = None  # 95 % interval of the gap
    high: float | None = None
    answer: Answered = "undecided"  # whether the gap is beyond the limit


class BiasAudit(Record, frozen=True, kw_only=True):
    """What an audit found about what serves a model, by segment and by one measure. People read it; nothing acts on it."""

    id: str
    model: str
    source: Literal["history", "live", "chosen"]  # metric on the newest rows, KPI of answers, share of a certain answer
    metric: str  # what was averaged over the subjects of a segment
    answer: Answered  # whether a segment is further from the whole than allowed
    version: int  # RULES for the rules
    window_start: datetime
    window_end: datetime
    subjects: int
    overall: float | None
    limit: float
    segments: tuple[SegmentFigure, ...]
    reason: str  # one sentence a person can read
    report: str  # page below home
    found_at: datetime


class ReviewAnswer(Record, frozen=True, kw_only=True):
    """An answer to an item of the quarterly review: by a person, signed with the person's own key, or by a check of ours."""

    quarter: str  # "2026-Q4"
    item: str
    number: int  # 1 is the first answer in the quarter; the last one counts, all are kept
    answer: Decision
    reason: str
    question: str  # as it was asked
    role: str  # in which it was answered
    at: datetime
    key: str  # "operator:NAME"; "audit" for a check, which signs nothing: the audit log tells who wrote it
    signature: str = ""  # hex, over the record with the signature empty

    def unsigned(self) -> bytes:
        return msgspec.structs.replace(self, signature="").to_json()


class ReviewState(Record, frozen=True, kw_only=True):
    """What is wrong with a quarter's review since a moment; written when it becomes another."""

    quarter: str
    number: int
    overdue: tuple[str, ...]  # items
    refused: tuple[str, ...]  # items whose answer is no
    at: datetime


class OutboxEvent(Record, frozen=True, kw_only=True):
    """Something people or Prefect must hear of, written in the same transaction as what it tells."""

    id: str
    kind: Literal["alert", "event"]
    level: Level
    model: str
    name: str  # grownet.alert.critical, grownet.release.changed, grownet.retrain.requested
    title: str
    body: dict[str, Any]  # of an alert: an AlertBody
    at: datetime
