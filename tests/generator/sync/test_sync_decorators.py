"""The decorator of a job follows the spec; a person's text keeps every byte."""

import pytest
from targcc_gen.sync.jobs.decorator_merge import sync_decorator
from targcc_gen.sync.merge import Side

PLAIN = '''"""Mail sales."""

from acme.scheduler import JobContext, JobResult, job


@job({arguments})
class SalesJob:
    """Mail sales."""

    async def execute(self, ctx: JobContext) -> JobResult:
        return JobResult.success()
'''


def module(arguments: str) -> str:
    return PLAIN.format(arguments=arguments)


def followed(mine: str, base: str, generated: str, side: Side | None = None):
    return sync_decorator(
        existing=mine.encode(), base=base.encode(), generated=generated.encode(), side=side
    )


def text_after(mine: str, base: str, generated: str, side: Side | None = None) -> str:
    result = followed(mine, base, generated, side)
    assert not result.collisions
    assert not result.problem
    return result.text.decode()


@pytest.mark.parametrize(
    ("base", "generated"),
    [
        ('"0 2 * * *"', '"0 3 * * *"'),
        ('"0 2 * * *"', '"0 2 * * *", timezone="Europe/London", retries=5'),
        ('"0 2 * * *", timezone="Europe/London", retries=5', '"0 2 * * *", retries=5'),
        ('"0 2 * * *"', 'every="15m"'),
        ('every="15m", retries=5', '"0 2 * * *", retries=5'),
        ('"0 2 * * *"', 'every="15m", after="completion"'),
        ('"0 2 * * *"', 'after=["ImportOrders"], expires_in="10m"'),
        ('after=["ImportOrders"]', 'after=["ImportOrders", "ImportPrices"], unique="customer_id"'),
        (
            'after=["ImportOrders"], unique=True, unique_scope="1h"',
            '"0 2 * * *", unique=("customer_id", "day"), on_duplicate="replace"',
        ),
        (
            '"0 2 * * *", retries=1',
            '"0 2 * * *", timezone="Europe/London", retries=1, timeout="5m"',
        ),
    ],
)
def test_an_unedited_job_becomes_what_the_generator_writes(base, generated):
    assert text_after(module(base), module(base), module(generated)) == module(generated)
    assert followed(module(base), module(base), module(generated)).base.decode() == module(
        generated
    )


def test_the_body_is_not_touched():
    base, generated = module('"0 2 * * *"'), module('"0 3 * * *"')
    edited = base.replace(
        "return JobResult.success()",
        "x  =  1 ;  y = 'ä'\n        return  JobResult.success( )  # mine",
    )
    assert text_after(edited, base, generated) == edited.replace("0 2 *", "0 3 *")


def test_arguments_the_person_changed_stay_where_the_spec_says_so():
    base, generated = module('"0 2 * * *", retries=1'), module('"0 3 * * *", retries=1')
    edited = module('"0 2 * * *", retries=9, priority=5')
    result = sync_decorator(
        existing=edited.encode(),
        base=base.encode(),
        generated=generated.encode(),
        keep=("retries", "priority"),
    )
    assert result.text.decode() == module('"0 3 * * *", retries=9, priority=5')
    assert not result.collisions


@pytest.mark.parametrize(
    "rule", ["when_asked", "lambda run, error: 60 * run.failures", "ByService(usual=60)"]
)
def test_a_back_off_rule_stays_where_the_spec_says_so(rule):
    base = module('"0 2 * * *", retries=1, backoff="10s"')
    generated = module('"0 3 * * *", retries=1, backoff="30s"')
    edited = module(f'"0 2 * * *", retries=1, backoff={rule}')
    kept = sync_decorator(
        existing=edited.encode(),
        base=base.encode(),
        generated=generated.encode(),
        keep=("backoff",),
    )
    assert kept.text.decode() == module(f'"0 3 * * *", retries=1, backoff={rule}')
    assert not kept.collisions
    result = followed(edited, base, generated)
    [collision] = result.collisions
    assert (collision.mine, collision.generated) == (f"backoff={rule}\n", 'backoff="30s"\n')
    assert f"backoff={rule}" in result.text.decode()


def test_an_argument_the_person_changed_says_something_else_than_the_spec():
    base = module('"0 2 * * *", retries=1')
    edited = module('"0 2 * * *", retries=9, priority=5')
    shown = [
        (collision.mine, collision.generated)
        for collision in followed(edited, base, base).collisions
    ]
    assert shown == [("retries=9\n", "retries=1\n"), ("priority=5\n", "no priority\n")]
    assert text_after(edited, base, base, Side.GENERATED) == base
    assert text_after(edited, base, base, Side.MINE) == edited


@pytest.mark.parametrize(
    ("spec", "mine"),
    [
        ('"0 2 * * *"', "'0  2 * * *'"),
        ('"0 2 * * *", timeout="1h"', '"0 2 * * *", timeout="60m"'),
        ('"0 2 * * *", timeout="1h"', '"0 2 * * *", timeout=timedelta(minutes=60)'),
        ('"0 2 * * *", timeout="1h"', '"0 2 * * *", timeout=LIMIT'),
        ('"0 2 * * *"', '"0 2 * * *", priority=0, paused=False, overlap="skip"'),
        ('"0 2 * * *"', '"0 2 * * *", retries=3, timezone="UTC", display_name="Sales"'),
        ("JobType.MANUAL", 'overlap="allow"'),
        (
            'after=["ImportOrders", "SP_Prices"]',
            'overlap="allow", after=(orders.ImportOrdersJob, Prices)',
        ),
        (
            'JobType.MANUAL, unique="a", on_duplicate="debounce 1m30s", expires_in="1h"',
            'unique=["a"], on_duplicate="debounce  90s", expires_in=timedelta(hours=1)',
        ),
        ("JobType.MANUAL, unique=True", 'unique=True, on_duplicate="skip", expires_in="none"'),
        (
            '"0 2 * * *", alerts=Alerts(email=("a@example.com",))',
            '"0 2 * * *", alerts=Alerts(on=["failure"], email=["a@example.com"], slack=None)',
        ),
    ],
)
def test_what_says_the_same_is_no_difference(spec, mine):
    head = 'LIMIT = "1h"\n\n\n@job'
    base, mine = (module(arguments).replace("@job", head) for arguments in (spec, mine))
    result = sync_decorator(
        existing=mine.encode(),
        base=base.encode(),
        generated=base.encode(),
        defaults={"retries": 3, "timezone": "UTC", "after": {"Prices": "SP_Prices"}},
    )
    assert (result.text.decode(), result.collisions) == (mine, ())


@pytest.mark.parametrize(
    "mine",
    [
        '"0 3 * * *"',
        'every="1d"',
        "JobType.MANUAL",
        '"0 2 * * *", timeout="2h"',
        '"0 2 * * *", timeout=LIMIT + 1',
        '"0 2 * * *", name="Other"',
        '"0 2 * * *", description="Something else"',
        '"0 2 * * *", misfire_grace="none"',
        '"0 2 * * *", alerts=Alerts(email=("b@example.com",))',
    ],
)
def test_what_says_something_else_is_a_difference(mine):
    base = module('"0 2 * * *"')
    assert followed(module(mine), base, base).collisions


def test_an_argument_both_changed_is_a_collision():
    base, generated, edited = module('"0 2 * * *"'), module('"0 3 * * *"'), module('"0 4 * * *"')
    (collision,) = followed(edited, base, generated).collisions
    assert (collision.mine, collision.generated) == ('"0 4 * * *"\n', '"0 3 * * *"\n')
    assert (collision.first, collision.last) == (6, 6)
    assert text_after(edited, base, generated, Side.GENERATED) == generated
    assert text_after(edited, base, generated, Side.MINE) == edited


def test_both_making_the_same_change_is_none():
    base, generated = module('"0 2 * * *"'), module('"0 3 * * *", retries=2')
    edited = module("\n    '0 3 * * *', retries = 2\n")
    assert text_after(edited, base, generated) == edited


def test_comments_between_the_arguments_stay():
    base = module('"0 2 * * *", retries=1')
    edited = module('\n    "0 2 * * *",  # after the backup\n    retries=1,\n')
    generated = module('"0 3 * * *", retries=1, timeout="5m"')
    assert text_after(edited, base, generated) == module(
        '\n    "0 3 * * *",  # after the backup\n    retries=1,\n    timeout="5m",\n'
    )


def test_a_long_decorator_is_written_as_black_writes_it():
    base = module('"0 2 * * *"')
    generated = module(f'"0 2 * * *", display_name="{"x" * 90}"')
    assert f'\n@job(\n    "0 2 * * *",\n    display_name="{"x" * 90}",\n)\n' in text_after(
        base, base, generated
    )


def test_names_the_new_arguments_need_are_imported():
    base = module('"0 2 * * *"')
    generated = module('JobType.MANUAL, alerts=Alerts(email=("a@example.com",))').replace(
        "import JobContext, JobResult, job", "import Alerts, JobContext, JobResult, JobType, job"
    )
    assert text_after(base, base, generated) == generated


def test_names_only_the_old_arguments_needed_are_dropped():
    generated = module('"0 2 * * *"')
    base = module("JobType.MANUAL").replace("JobResult, job", "JobResult, JobType, job")
    assert text_after(base, base, generated) == generated
    edited = base + "\n\nKIND = JobType.MANUAL\n"
    assert text_after(edited, base, generated) == edited.replace(
        "@job(JobType.MANUAL)", '@job("0 2 * * *")'
    )


def test_a_class_that_was_renamed_keeps_its_history_only_with_its_name():
    base, generated = module('"0 2 * * *"'), module('"0 3 * * *"')
    edited = base.replace("SalesJob", "RevenueJob")
    named = edited.replace('* *"', '* *", name="Sales"')

    result = followed(edited, base, generated)

    assert result.new_name == "Revenue"
    assert [(collision.mine, collision.generated) for collision in result.collisions] == [
        (
            "class RevenueJob, whose history is that of Revenue\n",
            "class SalesJob, whose history is that of Sales\n",
        )
    ]
    assert text_after(named, base, generated) == named.replace("0 2 *", "0 3 *")
    assert text_after(edited, base, base, Side.GENERATED) == named
    assert text_after(edited, base, base, Side.MINE) == edited
    several = edited + base.partition("\n\n\n")[2].replace("SalesJob", "OtherJob")
    assert (
        "SalesJob is not in it, but RevenueJob, OtherJob" in followed(several, base, base).problem
    )
    assert not followed(several.replace('* *"', '* *", name="Sales"', 1), base, base).problem


def test_a_new_description_reaches_a_job_whose_docstring_said_the_old_one():
    base = module('"0 2 * * *"')
    generated = base.replace("Mail sales.", "Mail all sales.")
    assert text_after(base, base, generated) == module('"0 2 * * *", description="Mail all sales."')


def test_a_docstring_that_says_the_new_description_is_enough():
    base = module('"0 2 * * *"')
    generated = base.replace("Mail sales.", "Mail all sales.")
    assert text_after(generated, base, generated) == generated


def test_an_edited_docstring_alone_is_the_persons_business():
    base, generated = module('"0 2 * * *"'), module('"0 3 * * *"')
    edited = base.replace("Mail sales.", "Mail everything.")
    assert text_after(edited, base, generated) == edited.replace("0 2 *", "0 3 *")


def test_a_file_with_a_syntax_error_is_left_alone():
    base, generated = module('"0 2 * * *"'), module('"0 3 * * *"')
    result = followed(base + "def (:\n", base, generated)
    assert "line 12" in result.problem
    assert result.text.decode() == base + "def (:\n"


def test_a_file_without_a_job_is_left_alone():
    base, generated = module('"0 2 * * *"'), module('"0 3 * * *"')
    assert "no @job" in followed("x = 1\n", base, generated).problem
    assert followed("x = 1\n", base, base).is_gone


def test_a_change_of_the_blueprint_alone_is_none():
    base = module('"0 2 * * *"')
    generated = base.replace("JobResult.success()", 'JobResult.success("new")')
    edited = base.replace("SalesJob:", "SalesJob:  # mine")
    assert text_after(edited, base, generated) == edited


def test_what_options_from_elsewhere_say_is_not_known_and_they_stay_last():
    base = module('"0 2 * * *", timeout="1h"')
    edited = module('"0 2 * * *", **OPTIONS')
    generated = module('"0 3 * * *", timeout="1h", retries=2')
    assert not followed(edited, base, base).collisions
    assert text_after(edited, base, generated) == module('"0 3 * * *", retries=2, **OPTIONS')
