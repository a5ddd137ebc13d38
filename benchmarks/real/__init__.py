"""Parts of `grownet bench drift`: the bundled series, what learns on them, the replay, the quiet weeks, the pages."""
