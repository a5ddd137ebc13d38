"""Where the code that runs comes from: commit, authors, and the digest that pipeline_vN stands for.

Reads the source tree and git (which may be absent, or know nothing of this folder); writes nothing.
Called by training, which writes it into every candidate: authors cannot vote on what they wrote.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from errors import StackError
from records import digest_bytes, digest_of

ROOT = Path(__file__).resolve().parent.parent
UNKNOWN = "unknown"
DIRTY = "+dirty"
PIPELINE = ("flows", "tasks", "models", "configs")  # their Python; the YAML has a digest of its own
GIT_SECONDS = 20.0


def pipeline_digest(root: Path = ROOT) -> str:
    """SHA-256 over the code of flows, tasks, models and configs and over requirements.lock, file by file.

    Raises:
        StackError: when the tree is not there: a digest of nothing would look like a version.
    """
    files = sorted(path for room in PIPELINE for path in (root / room).rglob("*.py"))
    lock = root / "requirements.lock"
    if not files or not lock.exists():
        raise StackError(
            f"pipeline at {root}",
            expected=f"the folders {list(PIPELINE)} and requirements.lock",
            got=f"{len(files)} files, {'a' if lock.exists() else 'no'} requirements.lock",
            do="run grownet from its source tree, or put requirements.lock beside it",
        )
    return digest_of({path.relative_to(root).as_posix(): digest_bytes(path.read_bytes()) for path in [*files, lock]})


def commit(root: Path = ROOT) -> str:
    """The commit that is checked out, with "+dirty" when the tree differs from it; "unknown" outside git."""
    head = _git(root, "rev-parse", "HEAD") if _tracked(root) else None
    if not head:
        return UNKNOWN
    return head + DIRTY if _git(root, "status", "--porcelain", "--untracked-files=normal", "--", ".") else head


def authors(config: Path, root: Path = ROOT) -> tuple[str, ...]:
    """Who wrote the commit (co-authors too) and who last changed the configuration, as "Name <email>", sorted.

    In a dirty tree the person git is set up for counts as well: nobody else can be named for what is not committed.
    What git cannot say is "unknown", never left out.
    """
    found = [*_of_commit(root), *_of_file(config)]
    return tuple(sorted(set(found)))


def _of_commit(root: Path) -> Sequence[str]:
    here = commit(root)
    if here == UNKNOWN:
        return [UNKNOWN]
    shown = _git(root, "log", "-1", "--format=%an <%ae>%n%(trailers:key=Co-authored-by,valueonly)") or UNKNOWN
    names = [line.strip() for line in shown.splitlines() if line.strip()]
    return [*names, _at_the_keyboard(root)] if here.endswith(DIRTY) else names


def _of_file(path: Path) -> Sequence[str]:
    folder = path.resolve().parent
    if _git(folder, "status", "--porcelain", "--", path.name):
        return [_at_the_keyboard(folder)]
    return [_git(folder, "log", "-1", "--format=%an <%ae>", "--", path.name) or UNKNOWN]


def _at_the_keyboard(folder: Path) -> str:
    name, email = _git(folder, "config", "user.name"), _git(folder, "config", "user.email")
    return f"{name or ''} <{email or ''}>".strip() if name or email else UNKNOWN


def _tracked(root: Path) -> bool:
    """A copy inside somebody else's repository has not their history."""
    return _git(root, "ls-files", "--error-unmatch", "--", "records.py") is not None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None when it is absent, slow, or says no."""
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return None
    command = [git, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_SECONDS)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
