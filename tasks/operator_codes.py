"""What an operator asks for in the Prefect UI: shown before it is done, proved by her one-time code, then signed with her own key.

Prefect does not know who clicks. So the flow `operate` asks for a code, judged and spent as a vote's is, and only then the vault's key of
that operator signs, as it does from the command line. Reads operators, plan, limits; writes spent codes and missed ones.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from checks.plans import describe
from configs.load import recipe_of
from configs.schema import Config, Settings
from errors import CodeRefused, TamperError, UsageError
from records import Record, ReleasePlan, utc_now
from stores.ledger import codes as spent
from stores.ledger import people
from stores.ledger.engine import Ledger
from stores.vault import Vault
from tasks import codes, operate
from tasks.escape import plain
from tasks.oneline import oneline
from tasks.operate import opened
from tasks.runs import Typed

LENGTHS = {"code": 16}
FRESH_SECONDS = (
    60.0  # from the server's taking of a code to its judging: a run that died then, and is retried, asks again
)
TITLES = {
    "freeze": "Freeze",
    "hold": "Hold the rollout of",
    "rollback": "Take back",
    "fallback": "Let the rules answer for",
}


class Asked(Record, frozen=True, kw_only=True):
    """What a run of the flow was started for, by somebody who has yet to prove who she is."""

    model: str
    verb: str
    operator: str
    reason: str
    revision: int = 0  # the one that was looked at; 0: the one that the form shows
    run: str  # id of the flow run

    @property
    def key(self) -> str:
        return f"operator:{self.operator}"


class Shown(Record, frozen=True, kw_only=True):
    """What the operator sees above the form."""

    page: str
    revision: int  # that it is about
    done: str = ""  # when nothing is to be done: how things stand


class Proof(Record, frozen=True, kw_only=True):
    """What a submission came to. `said` is why it does not count."""

    right: bool
    said: str = ""
    locked: bool = False  # asking again would not help
    wait_seconds: float = 0.0


def prepare(settings: Settings, config: Config, asked: Asked, last: str) -> Shown:
    """Shows what the verb would do now; refuses at once what could not be done, before anybody types a code.

    Args:
        last: why the last submission did not count.

    Raises:
        NotFound: for an unknown model or operator.
        UsageError: for an operator without a secret, an empty reason, a model that is switched off.
        CodeRefused: when the operator's code was missed too often.
        ReleaseRefused: when the verb is impossible now.
        RevisionConflict: when the plan is another one than that looked at.
        TamperError: for a plan or an operator that was changed by hand.
    """
    recipe_of(config, asked.model)
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        _coded(ledger, asked.operator)
        with ledger.read() as connection:
            spent.refuse_locked(connection, asked.key, _limits(config), utc_now())
        act = operate.Act(asked.verb, asked.model, oneline(asked.reason), asked.revision or None)
        before, after = operate.rehearsed(ledger, ring, act, asked.key, utc_now())
    if after is before:
        return Shown(page="", revision=before.revision, done=f"Nothing is to be done. {describe(before)}")
    return Shown(page=_page(asked, before, after, last), revision=before.revision)


def prove(settings: Settings, config: Config, asked: Asked, submitted: Typed | None) -> Proof:
    """Judges the code as of the moment the server took it, and spends it; one that does not count is kept and limited.

    Args:
        submitted: None for an empty form.
    """
    at = submitted.at if submitted else utc_now()
    code = codes.form(submitted, LENGTHS)["code"]
    vault = Vault.open(settings.home, "prover", settings.kms_key_uri)
    with opened(settings, "release") as ledger:
        try:
            step = _step(ledger, vault, config, asked, (code, at))
            with ledger.write(asked.key) as transaction:
                transaction.head()
                spent.refuse_locked(transaction, asked.key, _limits(config), at)  # by guesses judged at the same time
                spent.spend(transaction, asked.key, step, _what(asked))
                detail = {"run": asked.run, "verb": asked.verb, "model": asked.model}
                transaction.audit("operator.proved", asked.operator, detail, at)
        except (CodeRefused, TamperError) as no:
            return _missed(ledger, config, asked, str(no), at)
    return Proof(right=True)


def carry_out(settings: Settings, asked: Asked, revision: int) -> str:
    """Does it, signed with the operator's own key; what holds now, in words.

    Args:
        revision: that was shown. A rollback is bound to it; the other verbs mean a state, whatever happened meanwhile.

    Raises:
        ReleaseRefused: when the verb has become impossible.
        RevisionConflict: when somebody else wrote first, saying who, what and when.
    """
    seen = revision if asked.verb == "rollback" or asked.revision else None
    return operate.act(settings, asked.verb, asked.model, asked.operator, oneline(asked.reason), seen)[1]


def _step(ledger: Ledger, vault: Vault, config: Config, asked: Asked, typed: tuple[str, datetime]) -> int:
    """The time step of the code. Age and lock are asked first: a guess is not answered."""
    code, at = typed
    if (age := (utc_now() - at).total_seconds()) > FRESH_SECONDS:
        expected = f"one typed within {FRESH_SECONDS:g} s of its judging"
        raise CodeRefused(
            f"code of {asked.key}", expected=expected, got=f"one of {age:.0f} s before", do="type the next"
        )
    known = _coded(ledger, asked.operator)
    with ledger.read() as connection:
        spent.refuse_locked(connection, asked.key, _limits(config), at)
    return codes.step_of(vault, asked.key, known.secret, code, at)


def _missed(ledger: Ledger, config: Config, asked: Asked, why: str, at: datetime) -> Proof:
    with ledger.write("release") as transaction:
        made = spent.missed(transaction, _what(asked), asked.key, why, limits=_limits(config), at=at)
        transaction.audit("operator.unproved", asked.operator, {"run": asked.run, "reason": why}, at)
    first = config.defaults.approval.backoff_seconds
    return Proof(
        right=False, said=why, locked=_is_locked(ledger, config, asked), wait_seconds=codes.wait_after(made, first)
    )


def _is_locked(ledger: Ledger, config: Config, asked: Asked) -> bool:
    try:
        with ledger.read() as connection:
            spent.refuse_locked(connection, asked.key, _limits(config), utc_now())
    except CodeRefused:
        return True
    return False


def _coded(ledger: Ledger, name: str) -> people.Operator:
    known = people.operator(ledger, name)
    if not known.secret:
        raise UsageError(
            f"operator {name}",
            expected="one whose authenticator shows codes for it",
            got="one without a secret",
            do=f"`grownet operators code {name}` makes one, where the vault is; the command line asks for none",
        )
    return known


def _limits(config: Config) -> spent.Limits:
    rules = config.defaults.approval
    return spent.Limits(max_attempts=rules.max_attempts, lock_seconds=rules.lock_seconds)


def _what(asked: Asked) -> str:
    return f"run {asked.run}"


def _page(asked: Asked, before: ReleasePlan, after: ReleasePlan, last: str) -> str:
    """Now and then, who asks and why. What people wrote is text here."""
    then = replace(after, revision=before.revision + 1)
    return "\n".join(
        [
            f"## {TITLES[asked.verb]} {asked.model}?",
            "",
            *([f"**The last code did not count:** {plain(last)}", ""] if last else []),
            f"**Now:** {plain(describe(before), 2000)}",
            "",
            f"**Then:** {plain(describe(then), 2000)}",
            "",
            f"Your code as **{plain(asked.operator)}** does it at once, signed with your own key. If you did not ask for this, close it.",
            "",
        ]
    )
