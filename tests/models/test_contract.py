"""The contract, for every model found on disk: it holds before the model's author writes a first test."""

from __future__ import annotations

import ast
import inspect
import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from checks.assignment import bucket
from checks.freshness import refuse_unlike
from checks.plans import initial
from errors import ConfigError, TamperError
from models.contract import Decided, Model, Past, Proposal, configure, feature_digest, names
from records import Answer, Feedback, ReleasePlan
from serving.mapped import mapped
from stores.artifacts import Artifacts, parquet
from stores.journal import Journal
from stores.lake import Lake
from stores.segments import Entry, minute_of
from stores.shipped import Shipped
from stores.vault import Vault
from tasks.questions import rollout_of
from tasks.reading import Journals
from tasks.reference import SAID
from tasks.served import Served
from tasks.shadow import Ground, Report, made
from tasks.shadow_page import describe, write
from tasks.shadow_pairs import about, read
from tasks.trial import Trial
from tests.stores.ledger.world import arm

if TYPE_CHECKING:
    from tests.models.conftest import Case

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)
KINDS = {"string": "str", "int64": "int64", "float64": "float64", "bool": "bool"}
LIBRARIES = ("sklearn", "lightgbm", "scipy", "fairlearn", "threadpoolctl")
FUNCTIONS = [name for name, value in vars(Model).items() if inspect.isfunction(value) and not name.startswith("_")]


def test_there_are_models() -> None:
    assert "recommendation" in names()
    assert len(FUNCTIONS) > 10


def test_functions_have_the_arguments_of_the_contract(case: Case) -> None:
    for name in FUNCTIONS:
        expected = list(inspect.signature(getattr(Model, name)).parameters)[1:]  # without self
        assert list(inspect.signature(getattr(case.model, name)).parameters) == expected, name


def test_judge_and_types(case: Case) -> None:
    assert case.model.JUDGE in {"split", "paired"}
    for kind in (case.model.Params, case.model.Policy, case.model.Request, case.model.Outcome):
        assert issubclass(kind, msgspec.Struct)
        assert kind.__struct_config__.forbid_unknown_fields, kind


def test_unknown_parameter_and_policy_are_refused_together(case: Case) -> None:
    wrong = case.config.model_copy(
        update={"params": {**case.config.params, "surprise": 1}, "policy": {**case.config.policy, "surprise": 1}}
    )
    with pytest.raises(ConfigError) as caught:
        configure(case.model, wrong)
    assert len(caught.value.problems) == 2


def test_features_are_as_declared(case: Case) -> None:
    frame = case.features
    assert len(frame) >= 50
    assert list(frame.columns) == [feature.name for feature in case.model.FEATURES]
    for feature in case.model.FEATURES:
        column = frame[feature.name]
        assert feature.meaning
        assert column.notna().all(), feature.name
        if feature.dtype in KINDS:
            assert str(column.dtype) == KINDS[feature.dtype], feature.name
        if feature.dtype in {"int64", "float64"}:
            assert feature.low is not None, f"{feature.name}: a number needs a range"
            assert feature.high is not None, f"{feature.name}: a number needs a range"
            assert column.between(feature.low, feature.high).all(), feature.name


def test_the_same_rows_in_any_order_give_the_same_features_and_the_same_bytes(case: Case) -> None:
    turned = {name: frame.sample(frac=1, random_state=5) for name, frame in case.tables.items()}
    again = case.model.build(turned, case.as_of, case.params)
    pd.testing.assert_frame_equal(ordered(again), ordered(case.features))
    fitted = case.model.fit(turned, case.as_of, case.params, case.config.seed)
    assert case.model.dump(fitted) == case.model.dump(case.fitted)


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a share and a seed are as small as they get: shrinking them only takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(share=st.floats(0.2, 0.95), seed=st.integers(0, 2**16))
def test_what_happens_later_changes_nothing(case: Case, share: float, seed: int) -> None:
    """Rows at or after `as_of` are removed, repeated or given other values: the features stay the same."""
    as_of = case.tables[next(iter(case.tables))][case.times[next(iter(case.tables))]].quantile(share).to_pydatetime()
    changed = {alias: disturbed(frame, case.times[alias], as_of, seed) for alias, frame in case.tables.items()}
    before = case.model.build(case.tables, as_of, case.params)
    pd.testing.assert_frame_equal(ordered(case.model.build(changed, as_of, case.params)), ordered(before))


def test_learning_looks_at_nothing_later(case: Case) -> None:
    """The same for the model and for what it is compared with."""
    changed = {alias: disturbed(frame, case.times[alias], case.as_of, 7) for alias, frame in case.tables.items()}
    fitted = case.model.fit(changed, case.as_of, case.params, case.config.seed)
    assert case.model.dump(fitted) == case.model.dump(case.fitted)
    index = case.model.index(case.features)
    truth = case.model.outcomes(case.tables, case.as_of, datetime(2100, 1, 1, tzinfo=UTC), case.params)
    honest, perhaps = (
        case.model.baselines(tables, case.as_of, case.params, case.config.seed) for tables in (case.tables, changed)
    )
    assert list(honest) == list(perhaps) != []
    for name, stand_in in honest.items():
        expected = case.model.score(stand_in, index, truth)
        pd.testing.assert_frame_equal(case.model.score(perhaps[name], index, truth), expected, obj=name)


def disturbed(frame: pd.DataFrame, time: str, as_of: Any, seed: int) -> pd.DataFrame:
    """The frame with everything from `as_of` on shuffled within each column, partly dropped, and one row exactly then."""
    rng = np.random.default_rng(seed)
    past, later = frame[frame[time] < as_of], frame[frame[time] >= as_of].reset_index(drop=True)
    shuffled = pd.DataFrame({name: later[name].to_numpy()[rng.permutation(len(later))] for name in later.columns})
    shuffled = shuffled.astype(frame.dtypes.to_dict()).head(int(len(later) * rng.random()))
    earliest = shuffled.head(1).assign(**{time: pd.Series([pd.Timestamp(as_of)], dtype=frame[time].dtype)})
    return pd.concat([past, earliest, shuffled], ignore_index=True)


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def test_artifact_is_no_pickle_and_answers_the_same_when_loaded(case: Case) -> None:
    fitted, index = case.fitted, case.model.index(case.features)
    files = case.model.dump(fitted)
    assert files
    for name, data in files.items():
        readable(name, data)
    requests = case.model.example()
    loaded = case.model.load(files)
    assert case.model.predict(loaded, index, requests) == case.model.predict(fitted, index, requests)
    assert case.model.dump(loaded) == files


def readable(name: str, data: bytes) -> None:
    kind = Path(name).suffix
    if kind == ".npy":
        np.load(io.BytesIO(data), allow_pickle=False)
    elif kind == ".json":
        msgspec.json.decode(data)
    else:
        assert kind == ".txt", f"{name}: expected .npy, .json or .txt"
        data.decode("utf-8")


def test_a_damaged_artifact_is_refused(case: Case) -> None:
    files = case.model.dump(case.fitted)
    for name, data in files.items():
        for damaged in (None, b"", data[: len(data) // 2], b"\x80\x04" + data[2:]):
            wrong = {**files, name: damaged} if damaged is not None else {k: v for k, v in files.items() if k != name}
            with pytest.raises(TamperError):
                case.model.load(wrong)


def test_models_do_not_pickle() -> None:
    files = sorted((ROOT / "models").rglob("*.py"))
    assert files
    for path in files:
        imported = {
            module.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            + ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        }
        assert not imported & {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}, path


def test_a_batch_answers_as_its_requests_one_by_one(case: Case) -> None:
    fitted, index, requests = case.fitted, case.model.index(case.features), case.model.example()
    batch = case.model.predict(fitted, index, requests)
    assert len(batch) == len(requests)
    assert batch == [case.model.predict(fitted, index, [request])[0] for request in requests]
    assert batch[::-1] == case.model.predict(fitted, index, requests[::-1])
    assert case.model.rules(index, requests) == [case.model.rules(index, [request])[0] for request in requests]
    assert case.model.predict(fitted, index, []) == []


def test_examples_travel_as_json_and_are_decided(case: Case) -> None:
    requests = case.model.example()
    assert requests
    decode = msgspec.json.Decoder(list[case.model.Request])  # type: ignore[name-defined]  # a type found at run time
    assert decode.decode(msgspec.json.encode(requests)) == requests
    index = case.model.index(case.features)
    proposals = case.model.predict(case.fitted, index, requests)
    decided = case.model.decide(proposals, requests, index, case.policy)
    assert len(decided) == len(requests)
    for proposal, decision in zip(proposals, decided, strict=True):
        answered(proposal, decision)
        assert Decided.from_json(decision.to_json()) == decision


def answered(proposal: Proposal, decision: Decided) -> None:
    """Rules take out, reorder nothing, invent nothing, and own up to what they changed."""
    assert decision.items or decision.value is not None
    assert len(decision.items) == len(decision.scores)
    places = [proposal.items.index(item) for item in decision.items]
    assert places == sorted(set(places))
    if places != list(range(len(places))) or decision.value != proposal.value:
        assert decision.overruled


def test_rules_answer_without_the_model_library(case: Case, tmp_path: Path) -> None:
    case.features.to_parquet(tmp_path / "features.parquet")
    code = f"""
import sys
for library in {LIBRARIES!r}:
    sys.modules[library] = None
import msgspec, pandas as pd
from configs.load import load
from models.contract import configure, find
model = find({case.name!r})
policy = configure(model, load().models[{case.name!r}])[1]
index = model.index(pd.read_parquet({str(tmp_path / "features.parquet")!r}))
requests = model.example()
sys.stdout.buffer.write(msgspec.json.encode(model.decide(model.rules(index, requests), requests, index, policy)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr.decode()
    index, requests = case.model.index(case.features), case.model.example()
    expected = case.model.decide(case.model.rules(index, requests), requests, index, case.policy)
    assert msgspec.json.decode(done.stdout, type=list[Decided]) == expected


def test_rules_answer_without_an_index(case: Case) -> None:
    requests = case.model.example()
    assert len(case.model.rules(None, requests)) == len(requests)


def test_scores_have_the_metric_that_gates_compare(case: Case) -> None:
    index = case.model.index(case.features)
    truth = case.model.outcomes(case.tables, case.as_of, datetime(2100, 1, 1, tzinfo=UTC), case.params)
    assert "subject" in truth.columns
    stand_ins = case.model.baselines(case.tables, case.as_of, case.params, case.config.seed)
    assert stand_ins
    subjects = None
    for fitted in (None, case.fitted, *stand_ins.values()):
        scores = case.model.score(fitted, index, truth)
        assert scores.index.name == "subject"
        assert scores.index.is_unique
        assert scores[case.config.metric].notna().sum() > 20
        assert subjects is None or scores.index.equals(subjects), "all are scored on the same subjects"
        subjects = scores.index


def test_nothing_to_score_is_an_empty_frame(case: Case) -> None:
    index = case.model.index(case.features)
    nothing = case.model.outcomes(case.tables, case.as_of, case.as_of, case.params)
    assert nothing.empty
    scores = case.model.score(None, index, nothing)
    assert scores.empty
    assert case.config.metric in scores.columns


def test_segments_name_subjects_that_are_scored(case: Case) -> None:
    segments = case.model.segments(case.features)
    assert len(segments.columns) >= 1
    assert segments.index.is_unique
    assert segments.notna().all().all()
    assert all(segments[kind].nunique() < 50 for kind in segments.columns)


def test_routing_key_is_stable_and_masking_replaces_the_subject(case: Case) -> None:
    masked_any = False
    for request in case.model.example():
        assert isinstance(case.model.routing_key(request), str)
        assert case.model.routing_key(request) == case.model.routing_key(
            msgspec.convert(msgspec.to_builtins(request), case.model.Request)
        )
        masked = case.model.mask(request, lambda subject: f"p1_{subject[::-1]}")
        assert type(masked) is type(request)
        masked_any |= masked != request
    has_subjects = any(feature.name == "subject" for feature in case.model.FEATURES)
    assert masked_any == has_subjects, "an example has a subject where the features have one, and only there"


def test_feature_digest_follows_the_source(case: Case) -> None:
    assert len(feature_digest(case.model)) == 64
    assert feature_digest(case.model) == feature_digest(case.model)


def test_what_is_watched_has_a_meaning_a_range_and_no_subject(case: Case) -> None:
    names = [feature.name for feature in case.model.WATCHED]
    assert names
    assert len(set(names)) == len(names)
    assert not set(names) & {"subject", *(feature.name for feature in SAID)}
    for feature in case.model.WATCHED:
        assert feature.meaning
        assert feature.dtype in KINDS, feature.name
        if feature.dtype in {"int64", "float64"}:
            assert feature.low is not None, f"{feature.name}: a number needs a range"
            assert feature.high is not None, f"{feature.name}: a number needs a range"


def test_requests_are_observed_as_declared(case: Case) -> None:
    index = case.model.index(case.features)
    requests = [*case.model.example(), *(one.request for one in case.past[:200])]
    frame = case.model.observe(index, requests)
    assert list(frame.columns) == [feature.name for feature in case.model.WATCHED]
    assert len(frame) == len(requests)
    for feature in case.model.WATCHED:
        column = frame[feature.name]
        assert str(column.dtype) == KINDS[feature.dtype], feature.name
        if feature.low is not None and feature.high is not None:
            assert column.dropna().between(feature.low, feature.high).all(), feature.name
    assert list(case.model.observe(index, []).columns) == list(frame.columns)


def test_a_request_is_observed_alone_as_among_others_and_nobody_is_named(case: Case) -> None:
    index = case.model.index(case.features)
    requests = [*case.model.example(), *(one.request for one in case.past[:20])]
    frame = case.model.observe(index, requests)
    alone = pd.concat([case.model.observe(index, [request]) for request in requests], ignore_index=True)
    pd.testing.assert_frame_equal(alone, frame)
    subjects: set[str] = set()

    def noted(subject: str) -> str:
        subjects.add(subject)
        return subject

    assert [case.model.mask(request, noted) for request in requests] == requests
    assert not subjects & {str(value) for name in frame.columns for value in frame[name].dropna()}


def test_the_past_lies_in_its_window_and_asks_what_it_could(case: Case) -> None:
    start, found = case.as_of - timedelta(days=28), case.past
    assert found
    assert [one.time for one in found] == sorted(one.time for one in found)
    for one in found:
        assert start <= one.time < case.as_of
        assert one.time <= one.due
        assert isinstance(one.request, case.model.Request)
        assert isinstance(one.outcome, case.model.Outcome)
    assert case.model.past(case.tables, case.as_of, case.as_of, case.params) == []
    index = case.model.index(case.features)
    decided = case.model.decide(
        case.model.predict(case.fitted, index, [one.request for one in found[:50]]),
        [one.request for one in found[:50]],
        index,
        case.policy,
    )
    kpis = [case.model.kpi(one, past.outcome) for one, past in zip(decided, found, strict=False)]
    assert np.isfinite(kpis).all()


def test_the_future_changes_no_request_of_the_past(case: Case) -> None:
    """Without later rows fewer outcomes may be due, but what was asked stays what it was."""
    known = {alias: frame[frame[case.times[alias]] < case.as_of] for alias, frame in case.tables.items()}
    then = case.model.past(known, case.as_of - timedelta(days=28), case.as_of, case.params)
    assert then
    now = {(one.time, msgspec.json.encode(one.request)) for one in case.past}
    assert {(one.time, msgspec.json.encode(one.request)) for one in then} <= now


def served(case: Case, folder: Path) -> pd.DataFrame:
    """The snapshot of `as_of` as a replica has it: cut off from all rows there are, later ones too, by the flow that
    refreshes; through the store, encrypted, and out of the sealed mapping."""
    trial = Trial(model=case.model, tables=case.tables, times=case.times, params=case.params, seed=case.config.seed)
    refresh, replica = (Vault.open(folder, holder) for holder in ("refresh", "serving"))
    stored = Artifacts(str(folder), refresh.encrypt, refresh.decrypt).put(parquet(trial.features(case.as_of)))
    return mapped(Artifacts(str(folder), replica.encrypt, replica.decrypt).get(stored), "features")


def test_the_service_computes_for_a_subject_what_training_did(case: Case, tmp_path: Path) -> None:
    """No skew: the same rows, and the same view and answer of every request of the four weeks before."""
    frame = served(case, tmp_path)
    pd.testing.assert_frame_equal(frame, case.features)
    refuse_unlike(case.name, frame, case.features)
    asked = [*case.model.example(), *(one.request for one in case.past[-200:])]
    assert len(asked) > 20
    ours, theirs = case.model.index(frame), case.model.index(case.features)
    pd.testing.assert_frame_equal(case.model.observe(ours, asked), case.model.observe(theirs, asked))
    proposals = case.model.predict(case.fitted, ours, asked)
    assert proposals == case.model.predict(case.fitted, theirs, asked)
    assert case.model.rules(ours, asked) == case.model.rules(theirs, asked)
    decided = case.model.decide(proposals, asked, ours, case.policy)
    assert decided == case.model.decide(proposals, asked, theirs, case.policy)
    week = case.model.build(case.tables, case.as_of - timedelta(days=7), case.params)
    assert not week.equals(case.features)  # at another moment it would be seen


def shadowing(case: Case) -> ReleasePlan:
    """Version 2 beside the rules."""
    plan = initial(case.name, NOW)
    begun = {"rollout": rollout_of(case.config), "rollout_started_at": NOW, "salt": "s"}
    return msgspec.structs.replace(plan, mode="model", canary=arm(2, case.name), **begun)


def pair(case: Case, plan: ReleasePlan, at: int, past: Past, said: tuple[Decided, Decided]) -> list[Entry]:
    """Three lines as a replica writes them: the champion's answer, the candidate's score, and what came of it."""
    subjects: list[str] = []

    def noted(subject: str) -> str:
        subjects.append(subject)
        return subject

    request = case.model.mask(past.request, noted)
    live = Answer(
        prediction_id=f"{case.name}.champion.v0.r1.{minute_of(NOW)}.one.{at:08x}-1.{'0' * 32}", model=case.name,
        arm="champion", version=0, artifact="", revision=1, event_time=NOW, received_at=NOW,
        subject=subjects[0] if subjects else "", bucket=bucket("s", case.model.routing_key(request)), decision=said[0],
        features=request, salt="s",
    )  # fmt: skip
    assert plan.canary is not None
    assert plan.canary.artifact is not None
    beside = msgspec.structs.replace(
        live, prediction_id=f"{live.prediction_id[:-1]}1", arm="canary", version=2,
        artifact=plan.canary.artifact.content, decision=said[1], paired_with=live.prediction_id, features=None,
    )  # fmt: skip
    fed = Feedback(
        prediction_id=live.prediction_id,
        model=case.name,
        outcome=past.outcome,
        event_time=NOW,
        received_at=NOW,
        key="k",
    )
    return [live, beside, fed]


def test_a_shadow_of_it_is_compared(case: Case, tmp_path: Path) -> None:
    """The rules answer and the model shadows: a report of its decisions, scores, KPI and segments, out of a real journal."""
    past, index, plan = case.past[-200:], case.model.index(case.features), shadowing(case)
    requests = [one.request for one in past]
    proposed = case.model.rules(index, requests), case.model.predict(case.fitted, index, requests)
    champion, candidate = (case.model.decide(one, requests, index, case.policy) for one in proposed)
    journal = Journal(tmp_path / "journal" / "one", segment_bytes=1 << 16, fsync_seconds=60)
    for at, (one, *said) in enumerate(zip(past, champion, candidate, strict=True)):
        journal.append(*pair(case, plan, at, one, (said[0], said[1])))
    journal.close()
    found = read(Journals(tmp_path / "journal", Shipped(Lake(str(tmp_path / "lake")))), about(plan))
    served = Served(case.name, case.model, case.config, 2, "", features=case.features)
    told = made(Ground(plan, plan, [], []), found, served, case.config, NOW)
    every = told.overall
    assert (every.pairs, told.compared.unreadable, told.compared.odd_outcomes) == (len(past), 0, 0)
    assert every.flips == pytest.approx(sum(map(other, champion, candidate)) / len(past))
    assert (every.rank_biased is not None) is any(len(one.items) > 1 and one.value is None for one in candidate)
    assert every.kpi is not None
    assert every.kpi.matured == len(past)
    if case.model.JUDGE == "paired":
        expected = [case.model.kpi(one, known.outcome) for one, known in zip(candidate, past, strict=True)]
        assert every.kpi.candidate == pytest.approx(np.mean(expected))
    else:
        assert every.kpi.candidate is None
        assert "not identifiable in the shadow" in describe(told, "")
    assert told.segments
    assert sum(one.pairs for one in told.segments if one.kind == told.segments[0].kind) == len(past)
    assert Report.from_json(told.to_json()) == told
    assert case.name in write(tmp_path, told).read_text(encoding="utf-8")


def other(before: Decided, after: Decided) -> bool:
    """Whether a decision is another, said once more: a label, the head of a list, or a number more than 5 % away."""
    if before.value is not None and after.value is not None and len(before.items) != 1:
        return abs(after.value - before.value) > 0.05 * abs(before.value)
    return before.items[:1] != after.items[:1]
