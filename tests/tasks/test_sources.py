import gzip
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pytest

from configs.schema import Dataset
from errors import SchemaError, SourceError
from tasks import sources
from tasks.sources import batch_files, file_chunks
from tests.tasks.shop import Shop, orders


def read(dataset: Dataset, batch: str = "") -> pd.DataFrame:
    return pa.concat_tables([chunk.rows for chunk in file_chunks(dataset, batch)]).to_pandas()


def declared(folder: Path, form: str, name: str = "{batch}", **source: Any) -> Dataset:
    return Shop(folder, {"format": form, "uri": f"{folder}/{name}", **source}).dataset


def written(folder: Path, form: str) -> Dataset:
    rows, path = orders(), folder / f"2011-08.{form}"
    if form == "csv":
        rows.to_csv(path, index=False)
    elif form == "jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_parquet(path)
    return declared(folder, form, "{batch}." + form, batch_rows=64)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_each_format_gives_the_same_rows_in_chunks(tmp_path: Path, form: str) -> None:
    dataset = written(tmp_path, form)
    chunks = list(file_chunks(dataset, "2011-08"))
    assert max(chunk.rows.num_rows for chunk in chunks) <= 64
    assert len(chunks) == 4
    found = read(dataset, "2011-08")
    assert found.astype(str).to_dict("list") == orders().astype(str).to_dict("list")


def test_the_bundled_file_has_an_address_of_its_own(tmp_path: Path) -> None:
    dataset = declared(tmp_path, "parquet").model_copy(
        update={
            "source": Shop(
                tmp_path, {"format": "parquet", "uri": "data://online_retail/online_retail.parquet"}
            ).dataset.source
        }
    )
    assert next(file_chunks(dataset)).rows.num_rows == 100_000


def test_any_filesystem_of_fsspec_will_do(tmp_path: Path) -> None:
    with fsspec.open("memory://shop/2011-08.csv", "wb") as file:
        file.write(orders().to_csv(index=False).encode())
    dataset = Shop(tmp_path, {"format": "csv", "uri": "memory://shop/{batch}.csv"}).dataset
    assert batch_files(dataset) == ["2011-08"]
    assert len(read(dataset, "2011-08")) == 200


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "2011-08.csv.gz").write_bytes(gzip.compress(orders().to_csv(index=False).encode()))
    assert len(read(declared(tmp_path, "csv", "{batch}.csv.gz"), "2011-08")) == 200


def test_batch_files_are_found_and_sorted(tmp_path: Path) -> None:
    for name in ("2011-09.csv", "2011-08.csv", "notes.txt"):
        (tmp_path / name).write_text("x")
    assert batch_files(declared(tmp_path, "csv", "{batch}.csv")) == ["2011-08", "2011-09"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_source_that_is_away(tmp_path: Path, form: str) -> None:
    with pytest.raises(SourceError, match="run again"):
        read(declared(tmp_path, form, "{batch}.gone"), "2011-08")


@pytest.mark.parametrize("uri", ["memory://nothing/{batch}.csv", "noprotocol://x/{batch}.csv"])
def test_a_remote_source_that_is_away_is_named_without_its_password(tmp_path: Path, uri: str) -> None:
    dataset = Shop(tmp_path, {"format": "csv", "uri": uri.replace("//", "//ann:secret@")}).dataset
    with pytest.raises(SourceError) as refused:
        read(dataset, "2011-08")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_empty_file(tmp_path: Path, form: str) -> None:
    (tmp_path / "2011-08").write_bytes(b"")
    with pytest.raises(SourceError):
        read(declared(tmp_path, form), "2011-08")


def test_a_header_alone_gives_no_rows(tmp_path: Path) -> None:
    (tmp_path / "2011-08").write_text(",".join(orders().columns) + "\n")
    assert list(file_chunks(declared(tmp_path, "csv"), "2011-08")) == []


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_missing_column_is_named_and_a_renamed_one_guessed(tmp_path: Path, form: str) -> None:
    rows = orders().drop(columns="country").rename(columns={"customer_id": "CustomerID"})
    path = tmp_path / "2011-08"
    {"csv": rows.to_csv, "parquet": rows.to_parquet}.get(form, rows.to_json)(
        path, **({"orient": "records", "lines": True} if form == "jsonl" else {"index": False})
    )
    with pytest.raises(SchemaError) as refused:
        read(declared(tmp_path, form), "2011-08")
    assert "customer_id (renamed to 'CustomerID'?)" in str(refused.value)
    assert "country" in str(refused.value)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_extra_column_stays_outside_and_is_told(tmp_path: Path, form: str) -> None:
    rows = orders().assign(email="ann@example.org")
    path = tmp_path / "2011-08"
    {"csv": rows.to_csv, "parquet": rows.to_parquet}.get(form, rows.to_json)(
        path, **({"orient": "records", "lines": True} if form == "jsonl" else {"index": False})
    )
    (chunk,) = file_chunks(declared(tmp_path, form), "2011-08")
    assert chunk.extra == ("email",)
    assert "email" not in chunk.rows.column_names


def test_a_column_given_twice(tmp_path: Path) -> None:
    (tmp_path / "2011-08").write_text(",".join([*orders().columns, "quantity"]) + "\n")
    with pytest.raises(SchemaError, match="given twice: quantity"):
        read(declared(tmp_path, "csv"), "2011-08")


def test_a_line_with_a_field_too_many_is_named_and_not_quoted(tmp_path: Path) -> None:
    lines = orders().to_csv(index=False).splitlines()
    lines[5] += ",17850"
    (tmp_path / "2011-08").write_text("\n".join(lines))
    with pytest.raises(SourceError, match="line 6: expected 8 fields, got 9") as refused:
        read(declared(tmp_path, "csv"), "2011-08")
    assert "17850" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("line", [b'{"quantity": 1', b"[1, 2]", b'{"quantity": {"a": 17850}}', b'{"country": "\xff"}'])
def test_a_broken_json_line_is_named_and_not_quoted(tmp_path: Path, line: bytes) -> None:
    good = orders().to_json(orient="records", lines=True).encode()
    (tmp_path / "2011-08").write_bytes(good + line)
    with pytest.raises(SourceError, match="line 201") as refused:
        read(declared(tmp_path, "jsonl"), "2011-08")
    assert "17850" not in str(refused.value)


def test_a_key_absent_from_some_lines_is_null_there(tmp_path: Path) -> None:
    rows = orders()
    good = rows.drop(columns="customer_id").to_json(orient="records", lines=True)
    (tmp_path / "2011-08").write_text(good + "\n" + rows.to_json(orient="records", lines=True))
    found = read(declared(tmp_path, "jsonl"), "2011-08")
    assert found["customer_id"].isna().sum() == 200
    assert len(found) == 400


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    text = orders().to_csv(index=False).replace("JAR 3", "JAR \udcff", 1)
    (tmp_path / "2011-08").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SourceError):
        read(declared(tmp_path, "csv"), "2011-08")


def test_a_byte_order_mark_a_line_break_and_any_script(tmp_path: Path) -> None:
    rows = orders()
    rows.loc[0, "description"] = "two\nlines"
    rows.loc[1, "description"] = "Krüge für 愛, naïve 🫙"
    (tmp_path / "2011-08").write_text(rows.to_csv(index=False), encoding="utf-8-sig")
    found = read(declared(tmp_path, "csv"), "2011-08")
    assert found["description"].tolist()[:2] == ["two\nlines", "Krüge für 愛, naïve 🫙"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_huge_field_is_read_and_a_monstrous_one_refused(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = orders()
    rows.loc[7, "description"] = "x" * 300_000
    path = tmp_path / "2011-08"
    if form == "csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_json(path, orient="records", lines=True)
    assert read(declared(tmp_path, form), "2011-08")["description"].str.len().max() == 300_000
    monkeypatch.setattr(sources, "BLOCK_BYTES", 100_000)
    with pytest.raises(SourceError):
        read(declared(tmp_path, form), "2011-08")
