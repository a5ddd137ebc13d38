"""What is measured against peers or floors in the same run: one file a question."""

from pathlib import Path


def questions() -> list[str]:
    """The questions there are, by the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
