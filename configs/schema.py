"""What a person may decide, as types. An unknown key is refused; numbers carry their unit in the name.

Read by `configs.load`, which is the only reader of YAML and of the environment.
"""

from __future__ import annotations

from datetime import date
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from records import Answered, Fell, Role, digest_of

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Seconds = Annotated[float, Field(ge=0.0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)]


class Strict(BaseModel):
    """Base: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ---- datasets (configs/datasets/NAME.yaml) -------------------------------------------------------


class Source(Strict):
    """Where rows come from. Exactly one of `uri` and `sql` is given.

    `uri` may be `data://file` (bundled), a local path or any fsspec URI, with `{batch}` standing for the batch id;
    `sql.url_variable` names the environment variable that holds the SQLAlchemy URL (no secret in a file).
    """

    format: Literal["csv", "jsonl", "parquet", "sql"]
    uri: str | None = None
    query: str | None = None  # SELECT with the bound parameters :start and :end
    url_variable: str | None = None
    batch_rows: int = Field(default=100_000, ge=1)

    @model_validator(mode="after")
    def one_of(self) -> Source:
        if self.format == "sql" and not (self.query and self.url_variable and not self.uri):
            raise ValueError("a sql source needs query and url_variable, and no uri")
        if self.format != "sql" and not (self.uri and not self.query and not self.url_variable):
            raise ValueError(f"a {self.format} source needs uri, and neither query nor url_variable")
        return self


class Column(Strict):
    """A column that is let in. Anything not listed is left outside."""

    type: Literal["string", "int64", "float64", "timestamp", "bool"]
    subject: bool = False  # replaced by a keyed pseudonym before anything else sees it
    redact: bool = False  # a free text: addresses and long numbers are taken out before anything else sees it
    nullable: bool = False
    timezone: str | None = None  # of a timestamp without one in the source
    format: str | None = None  # strptime form of a timestamp given as text; ISO 8601 when not said
    meaning: str

    @model_validator(mode="after")
    def texts_are_redacted(self) -> Column:
        if self.redact and (self.type != "string" or self.subject):
            raise ValueError(
                "redact is for texts: type string, and not a subject, which becomes a pseudonym as a whole"
            )
        return self


class Dataset(Strict):
    name: Name
    table: Name
    description: str
    licence: str
    owner: str
    source: Source
    event_time: str
    columns: dict[str, Column]
    dropped: dict[str, str] = {}  # column -> reason it is left outside
    batches: Literal["month", "day", "whole"] = "month"  # how a source without batch files is cut
    suite: Name

    @model_validator(mode="after")
    def event_time_is_a_timestamp(self) -> Dataset:
        if self.event_time not in self.columns or self.columns[self.event_time].type != "timestamp":
            raise ValueError(f"event_time {self.event_time!r} must be one of the columns, of type timestamp")
        return self


# ---- models (configs/NAME.yaml) ---------- -----------------------------------------------------------


class StepConfig(Strict):
    percent: Percent
    min_seconds: Seconds
    min_answers: int = Field(ge=0)


class RolloutConfig(Strict):
    steps: tuple[StepConfig, ...] = Field(min_length=1)
    control_percent: Percent
    margin_fail: Share
    margin_pass: Share
    alpha: Share
    max_error_rate: Share
    max_late_rate: Share
    min_requests: int = Field(ge=1)
    missing_seconds: Seconds
    attribution_seconds: Seconds

    @field_validator("steps")
    @classmethod
    def steps_rise(cls, steps: tuple[StepConfig, ...]) -> tuple[StepConfig, ...]:
        percents = [step.percent for step in steps]
        if percents != sorted(set(percents)) or percents[-1] != 100.0:
            raise ValueError(f"percents must rise and end at 100, got {percents}")
        return steps


class GatesConfig(Strict):
    """Limits of the gates of a candidate."""

    champion_margin: float  # lower end of (candidate - champion) on the holdout must exceed this; 0 = must beat it
    baseline_margin: float
    bias_max_gap: Share  # largest difference of the metric between a segment and the whole, relative
    bias_min_rows: int = Field(ge=1)
    drift_max_psi: float = Field(ge=0)
    backtest_windows: int = Field(ge=1)
    backtest_min_wins: int = Field(ge=0)  # 0: shown, but decides nothing
    overfit_max_gap: float = Field(ge=0)  # (training - holdout) / training
    latency_p99_seconds: Seconds
    size_max_bytes: int = Field(ge=1)
    bootstrap_samples: int = Field(ge=100)


class SplitConfig(Strict):
    holdout_days: int = Field(ge=1)
    validation_days: int = Field(ge=1)  # before the holdout; hyper-parameters are chosen there
    outcome_days: int = Field(ge=1)  # horizon of the outcome


class ServingConfig(Strict):
    deadline_seconds: Seconds
    max_batch_rows: int = Field(ge=1)


class RefreshConfig(Strict):
    """The features of what serves, built anew from later rows."""

    min_rows_share: Share  # of the rows of training, and of the last refresh; with fewer it is not published
    max_age_hours: float = Field(ge=0)  # from `as_of` to now; older features are said to be. 0: no limit


class Cadence(Strict):
    every: Literal["weekly", "monthly", "seasonal", "never"]
    why: str


class MonitorConfig(Strict):
    """How a model is watched. Windows are of event time, on a fixed grid."""

    window_hours: int = Field(ge=1)
    windows: int = Field(ge=1)  # n: so many of the last windows are looked at,
    drifted_windows: int = Field(ge=1)  # k: and so many of them must drift before drift is said
    clean_windows: int = Field(ge=1)  # without drift before the guard lifts a drift freeze
    min_rows: int = Field(ge=1)  # a window with fewer answers is undecided
    reference_days: int = Field(ge=7)  # of history before the newest row that the reference is made of
    block_days: int = Field(ge=1)  # of it, to see how weeks differ without any drift
    bins: int = Field(ge=2)
    alpha: Share  # false discoveries over the features of a window (Benjamini and Hochberg)
    floor_psi: float = Field(ge=0)  # a smaller shift is of no practical size, however sure
    missing_limit: Share  # a share of missing values so much above the reference is corruption
    outside_limit: Share  # as is a share out of the declared range
    kpi_windows: int = Field(ge=1)  # the KPI is compared over so many windows
    level_weeks: int = Field(
        ge=0, le=52
    )  # before a release, that its KPI is known from; 0: whether both fell is not asked
    finding_seconds: Seconds  # a finding counts so long
    report_rows: int = Field(ge=100)  # sample of the Evidently report

    @model_validator(mode="after")
    def k_of_n(self) -> MonitorConfig:
        if self.drifted_windows > self.windows:
            raise ValueError(f"drifted_windows {self.drifted_windows} must not exceed windows {self.windows}")
        return self


class AuditConfig(Strict):
    """How what serves is audited for bias. Limit of the metric, smallest segment and bootstrap are those of the gate."""

    live_days: int = Field(ge=1)  # answers received so lately are looked at
    live_rows: int = Field(ge=1)  # the newest, at most so many
    live_max_gap: Share  # largest difference of the KPI between a segment and the whole, relative
    chosen: tuple[str, ...]  # answers that are a favour or a burden: who gets them is compared
    chosen_max_gap: Share  # largest difference of that share between a segment and the whole


class RetrainConfig(Strict):
    """What keeps retraining from starting itself again and again; by people it is not limited."""

    cool_down_hours: float = Field(ge=0)
    max_per_quarter: int = Field(ge=0)  # asked for by verdicts


class ModelConfig(Strict):
    name: Name
    enabled: bool = True
    description: str
    tables: dict[Name, Name]  # name the model uses -> dataset
    owners: tuple[str, ...] = Field(min_length=2)  # no single-owner model
    metric: str  # the offline metric that gates compare
    kpi: str
    seed: int
    params: dict[str, Any] = {}  # checked by the model's own Params
    policy: dict[str, Any] = {}  # checked by the model's own Policy
    split: SplitConfig
    gates: GatesConfig
    rollout: RolloutConfig
    serving: ServingConfig
    refresh: RefreshConfig
    cadence: Cadence
    monitor: MonitorConfig
    audit: AuditConfig
    retrain: RetrainConfig

    @field_validator("owners")
    @classmethod
    def owners_differ(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(owners)) < 2:
            raise ValueError("a model needs at least two different owners")
        return owners


# ---- the house (configs/defaults.yaml) -----------------------------------------------------------


Stage = Literal["data", "feature", "train", "validate", "approve", "deploy", "monitor", "retrain"]


class Owners(Strict):
    """Who is told when a stage fails."""

    data: str
    feature: str
    train: str
    validate_: str = Field(alias="validate")
    approve: str
    deploy: str
    monitor: str
    retrain: str

    def of(self, stage: Stage) -> str:
        return str(getattr(self, "validate_" if stage == "validate" else stage))


class ApprovalConfig(Strict):
    roles: dict[Literal["promote", "unfreeze", "resume", "restore", "advance", "enroll"], tuple[str, ...]]
    expires_seconds: Seconds
    max_attempts: int = Field(ge=1)  # invalid submissions in a reviewer's name within lock_seconds
    lock_seconds: Seconds
    backoff_seconds: Seconds  # doubled after each invalid submission of the same reviewer

    @field_validator("roles")
    @classmethod
    def roles_complete(cls, roles: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        missing = {"promote", "unfreeze", "resume", "restore", "advance", "enroll"} - set(roles)
        empty = {verb for verb, names in roles.items() if not names}
        if missing or empty:
            raise ValueError(f"every verb needs at least one role; missing: {sorted(missing | empty)}")
        return roles


class GuardConfig(Strict):
    tick_seconds: Seconds
    lease_seconds: Seconds
    readback_seconds: Seconds  # a replica that has not followed by then is escalated


class ServiceConfig(Strict):
    follow_seconds: Seconds  # how often a replica looks for a new plan
    max_age_seconds: Seconds  # a plan not confirmed for longer drops its canary
    fsync_seconds: Seconds
    segment_bytes: int = Field(ge=4096)
    segment_seconds: Seconds  # a segment of the journal that is older is sealed, so that quiet replicas ship
    journal_reserve_bytes: int = Field(ge=0)  # of the disk, held back for when it is full; 0: none
    journal_full: Literal["rules", "refuse"]  # once the reserve is used up, too
    journal_keep_seconds: Seconds  # what was shipped stays on the replica's disk for so long
    ship_seconds: Seconds  # between two passes of `grownet ship --follow`
    compact_files: int = Field(ge=2)  # a day of a model with more files in the lake is made few of
    max_body_bytes: int = Field(ge=1024)
    body_seconds: float = Field(gt=0)  # a body must be there by then
    header_seconds: float = Field(gt=0)  # as must a request's headers, or anything at all on a new connection
    header_bytes: int = Field(ge=1024)
    request_seconds: float = Field(gt=0)  # from headers to the last byte of the reply; then the connection is cut
    idle_seconds: float = Field(gt=0)  # between two requests of a connection
    max_connections: int = Field(ge=1)  # one more is told to come back; twice as many, and it is cut
    max_pipelined: int = Field(ge=1)  # requests of one connection waiting for their turn
    max_concurrency: int = Field(ge=1)
    retry_after_seconds: int = Field(ge=1)
    drain_lag_seconds: Seconds  # not ready, and still taking connections: for load balancers to notice
    drain_idle_seconds: Seconds  # an idle connection may still send its next request, which is answered
    drain_seconds: float = Field(gt=0)  # all in all for what is under way, after the lag
    access_log_share: Share  # of the requests; 0 is off
    access_log_addresses: bool  # a client's address is personal data
    shadow_queue: int = Field(ge=1)
    features_per_second: float = Field(ge=0)  # up to so many answers a second keep their features, above so many
    feedback_per_minute: int = Field(ge=1)  # from one key; more is told to come back
    feedback_per_subject: int = Field(ge=1)  # a minute, from one key about one subject
    trip_errors: int = Field(ge=1)  # errors of an arm within trip_window_seconds that make a replica drop it
    trip_window_seconds: Seconds
    trip_late: int = Field(ge=1)  # calls in a row that each took longer than the deadline, which do the same


class Route(Strict):
    """Where alerts of a level go."""

    slack: bool
    email: tuple[str, ...] = ()


class AlertsConfig(Strict):
    sender: str
    routes: dict[Literal["warning", "critical", "emergency"], Route]


class Defaults(Strict):
    """configs/defaults.yaml. `model` holds defaults that a model's file may override key by key."""

    owners: Owners
    approval: ApprovalConfig
    guard: GuardConfig
    service: ServiceConfig
    alerts: AlertsConfig
    model: dict[str, Any]


# ---- the decision table (configs/decisions.yaml) -------------------------------------------------

Corruption = Literal["stream", "journal", "snapshot", "batch", "no", "undecided"]
Action = Literal["freeze", "unfreeze", "fallback", "rollback", "take_back", "retrain", "incident"]
ROLES: tuple[Role, ...] = get_args(Role)
COMBINATIONS = tuple(product(get_args(Corruption), get_args(Answered), get_args(Fell)))  # corruption, drift, kpi


class Conditions(Strict):
    """What a row of the decision table applies to: the answers it lists of each input, or `any`."""

    corruption: Literal["any"] | tuple[Corruption, ...]
    drift: Literal["any"] | tuple[Answered, ...]
    kpi: Literal["any"] | tuple[Fell, ...]

    @field_validator("corruption", "drift", "kpi", mode="before")
    @classmethod
    def words(cls, given: Any) -> Any:
        """YAML 1.1 reads an unquoted yes or no as a truth value."""
        if not isinstance(given, list | tuple):
            return given
        return ["yes" if one is True else "no" if one is False else one for one in given]

    def match(self, corruption: str, drift: str, kpi: str) -> bool:
        given = ((self.corruption, corruption), (self.drift, drift), (self.kpi, kpi))
        return all(listed == "any" or answer in listed for listed, answer in given)


class Row(Strict):
    """One row of the decision table."""

    name: Name
    when: Conditions
    level: Literal["ok", "warning", "critical", "emergency", "inconclusive"]
    does: dict[Role, tuple[Action, ...]]
    freezes_for: str = ""  # what a freeze of this row is for; only one for drift is lifted without a vote
    owner: Stage
    title: str
    asks: str  # what people do now

    @model_validator(mode="after")
    def possible(self) -> Row:
        done = {action for actions in self.does.values() for action in actions}
        problems = [
            "does: every role needs its actions" if set(self.does) != set(ROLES) else "",
            "freeze and freezes_for go together" if ("freeze" in done) != bool(self.freezes_for) else "",
            "a freeze and an unfreeze in one row" if {"freeze", "unfreeze"} <= done else "",
            "an inconclusive row does nothing" if self.level == "inconclusive" and done else "",
            *(f"{role}: {action} is only for a {only}" for role, action, only in self._misplaced()),
        ]
        if any(problems):
            raise ValueError("; ".join(problem for problem in problems if problem))
        return self

    def _misplaced(self) -> list[tuple[str, str, str]]:
        only: dict[str, Role] = {"take_back": "canary", "rollback": "champion", "retrain": "champion"}
        return [
            (role, action, only[action])
            for role, actions in self.does.items()
            for action in actions
            if only.get(action, role) != role
        ]


class DecisionTable(Strict):
    """What follows from corruption, drift and a KPI drop. The first row that matches decides; the last takes the rest."""

    rows: tuple[Row, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def answers_everything(self) -> DecisionTable:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"every row needs a name of its own, got {names}")
        last = self.rows[-1]
        if not all(last.when.match(*combination) for combination in COMBINATIONS) or last.level != "inconclusive":
            raise ValueError(f"the last row must take everything and be inconclusive, got {last.name!r}")
        reached = {next(row.name for row in self.rows if row.when.match(*one)) for one in COMBINATIONS}
        if unreached := [name for name in names if name not in reached]:
            raise ValueError(f"rows that no combination reaches: {unreached}")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of all its rows, 64 hex characters; a ruling names the table it was read from."""
        return digest_of(self.model_dump(mode="json"))


# ---- the quarterly review (configs/compliance.yaml) ----------------------------------------------

Check = Literal["audit_chain", "owners", "approvals", "failure_modes", "bias_audited", "licences"]  # see tasks.proofs
Text = Annotated[str, Field(min_length=1)]


class ReviewItem(Strict):
    """One question of the review. With a `check` it is answered by us each day, without one by a person."""

    id: Name
    question: Text
    why: Text  # which promise it checks
    role: Name  # who answers, or mends what the check found
    owner: Stage  # whose address is told
    evidence: Text  # the command, or the page, to look at before answering
    check: Check | None = None
    since: date | None = None  # asked for from the quarter that this day lies in

    @field_validator("question")
    @classmethod
    def is_a_question(cls, text: str) -> str:
        if not text.endswith("?"):
            raise ValueError("must end with a question mark: yes is what should be")
        return text


class Compliance(Strict):
    """The review that people go through each calendar quarter (UTC)."""

    period: Literal["quarter"]
    due_days: int = Field(ge=1, le=90)  # after the quarter begins, or after the house's first ledger entry
    grace_days: int = Field(ge=0, le=90)  # later than that without an answer is overdue
    items: tuple[ReviewItem, ...] = Field(min_length=1)

    @field_validator("items")
    @classmethod
    def ids_differ(cls, items: tuple[ReviewItem, ...]) -> tuple[ReviewItem, ...]:
        if len({item.id for item in items}) < len(items):
            raise ValueError(f"every item needs an id of its own, got {[item.id for item in items]}")
        return items


# ---- settings (environment) ----------------------------------------------------------------------


class Settings(Strict):
    """The GROWNET_* environment variables, read once by `configs.load.settings`."""

    home: Path
    configs: Path
    ledger_url: str
    lake_uri: str
    artifacts_uri: str
    releases: Path  # folder of the release notes, one Markdown file a model; may lie in a git work tree
    mlflow_url: str
    prefect_url: str
    prefect_ui_url: str
    slack_url: str = ""  # secret
    smtp_url: str = ""  # smtp://user:password@host:port, secret
    kms_key_uri: str = ""
    replica: str = "replica-1"
    tls_cert: Path | None = None  # PEM, with the chain; together with tls_key the service speaks TLS only
    tls_key: Path | None = None
    tls_client_ca: Path | None = None  # with it, only clients that show a certificate of it
    demo: bool = False
    threads: int = Field(default=1, ge=1)

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset({"slack_url", "smtp_url"})

    @model_validator(mode="after")
    def tls_is_whole(self) -> Settings:
        if bool(self.tls_cert) != bool(self.tls_key) or (self.tls_client_ca and not self.tls_cert):
            raise ValueError("GROWNET_TLS_CERT and GROWNET_TLS_KEY go together, and GROWNET_TLS_CLIENT_CA needs both")
        return self


class Config(Strict):
    """Everything people decided, read and checked together."""

    defaults: Defaults
    models: dict[str, ModelConfig]
    datasets: dict[str, Dataset]
    decisions: DecisionTable

    @property
    def enabled(self) -> tuple[str, ...]:
        """The models that are switched on, sorted: only these are trained, watched and served."""
        return tuple(sorted(name for name, model in self.models.items() if model.enabled))

    compliance: Compliance
