"""Every error grownet raises on purpose.

GrownetError                      exit code
├── ConfigError               2   a configuration file or environment variable is wrong (all problems at once)
├── UsageError                2   a command was given something it cannot work with
├── NotFound                  2   no such model, table, answer, ballot ...
├── DataError                 3
│   ├── SourceError               a source cannot be reached or parsed
│   ├── SchemaError               a column is missing, extra or of another type
│   ├── BatchConflict             a batch id that was taken in before, now with other bytes
│   └── BatchRefused              a table-level expectation failed: nothing of the batch was taken in
├── ModelError                4
│   ├── InputError                a request no model can answer (the service says 422)
│   └── CandidateDiscarded        a candidate that did not pass its gates
├── TamperError               5   a hash, a signature or the audit chain does not match
│   └── AdmissionRefused          an arm that lacks something it needs to serve
├── LedgerError               6
│   ├── LedgerUnavailable         locked or away
│   ├── RevisionConflict          somebody else wrote first
│   ├── RoleRefused               this process may not write that
│   └── WrongLedger               a demo ledger outside the demo, or the other way round
├── ReleaseRefused            7   a release verb that is impossible now
├── VoteRefused               8   a submission that is no vote
│   └── CodeRefused               one whose one-time code does not count, an operator's too
├── StackError                9   a process of ours did not start or stop
└── DeliveryFailed           10   Slack, the mail server or Prefect did not take a message
"""

from __future__ import annotations

from collections.abc import Sequence


class GrownetError(Exception):
    """Says which thing is wrong, what was expected, what came, and what to do.

    Args:
        thing: what the message is about (a file and key, a table, a model, a ballot).
        expected: what it should have been.
        got: what it was.
        do: what the reader can do about it.
    """

    exit_code = 1

    def __init__(self, thing: str, *, expected: object = "", got: object = "", do: str = "") -> None:
        self.thing, self.expected, self.got, self.do = thing, str(expected), str(got), do
        parts = [f"expected {self.expected}" if self.expected else "", f"got {self.got}" if self.got else ""]
        facts = ", ".join(part for part in parts if part)
        message = f"{thing}: {facts}" if facts else thing
        super().__init__(f"{message}. {do}" if do else message)


class ConfigError(GrownetError):
    """A configuration is wrong. `problems` has one line for each file and key, all found at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"configuration refused, {len(self.problems)} problem(s)\n{lines}")


class UsageError(GrownetError):
    exit_code = 2


class NotFound(GrownetError):
    exit_code = 2


class DataError(GrownetError):
    exit_code = 3


class SourceError(DataError):
    pass


class SchemaError(DataError):
    pass


class BatchConflict(DataError):
    pass


class BatchRefused(DataError):
    pass


class ModelError(GrownetError):
    exit_code = 4


class InputError(ModelError):
    """`thing` is the path of the field in the request, such as `$.k`."""


class CandidateDiscarded(ModelError):
    pass


class TamperError(GrownetError):
    exit_code = 5


class AdmissionRefused(TamperError):
    pass


class LedgerError(GrownetError):
    exit_code = 6


class LedgerUnavailable(LedgerError):
    pass


class RevisionConflict(LedgerError):
    pass


class RoleRefused(LedgerError):
    pass


class WrongLedger(LedgerError):
    pass


class ReleaseRefused(GrownetError):
    exit_code = 7


class VoteRefused(GrownetError):
    exit_code = 8


class CodeRefused(VoteRefused):
    pass


class StackError(GrownetError):
    exit_code = 9


class DeliveryFailed(GrownetError):
    exit_code = 10
