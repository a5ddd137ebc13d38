"""Answers to the quarterly review, and what is wrong with a quarter; append-only, each answer told in the audit log.

Written by people (role operator, signed with their own key) and by the audit flow's checks (role flow). An answer, the state
it leads to and the alert of that are one transaction. Read by `grownet audit review` and by the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from errors import RevisionConflict
from records import OutboxEvent, ReviewAnswer, ReviewState
from stores.ledger import audit, outbox, rows
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction, head_of
from stores.ledger.signing import Ring
from stores.ledger.statements import Witness, refuse_unsigned, refuse_untold

ANSWERED = "review.answered"
CHECK = "audit"  # the key of answers that a check of ours gave
Reader = sa.Connection | Transaction
Told = tuple[ReviewState | None, OutboxEvent | None]
Settle = Callable[[Sequence[ReviewAnswer], ReviewState | None], Told]


def record(ledger: Ledger, new: Sequence[ReviewAnswer], quarter: str, settle: Settle, actor: str) -> Told:
    """Writes answers of a quarter, then what is wrong with it if that became another, and its alert.

    Args:
        new: none to look again at how the quarter stands, since time alone makes items overdue.
        settle: from all answers and the last state to the next one, or None, and the alert it asks for, or None.

    Raises:
        RevisionConflict: when an item was answered by somebody else since it was read: nothing is written.
    """
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        for answer in new:
            _store(transaction, answer)
        state, event = settle(_answers(transaction, quarter), _state(transaction, quarter))
        if state is not None:
            row = {"quarter": quarter, "number": state.number, "payload": state.to_json().decode()}
            transaction.execute(sa.insert(t.review_states).values(**row))
        outbox.queue(transaction, [event] if event is not None else [])
    return state, event


def written(ledger: Ledger, quarter: str) -> list[ReviewAnswer]:
    """The answers of a quarter as they stand there, by item and number, not checked."""
    with ledger.read() as connection:
        return _answers(connection, quarter)


def answers(ledger: Ledger, quarter: str, ring: Ring) -> list[ReviewAnswer]:
    """The answers of a quarter, by item and number, each checked.

    Raises:
        TamperError: for one that its key did not sign, or that the audit log does not tell of.
    """
    with ledger.read() as connection:
        found = _answers(connection, quarter)
        for answer in found:
            _verify(connection, answer, ring)
    return found


def state(ledger: Ledger, quarter: str) -> ReviewState | None:
    """What was wrong with a quarter when it was last looked at; None when nothing ever was."""
    with ledger.read() as connection:
        return _state(connection, quarter)


def verify(ledger: Ledger, ring: Ring) -> int:
    """Checks every answer there is and returns how many. Raises as `answers`; also for one that is gone."""
    with ledger.read() as connection:
        found = [_answer(row) for row in connection.execute(sa.select(t.review_answers))]
        told = {entry.subject for entry in audit.told(connection, ANSWERED)}
        for answer in found:
            _verify(connection, answer, ring)
    rows.refuse_missing("answer", {_subject(answer) for answer in found}, told)
    return len(found)


def first_entry(ledger: Ledger) -> datetime | None:
    """When the house's first ledger entry was made; None before it.

    Raises:
        TamperError: when there are later ones and it is gone.
    """
    with ledger.read() as connection:
        found: datetime | None = connection.execute(sa.select(t.audit.c.at).where(t.audit.c.sequence == 1)).scalar()
        last = head_of(connection)[0]
    if found is None and last > 0:
        raise rows.differs("audit", "entry 1", expected=f"a row, since there are {last}", got="none")
    return found


def _store(transaction: Transaction, answer: ReviewAnswer) -> None:
    known = [one for one in _answers(transaction, answer.quarter) if one.item == answer.item]
    if len(known) + 1 != answer.number:
        last = f"{known[-1].answer} of {known[-1].key}: {known[-1].reason}" if known else "no answer"
        raise RevisionConflict(
            f"item {answer.item} of {answer.quarter}",
            expected=f"{answer.number - 1} answers, as when it was read",
            got=f"{len(known)}, the last {last}",
            do="read it with `grownet audit review` and answer again if you still want to",
        )
    row = {"quarter": answer.quarter, "item": answer.item, "number": answer.number}
    transaction.execute(sa.insert(t.review_answers).values(payload=answer.to_json().decode(), **row))
    detail = {"answer": answer.answer, "by": answer.key, "digest": answer.digest}
    transaction.audit(ANSWERED, _subject(answer), detail, answer.at)


def _answers(reader: Reader, quarter: str) -> list[ReviewAnswer]:
    query = (
        sa.select(t.review_answers)
        .where(t.review_answers.c.quarter == quarter)
        .order_by(t.review_answers.c.item, t.review_answers.c.number)
    )
    return [_answer(row) for row in reader.execute(query)]


def _answer(row: sa.Row[Any]) -> ReviewAnswer:
    """An answer counts in the quarter and for the item that it was given to: the row only says where to look."""
    name = f"{row.quarter}/{row.item}/{row.number}"
    found = rows.read(ReviewAnswer, row.payload, "answer", name)
    if _subject(found) != name:
        raise rows.differs("answer", name, expected="its own payload", got=f"that of {_subject(found)}")
    return found


def _state(reader: Reader, quarter: str) -> ReviewState | None:
    query = sa.select(t.review_states.c.payload).where(t.review_states.c.quarter == quarter)
    payload = reader.execute(query.order_by(t.review_states.c.number.desc()).limit(1)).scalar()
    return None if payload is None else rows.read(ReviewState, payload, "state of the review of", quarter)


def _verify(reader: Reader, answer: ReviewAnswer, ring: Ring) -> None:
    """A person's answer is proved by its signature, a check's by the role that the audit log wrote it under."""
    told = Witness(ANSWERED, "answer", _subject(answer), "flow" if answer.key == CHECK else "operator")
    refuse_untold(reader, answer, told)
    if answer.key != CHECK:
        refuse_unsigned(answer, told, ring, "review")


def _subject(answer: ReviewAnswer) -> str:
    return f"{answer.quarter}/{answer.item}/{answer.number}"
