"""Exports built to exhaust memory or time: each is refused in words quickly, or read within limits."""

import json
import random
import time
import zipfile
from pathlib import Path

import pytest
from targcc_gen.errors import InputError, TargccError
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.csv import RowRepair
from targcc_gen.readers.exports import read_exports
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job.source import CJobSource
from targcc_gen.sources.c_job.tables import TABLES

HEADER = "ID,JobName,CronExpression,StoredProcName,IsActive"
SECONDS = 8.0
"""Limit of processor time; each file takes about a tenth."""


@pytest.fixture(autouse=True)
def _soon(request):
    started = time.process_time()
    yield
    assert request.node.get_closest_marker("soak") or time.process_time() - started < SECONDS


def read(path):
    source = CJobSource()
    read_exports([path], source.tables, source.take)
    return source.exported


def workbook(path, sheet, strings="", *, names=("xl/sharedStrings.xml",)):
    """Write a small workbook as Excel does."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook {main} xmlns:r="{office}"><sheets><sheet name="c_Job" sheetId="1" r:id="r1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{office}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f"<worksheet {main}><sheetData>{sheet}</sheetData></worksheet>",
        )
        for name in names:
            archive.writestr(name, f"<sst {main}>{strings}</sst>")
    return path


def row(number, values, first="A"):
    inside = "".join(
        f'<c r="{chr(ord(first) + at)}{number}" t="inlineStr"><is><t>{value}</t></is></c>'
        for at, value in enumerate(values)
    )
    return f'<row r="{number}">{inside}</row>'


GOOD = row(1, HEADER.split(",")) + row(2, ["1", "Nightly", "0 2 * * *", "SP_Nightly", "1"])


def test_the_workbook_of_these_tests_is_one(tmp_path):
    exported = read(workbook(tmp_path / "a.xlsx", GOOD))
    assert [reader_rows.text(job_row, "jobname") for job_row in exported.jobs] == ["Nightly"]


@pytest.mark.parametrize("stray", ["XFD1048576", "A1048576", "xfd1048576"])
def test_a_stray_cell_in_the_last_corner_is_refused(tmp_path, stray):
    number = "1048576"
    far = f'<row r="{number}"><c r="{stray}"><v>1</v></c></row>'
    path = workbook(tmp_path / "a.xlsx", GOOD + far)
    if stray.startswith("A"):  # a million rows of five cells
        path = workbook(tmp_path / "a.xlsx", GOOD + far)
    with pytest.raises(InputError, match="far from the others"):
        read(path)


@pytest.mark.slow
def test_one_long_text_that_a_hundred_thousand_cells_mean_is_refused(tmp_path):
    meant = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(2, 60_000))
    path = workbook(tmp_path / "a.xlsx", meant, f"<si><t>{'x' * 10_000}</t></si>")
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="repeated into far more"):
        read(path)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["xl/sharedStrings.xml", "xl/styles.xml", "docProps/app.xml"])
def test_a_part_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path, part):
    path = workbook(tmp_path / "a.xlsx", GOOD, " " * 60_000_000, names=(part,))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to far more"):
        read(path)


@pytest.mark.slow
def test_a_part_whose_header_lies_of_its_length_is_refused(tmp_path):
    path = workbook(tmp_path / "a.xlsx", GOOD, " " * 60_000_000)
    length = (60_000_000 + len('<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"></sst>')).to_bytes(4, "little")  # fmt: skip
    content = path.read_bytes()
    assert length in content
    path.write_bytes(content.replace(length, (100).to_bytes(4, "little")))
    with pytest.raises(InputError, match="unpacks to far more"):
        read(path)


def test_an_archive_of_a_version_that_nobody_knows_is_refused(tmp_path):
    path = workbook(tmp_path / "jobs.xlsx", GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 166  # the required version, in the directory
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a workbook"):
        read(path)


def test_a_workbook_with_entities_is_refused(tmp_path):
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><sst>&b;</sst>'
        archive.writestr("xl/sharedStrings.xml", bomb)
    with pytest.raises(InputError, match="DOCTYPE"):
        read(path)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("suffix", [".ods", ".xlsb", ".xls"])
def test_what_is_no_workbook_of_an_older_format_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"no workbook")
    with pytest.raises(InputError, match="not a workbook"):
        read(path)


@pytest.mark.parametrize("value", ["1", "", "0 ", "x", "2026-01-01", "@a"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_a_row_of_two_thousand_pieces_is_read_in_a_moment(value, delimiter):
    for _, columns in TABLES.headerless():
        repair = RowRepair(columns, delimiter, TABLES.kinds)
        assert len(repair.readings(delimiter.join([value] * 1_990))) <= 2


def test_a_small_file_without_header_takes_no_sixteen_seconds(tmp_path):
    path = tmp_path / "c_Job.csv"
    for text in ("1," * 1_990, "1,x,\n" * 1_000, ("1," * 300 + "\n") * 7, "1;a b;\n" * 20_000):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError):
            read(path)


def test_a_number_of_thousands_of_digits_is_no_fault_of_ours(tmp_path):
    path = tmp_path / "c_Job.json"
    path.write_text('[{"ID": ' + "9" * 4_400 + ', "JobName": "a"}]', encoding="utf-8")
    with pytest.raises(InputError, match="more digits than any database has"):
        read(path)
    path.write_text('[{"ID": 1, "JobName": "a", "Timeout": ' + "9" * 4_000 + "}]", encoding="utf-8")
    read(path)
    with pytest.raises(reader_rows.UnreadableCellError, match="no whole number"):
        reader_rows.integer(Row("c_job", {"timeout": 10**400}, "x", 1), "timeout")


def test_one_line_without_an_end_is_refused_before_it_fills_memory(tmp_path):
    path = tmp_path / "c_Job.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER + "\n1,")
        for _ in range(40):
            file.write("x" * 1_000_000)
    with pytest.raises(InputError, match="a line of more than"):
        read(path)


@pytest.mark.parametrize(
    "text", ["<a>" * 300_000, "[" * 300_000, '{"a":' * 300_000, "<a b='" * 1_000]
)
def test_what_is_nested_deeply_is_refused(tmp_path, text):
    path = tmp_path / ("c_Job.xml" if text.startswith("<") else "c_Job.json")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read(path)


# Fuzzing: valid exports with pieces removed, doubled and exchanged.

EXPORTS = {
    "a.csv": f'{HEADER}\n1,Nightly,0 2 * * *,SP_Nightly,1\n2,"a, b",* * * * *,SP_B,0\n',
    "b.csv": "1,Nightly,0 2 * * *,SP_Nightly,1,2026-01-01 10:00:00,NULL,NULL,,1\n" * 3,
    "a.json": json.dumps([{"ID": 1, "JobName": "Nightly", "CronExpression": "0 2 * * *", "x": [{"a": 1}]}]),
    "a.xml": '<c_Job ID="1" JobName="Nightly" CronExpression="0 2 * * *"/><c_Job><ID>2</ID></c_Job>',
    "a.sql": "INSERT [dbo].[c_Job] ([ID], [JobName]) VALUES (1, N'a''b')\nGO\nUPDATE c_Job SET IsActive = 0 WHERE ID = 1\n",
}  # fmt: skip


def mutated(rng, content):
    """Return an export damaged at random."""
    for _ in range(rng.randrange(1, 6)):
        at, to = sorted(rng.choices(range(len(content) + 1), k=2))
        piece = content[at:to]
        content = rng.choice(
            [
                content[:at] + content[to:],
                content[:to] + piece * rng.choice([1, 2, 200]) + content[to:],
                content[:at] + rng.randbytes(rng.randrange(4)) + content[at:],
                content[:at] + rng.choice([b"'", b'"', b"(", b"[", b"{", b"<", b"/*", b",,,,", b"\0", b"&#"]) * rng.choice([1, 300]) + content[at:],
            ]
        )[:200_000]  # fmt: skip
    return content


def fuzz(folder: Path, times: int, seed: int) -> int:
    """Read mutated exports; return the number that could be read."""
    rng, good = random.Random(seed), 0
    book = workbook(folder / "good.xlsx", GOOD).read_bytes()
    samples = {**{name: text.encode() for name, text in EXPORTS.items()}, "a.xlsx": book}
    for number in range(times):
        name = list(samples)[number % len(samples)]
        path = folder / name
        path.write_bytes(mutated(rng, samples[name]))
        started = time.process_time()
        try:
            read(path)
            good += 1
        except TargccError:
            pass
        assert time.process_time() - started < 3, (seed, number)
    return good


@pytest.mark.slow
def test_exports_that_were_tampered_with_are_read_or_refused(tmp_path):
    assert fuzz(tmp_path, 120, seed=1) > 10


@pytest.mark.soak
def test_many_exports_that_were_tampered_with_are_read_or_refused(tmp_path):
    assert fuzz(tmp_path, 1_500, seed=2) > 100
