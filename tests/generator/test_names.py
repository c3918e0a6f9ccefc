import keyword
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from targcc_gen.errors import InputError
from targcc_gen.names import MAX_LENGTH, JobName, package_problem


@pytest.mark.parametrize(
    "spelling",
    ["DailyReport", "DailyReportJob", "daily_report", "daily-report", "Daily Report", "DAILY_REPORT",
     "daily report job", " daily  report ", "dailyReport"],
)  # fmt: skip
def test_every_usual_spelling_names_the_same_job(spelling):
    name = JobName.parse(spelling)

    assert (name.key, name.class_name) == ("DailyReport", "DailyReportJob")
    assert (name.module, name.display) == ("daily_report", "Daily Report")


@pytest.mark.parametrize(
    ("key", "module", "display"),
    [
        ("SAPSync", "sap_sync", "SAP Sync"),
        ("SyncSAPOrders", "sync_sap_orders", "Sync SAP Orders"),
        ("Report2024", "report2024", "Report2024"),
        ("S3Backup", "s3_backup", "S3 Backup"),
        ("JobReport", "job_report", "Job Report"),
        ("dailyreport", "dailyreport", "Dailyreport"),
    ],
)
def test_acronyms_and_digits_stay_together(key, module, display):
    name = JobName.parse(key)

    assert (name.module, name.display) == (module, display)


@pytest.mark.parametrize(
    ("text", "complaint", "suggestion"),
    [
        ("", "a job needs a name", "DailyReport"),
        ("Job", "not which", "DailyReport"),
        ("2024 report", "starts with a digit", "Job2024Report"),
        ("Żółć", 'has "Ż", "ó", "ł", "ć"', "Zolc"),
        ("x; import os", 'has ";"', "XImportOs"),
        ("class", "Python keyword", "ClassTask"),
        ("Email", "Python's standard library", "EmailTask"),
        ("NUL", "device on Windows", "NULTask"),
        ("com1", "device on Windows", "Com1Task"),
        ("a" * 101, "101 characters", "A" + "a" * 99),
        ("red\x1b[31m", r"\x1b", "Red31m"),
    ],
)
def test_what_is_no_name_is_refused_with_the_nearest_one(text, complaint, suggestion):
    with pytest.raises(InputError) as caught:
        JobName.parse(text)

    assert complaint in caught.value.message
    assert f'"{suggestion}"' in caught.value.hint
    assert caught.value.message.isprintable()
    assert JobName.parse(suggestion).key == suggestion


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("O'Brien's job", "OBriens"),
        ("Nightly (old) #2", "NightlyOld2"),
        ("Żółć 日本", "ZolcRiBen"),
        ("Straße", "Strasse"),
        ("Ærø", "Aero"),
        ("日本", "RiBen"),
        ("דוח מכירות", "DvhMkhyrvt"),
    ],
)
def test_a_legacy_name_becomes_the_nearest_name(text, key):
    assert JobName.from_text(text).key == key


def test_a_legacy_name_that_is_taken_gets_a_number():
    assert (
        JobName.from_text("daily report", taken=["DAILYREPORT", "DailyReport2"]).key
        == "DailyReport3"
    )


def test_a_long_name_that_is_taken_stays_short_enough():
    long = "A" * MAX_LENGTH

    assert JobName.from_text(long, taken=[long]).key == "A" * (MAX_LENGTH - 1) + "2"


@pytest.mark.slow
@given(st.text())
def test_any_text_gives_a_name_that_is_read_back(text):
    name = JobName.from_text(text)

    assert JobName.parse(name.key) == name
    assert name.class_name.isidentifier()
    assert name.class_name.isascii()
    assert name.module.isidentifier()
    assert not keyword.iskeyword(name.module)
    assert name.module not in sys.stdlib_module_names
    assert len(name.key) <= MAX_LENGTH


@given(st.text(max_size=30))
def test_reading_a_name_again_changes_nothing(text):
    try:
        name = JobName.parse(text)
    except InputError:
        return

    assert {JobName.parse(form) for form in (name.key, name.class_name)} == {name}


@pytest.mark.parametrize("package", ["acme_jobs", "Acme", "_private", "a1"])
def test_a_good_package_name_is_accepted(package):
    assert package_problem(package) is None


@pytest.mark.parametrize(
    "package", ["acme-jobs", "1acme", "class", "email", "con", "żółć", "a b", ""]
)
def test_a_package_that_cannot_be_imported_is_refused(package):
    assert package_problem(package)
