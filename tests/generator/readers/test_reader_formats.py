"""Encodings and formats: exports of every kind give the same rows."""

import codecs
import json
import zipfile
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from targcc_gen.errors import InputError
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.exports import read_exports
from targcc_gen.readers.rows import Row
from targcc_gen.readers.text import Truncated, open_text
from targcc_gen.sources.c_job import tables
from targcc_gen.sources.c_job.source import CJobSource

HEADER = "ID,JobName,CronExpression,StoredProcName,IsActive"


@pytest.fixture
def export(tmp_path):
    """Return a function that writes an export and reads it."""

    def read(content, name="c_Job.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return brought([path], **options)

    return read


def brought(paths, **options):
    """Return the rows of TARGCC's tables in the files, read as its source reads them."""
    source = CJobSource()
    files = read_exports(paths, source.tables, source.take, **options)
    rows = sum(file.counts["c_job"] for file in files)
    return SimpleNamespace(
        files=files,
        job_rows=rows,
        **{field.name: getattr(source.exported, field.name) for field in fields(source.exported)},
    )


def summary(inventory):
    return [
        (reader_rows.key(row, "id"), reader_rows.text(row, "jobname"), reader_rows.text(row, "cronexpression"), reader_rows.flag(row, "isactive"))
        for row in inventory.jobs
    ]  # fmt: skip


def reasons(inventory):
    return [(remark.line, remark.text) for remark in inventory.unreadable]


SCRIPT = "INSERT [dbo].[c_Job] ([ID], [JobName]) VALUES (1, N'גיבוי לילי של הנתונים')\r\nGO\r\n"


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (SCRIPT.encode("utf-16"), "UTF-16"),
        (codecs.BOM_UTF16_BE + SCRIPT.encode("utf-16-be"), "UTF-16 big-endian"),
        (SCRIPT.encode("utf-16-le"), "UTF-16 without a mark"),
        (SCRIPT.encode("utf-8-sig"), "UTF-8"),
        (SCRIPT.encode(), "UTF-8"),
        (SCRIPT.encode("cp1255"), "cp1255"),
    ],
)
def test_the_encoding_is_found_without_asking(export, content, label):
    inventory = export(content, "c_Job.sql", zone="Asia/Jerusalem")

    assert inventory.files[0].encoding == label
    assert inventory.jobs[0].values["jobname"] == "גיבוי לילי של הנתונים"


@pytest.mark.parametrize(
    ("name", "page", "zone"),
    [
        ("Nächtlicher Übertrag", "cp1252", "Europe/Berlin"),
        ("Zażółć gęślą jaźń", "cp1250", "Europe/Warsaw"),
        ("Ночная загрузка", "cp1251", "Europe/Moscow"),
        ("Νυχτερινή φόρτωση", "cp1253", "Europe/Athens"),
        ("夜間バッチ処理", "cp932", "Asia/Tokyo"),
    ],
)
def test_a_code_page_is_guessed_from_the_letters_and_the_servers_region(export, name, page, zone):
    inventory = export(
        f"INSERT c_Job (ID, JobName) VALUES (1, '{name}')".encode(page), "x.sql", zone=zone
    )

    assert (inventory.files[0].encoding, inventory.jobs[0].values["jobname"]) == (page, name)


def test_a_guessed_code_page_is_said_and_can_be_overruled(export):
    content = "INSERT c_Job (ID, JobName) VALUES (1, 'Zażółć gęślą')".encode("cp1250")

    assert any("--encoding" in text for text in export(content, "x.sql").warnings.texts)
    (row,) = export(content, "x.sql", encoding="cp1250").jobs
    assert row.values["jobname"] == "Zażółć gęślą"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (codecs.BOM_UTF16_LE, "is empty"),
        (b"\xef\xbb\xbf\r\n \r\n", "is empty"),
        (bytes(range(256)) * 50, "a binary file"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"TAPE\x00\x00", "a SQL Server backup"),
        (SCRIPT.encode("utf-16")[:-1], "in the middle of a character"),
        ("é".encode()[:1] + b"a" * 10, "no row of c_Job|no header"),
    ],
)
def test_what_is_no_export_is_refused_in_words(export, content, words):
    with pytest.raises(InputError, match=words):
        export(content, "c_Job.sql")


def test_a_missing_file_and_an_unknown_encoding_are_refused(tmp_path, export):
    with pytest.raises(InputError, match="No such file"):
        brought([tmp_path / "none.sql"])
    with pytest.raises(InputError, match='no encoding "klingon"'):
        export(SCRIPT, encoding="klingon")
    with pytest.raises(InputError, match="not ascii near byte"):
        export(SCRIPT, "c_Job.sql", encoding="ascii")


def test_an_export_without_c_job_says_what_it_has(export):
    with pytest.raises(InputError, match=r"no row of c_Job in .* \(there are 1 of c_LoggedJob\)"):
        export("INSERT c_LoggedJob (ID, JobID, StartedAt) VALUES (1, 1, '20240101')", "log.sql")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_with_a_header_is_read_with_any_delimiter(export, delimiter, end):
    lines = [HEADER, "1,A,0 2 * * *,usp_A,1", "2,B,0 3 * * *,NULL,False"]
    text = end.join(lines).replace(",", delimiter)

    assert summary(export(text)) == [("1", "A", "0 2 * * *", True), ("2", "B", "0 3 * * *", False)]


def test_quoted_csv_keeps_delimiters_quotes_and_line_breaks(export):
    inventory = export(f'{HEADER}\n1,"A, ""B""\nC","0,30 2 * * *",usp_A,1\n2,D,0 3 * * *,usp_D,0\n')

    assert summary(inventory)[0][2] == "0,30 2 * * *"
    assert inventory.jobs[0].values["jobname"] == 'A, "B"\nC'
    assert [row.line for row in inventory.jobs] == [2, 4]


def test_csv_that_ends_inside_quotes_is_cut_off(export):
    with pytest.raises(Truncated, match=r"c_Job\.csv:3: "):
        export(f'{HEADER}\n1,A,0 2 * * *,usp_A,1\n2,"half')


GRID = """1;Nightly load;0 2 * * *;dbo.usp_Nightly;1;2024-01-31 02:00:00.000;2024-02-01 02:00:00.000;OK;0;1
2;Sync; with semicolon;*/5 * * * *;dbo.usp_Five;0;NULL;NULL;NULL;3;0
3;Multi;0 3 * * *;usp_M;1;2024-01-31 02:00:00.000;NULL;Error line 1
line 2; and more
4 lines left;1;1
4;Last;0 4 * * *;usp_L;1;NULL;NULL;NULL;0;0
5;Bad;0 4 * * *;usp_L;7;NULL;NULL;NULL;0;0
6;Good;0 4 * * *;usp_L;1;NULL;NULL;NULL;0;0
"""


def test_the_grid_of_ssms_without_header_and_quotes_is_put_together_by_its_typed_columns(export):
    inventory = export(GRID)

    assert [name for _, name, _, _ in summary(inventory)] == [
        "Nightly load", "Sync; with semicolon", "Multi", "Last", "Good",
    ]  # fmt: skip
    assert inventory.jobs[2].values["lastresult"] == "Error line 1\nline 2; and more\n4 lines left"
    assert reasons(inventory) == [(7, "10 values for 10 columns, and no way to fit them")]


def test_a_grid_row_that_can_be_read_in_two_ways_is_reported_and_never_guessed(export):
    inventory = export("1,Nightly,0,30 2 * * *,usp_A,1,NULL,NULL,a, b,0,1\r\n")

    assert inventory.job_rows == 1
    assert reasons(inventory) == [
        (1, "can be read in two ways: jobname is 'Nightly' or 'Nightly,0'")
    ]


def test_a_header_of_another_table_and_no_header_at_all_are_refused(export):
    with pytest.raises(InputError, match="no header"):
        export("some,text\nand,more\n", "x.csv")


def test_sqlcmd_output_has_dashes_padding_and_a_footer(export):
    text = (
        "ID  ,JobName   ,CronExpression,StoredProcName,IsActive\n"
        "----,----------,--------------,--------------,--------\n"
        "   1,A         ,0 2 * * *     ,usp_A         ,       1\n"
        "   2,B         ,0 3 * * *     ,NULL          ,       0\n"
        "\n(2 rows affected)\n"
    )
    assert summary(export(text)) == [("1", "A", "0 2 * * *", True), ("2", "B", "0 3 * * *", False)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_bcp_output_has_tabs_and_a_zero_for_an_empty_string(export, encoding):
    text = "1\tA\t0 2 * * *\tusp_A\t1\t2024-01-31 02:00:00.000\t\t\x00\t0\t1\r\n"
    (row,) = export(text.encode(encoding), "c_Job.dat").jobs

    assert (row.values["nextrun"], row.values["lastresult"]) == (None, "")


JOB = {
    "ID": 1,
    "JobName": "A",
    "CronExpression": "0 2 * * *",
    "StoredProcName": "usp_A",
    "IsActive": True,
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([JOB]),
        json.dumps(JOB),
        json.dumps({"c_Job": [JOB]}),
        json.dumps({"dbo.c_Job": [JOB]}),
        "JSON_F52E2B61-18A1-11d1-B105-00805F49916B\n-------------\n" + json.dumps([JOB])[:40] + "\n"
        + json.dumps([JOB])[40:] + "\n\n(1 rows affected)\n",
    ],
)  # fmt: skip
def test_json_is_read_in_each_of_its_forms(export, text):
    assert summary(export(text, "jobs.json")) == [("1", "A", "0 2 * * *", True)]


def test_json_names_the_line_of_each_row_and_takes_companions_along(export):
    text = (
        '{"c_Job": [\n'
        + json.dumps(JOB)
        + ',\n7],\n"c_JobAlertRecipient": [{"JobID": 1, "Email": "a@example.com"}]}'
    )
    inventory = export(text, "jobs.json")

    assert [row.line for row in inventory.jobs] == [2]
    assert reasons(inventory) == [(3, "not an object")]
    assert len(inventory.recipients) == 1


def test_for_json_auto_has_the_recipients_inside_the_job(export):
    (recipient,) = export(
        json.dumps([{**JOB, "r": [{"Email": "a@example.com"}]}]), "jobs.json"
    ).recipients

    assert (reader_rows.key(recipient, *tables.JOB_ID), recipient.table) == (
        "1",
        "c_jobalertrecipient",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [('[{"ID": 1},', "stops before its end"), ('[{"ID": 1}\n, oops]', r"jobs\.json:2:3: not JSON"), ("[1", "stops")],
)  # fmt: skip
def test_broken_json_names_the_place(export, text, words):
    with pytest.raises(InputError, match=words):
        export(text, "jobs.json")


@pytest.mark.parametrize(
    "text",
    [
        '<row ID="1" JobName="A" CronExpression="0 2 * * *" IsActive="1"/>',
        '<?xml version="1.0"?><root>\n<dbo.c_Job ID="1" JobName="A" CronExpression="0 2 * * *" IsActive="1"/></root>',
        "<row><ID>1</ID><JobName>A</JobName><CronExpression>0 2 * * *</CronExpression><IsActive>1</IsActive></row>",
    ],
)
def test_xml_is_read_with_and_without_a_root(export, text):
    assert summary(export(text, "c_Job.xml")) == [("1", "A", "0 2 * * *", True)]


def test_xml_that_is_cut_off_or_brings_entities_is_refused(export):
    with pytest.raises(InputError, match=r"c_Job\.xml:1: not XML"):
        export('<row ID="1"', "c_Job.xml")
    with pytest.raises(InputError, match="DOCTYPE"):
        export('<!DOCTYPE a [<!ENTITY b "c">]><row ID="1"/>', "c_Job.xml")


SHEET = """<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>"""


def workbook(path, rows):
    """Write a minimal workbook: one sheet of numbers and texts."""
    cells = "".join(
        "<row>" + "".join(
            f"<c><v>{cell}</v></c>" if isinstance(cell, int | float) else f'<c t="inlineStr"><is><t>{cell}</t></is></c>'
            for cell in row
        ) + "</row>"
        for row in rows
    )  # fmt: skip
    main, package = (
        "http://schemas.openxmlformats.org/",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.",
    )
    relations = '<Relationships xmlns="{0}package/2006/relationships"><Relationship Id="r1" Type="{0}officeDocument/2006/relationships/{1}" Target="{2}"/></Relationships>'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{main}package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="{package}sheet.main+xml"/><Override PartName="/xl/s.xml" ContentType="{package}worksheet+xml"/></Types>',
        "_rels/.rels": relations.format(main, "officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{main}spreadsheetml/2006/main" xmlns:r="{main}officeDocument/2006/relationships"><sheets><sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations.format(main, "worksheet", "s.xml"),
        "xl/s.xml": SHEET.format(cells),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def test_excel_ids_and_serial_dates_are_what_they_mean(tmp_path):
    path = tmp_path / "jobs.xlsx"
    workbook(path, [[*HEADER.split(","), "LastRun"], [7.0, "A", "0 2 * * *", "usp_A", 1, 45322.25]])
    inventory = brought([path])

    assert summary(inventory) == [("7", "A", "0 2 * * *", True)]
    assert reader_rows.moment(inventory.jobs[0], "lastrun") == datetime.fromisoformat(
        "2024-01-31T06:00"
    )


def test_a_file_that_only_claims_to_be_a_workbook_is_refused(export):
    with pytest.raises(InputError, match="not a workbook"):
        export(b"no zip", "jobs.xlsx")


def test_a_folder_gives_all_its_exports_once(tmp_path):
    (tmp_path / "a.sql").write_text("INSERT c_Job (ID) VALUES (1)")
    (tmp_path / "b.csv").write_text(f"{HEADER}\n2,B,0 3 * * *,usp_B,0\n")
    (tmp_path / "notes.md").write_text("nothing")
    inventory = brought([tmp_path, tmp_path / "a.sql"])

    assert [Path(file.name).name for file in inventory.files] == [
        "a.sql",
        "b.csv",
    ]
    assert inventory.job_rows == 2


@given(st.binary(max_size=300), st.sampled_from([".sql", ".csv", ".json", ".xml", ".xlsx", ""]))
def test_any_bytes_are_rows_or_refused_in_words(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("any") / f"c_Job{suffix}"
    path.write_bytes(content)
    try:
        inventory = brought([path])
    except InputError as error:
        assert error.message  # noqa: PT017 - either end is right
    else:
        assert inventory.job_rows == len(inventory.jobs) + len(inventory.unreadable)


FIELD = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t"),
    max_size=8,
)


@given(
    st.lists(st.tuples(st.integers(0, 999), FIELD, FIELD), min_size=1, max_size=8),
    st.sampled_from(",;\t"),
)
def test_csv_written_by_a_csv_writer_comes_back(tmp_path_factory, records, delimiter):
    import csv

    path = tmp_path_factory.mktemp("csv") / "c_Job.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([["ID", "JobName", "LastResult"], *records])
    rows = [item for item in brought([path]).jobs if isinstance(item, Row)]

    def written(text):
        return None if text in {"", "NULL"} else text

    assert [
        (row.values["id"], row.values["jobname"], row.values["lastresult"]) for row in rows
    ] == [(str(number), written(name), written(result)) for number, name, result in records]


def test_the_source_reads_in_pieces_and_tells_how_far_it_is(tmp_path):
    path = tmp_path / "x.sql"
    path.write_bytes(("-" * 3_000_000).encode())
    steps = []
    source = open_text(path)

    assert sum(map(len, source.chunks(steps.append))) == sum(steps) == 3_000_000
    assert len(steps) > 2
