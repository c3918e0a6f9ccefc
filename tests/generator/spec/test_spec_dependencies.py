"""Dependencies between jobs, unique runs and expiring runs: in a spec, and in every command that changes a spec."""

import ast
import re
from datetime import timedelta
from textwrap import dedent

import jsonschema
import pytest
from targcc_gen import assets
from targcc_gen.errors import InputError
from targcc_gen.render import render_job
from targcc_gen.render.jobs import schedule_words
from targcc_gen.render.vendor import environment_source
from targcc_gen.spec import add_job, build_job, dump_spec, parse_spec, remove_job, rename_job
from targcc_gen.spec.errors import SpecErrors
from targcc_gen.spec.json_schema import spec_schema
from targcc_gen.spec.merge import merge_specs

SPEC = """\
targcc: 1
project: {name: acme-jobs}
jobs:
  ImportOrders: {cron: "0 2 * * *"}
  ImportPrices: {type: manual, name: SP_Prices}
  CheckOrders:
    after: [ImportOrders, import_prices] # both
    unique: customer_id
    unique_scope: 60m
    expires_in: 10m
    params: {customer_id: int = 1}
  TellSales: {after: "CheckOrders", type: fire-and-forget, unique: [day, shop], on_duplicate: debounce  90s, params: {day: str = now, shop: int = 1}}
flows:
  MonthEnd: {cron: "0 2 1 * *", steps: {fetch: {job: import_orders}, tell: {job: TellSales, after: fetch}}}
environments:
  staging:
    jobs: {TellSales: {on_duplicate: throttle 1m, expires_in: none}}
    flows: {month_end: {paused: true, overlap: allow}}
"""


def problem(text):
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text)
    return str(caught.value)


def job_problem(body):
    indented = "\n".join("    " + line for line in body.splitlines())
    return problem(f"targcc: 1\nproject: {{name: acme}}\njobs:\n  Nightly:\n{indented}\n")


def decorator(spec, key):
    source = render_job(spec, key)[0].content.decode()
    text = source[source.index("@job") : source.index("\nclass ")]
    return " ".join(text.split()).replace("( ", "(").replace(", )", ")")


def test_they_are_read_rendered_and_written_back():
    spec = parse_spec(SPEC)
    check, tell = spec.jobs["CheckOrders"], spec.jobs["TellSales"]

    assert check.after == ("ImportOrders", "ImportPrices")
    assert (check.unique, check.unique_scope) == (("customer_id",), timedelta(hours=1))
    assert (tell.unique, tell.on_duplicate) == (("day", "shop"), "debounce 1m30s")
    assert decorator(spec, "CheckOrders") == (
        '@job(after=["ImportOrders", "SP_Prices"], unique="customer_id", unique_scope="1h", expires_in="10m")'
    )
    assert decorator(spec, "TellSales") == (
        '@job(JobType.FIRE_AND_FORGET, after=["CheckOrders"], unique=("day", "shop"), on_duplicate="debounce 1m30s")'
    )
    assert schedule_words(check) == "after each run of ImportOrders and ImportPrices that succeeds"
    assert parse_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize("page", ["continuations", "unique", "limits"])
def test_what_the_manual_shows_is_a_spec(page):
    text = (assets.examples().parent / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert parse_spec(f"targcc: 1\nproject: {{name: acme-jobs}}\n{shown}").jobs


def test_editors_take_what_is_taken_here():
    takes = jsonschema.Draft202012Validator(spec_schema()).is_valid
    for job in (
        {"after": "ImportOrders"},
        {"after": ["ImportOrders"], "unique": True, "unique_scope": "queued"},
        {"after": ["ImportOrders"], "type": "manual", "on_duplicate": "skip", "unique": "day"},
        {"every": "5m", "after": "completion", "expires_in": "10m"},
        {"type": "delayed", "unique": ["day"], "on_duplicate": "throttle 1m"},
    ):
        assert takes({"targcc": 1, "project": {"name": "a"}, "jobs": {"Nightly": job}}), job
    for job in (
        {},
        {"unique": False, "after": "A"},
        {"after": []},
        {"unique": 5, "type": "manual"},
        {"cron": "@daily", "at": "2026-01-01"},
    ):
        assert not takes({"targcc": 1, "project": {"name": "a"}, "jobs": {"Nightly": job}}), job


@pytest.mark.parametrize(
    ("body", "place", "message", "advice"),
    [
        ("cron: 0 2 * * *\nafter: Nightly2", "6:5", "has both cron and after", "keep one of them"),
        ("every: 5m\nafter: complete", "6:5", "has both every and after", 'did you mean "completion"?'),
        ("after: []", "5:12", "after is a job, or a list of jobs", "write [ImportOrders]"),
        ("after: 5", "5:12", "after is a job, or a list of jobs", "write [ImportOrders]"),
        ("after: [class]", "5:12", "Python keyword", ""),
        ("after: Nightly\ntimezone: UTC", "6:5", "timezone has no use", "a job after others has no schedule"),
        ("after: Nightly\nmisfire: {}", "6:5", "misfire has no use", "a job after others has no schedule"),
        ("after: Nightly\nanchor: 2026-01-01", "6:5", "anchor has no use", "it goes with every"),
        ("after: X\nparams: {day: str}", "6:19", "when a run of another job starts the job", "default value"),
        ("after: Nightli", "5:12", 'no job "Nightli"', 'did you mean "Nightly"?'),
        ("after: [Nightly]", "5:12", "in a circle: Nightly → Nightly", "take one of the steps out"),
        ("type: manual\nunique: [dya]\nparams: {day: str}", "6:14", 'has no parameter "dya"', 'did you mean "day"?'),
        ("type: manual\nunique: day", "6:13", 'has no parameter "day"', "name it below params"),
        ("type: manual\nunique: false", "6:13", "a list of them, or true", "write [customer_id]"),
        ("type: manual\nunique: Day", "6:13", "is no name for a parameter", "lower-case"),
        ("type: manual\nunique_scope: queued", "6:5", "unique_scope has no use", "it goes with unique"),
        ("type: manual\non_duplicate: skip", "6:5", "on_duplicate has no use", "it goes with unique"),
        ("type: manual\nunique: true\nunique_scope: ever", "7:19", '"ever" is not a duration', ""),
        ("type: manual\nunique: true\non_duplicate: skpi", "7:19", 'cannot be "skpi"', 'did you mean "skip"?'),
        ("type: manual\nunique: true\non_duplicate: debounce", "7:19", "does not say how long", 'write "debounce 30s"'),
        ("type: manual\nunique: true\non_duplicate: throttle 5x", "7:28", '"5x" is not a duration', ""),
        ("every: 5m\nunique: true\non_duplicate: throttle 1m", "7:19", "throttle has no use", "without a schedule"),
        ("type: manual\nunique: true\nunique_scope: 1h\non_duplicate: throttle 1m", "7:5", "unique_scope has no use", "until it starts"),
        ("type: manual\nlimit: {}", "6:5", "limit of job Nightly limits nothing", "running, rate or both"),
        ("type: manual\nlimit: {runing: 2}", "6:13", 'unknown key "runing" in limit of job Nightly', 'did you mean "running"?'),
        ("type: manual\nlimit: {rate: often}", "6:19", "how many in how long", "100/min"),
        ("type: manual\nlimit: {running: 1, burst: 5}", "6:25", "burst has no use", "it goes with rate"),
        ("type: manual\nlimit: {running: 2, weight: 3}", "6:33", "a run of weight 3 has no room under 2", "2 at most"),
        ("type: manual\nlimit: {running: 2, key: dya}\nparams: {day: str}", "6:30", 'has no parameter "dya"', 'did you mean "day"?'),
        ("type: manual\nexpires_in: soon", "6:17", '"soon" is not a duration', ""),
    ],
)  # fmt: skip
def test_what_is_wrong_has_its_place(body, place, message, advice):
    error_text = job_problem(body)
    assert f"targcc.yaml:{place}: error: " in error_text, error_text
    assert message in error_text
    assert advice in error_text


def test_the_scheduler_is_told_what_an_environment_says():
    spec = parse_spec(SPEC)
    staging = ast.literal_eval(environment_source(spec, spec.environments["staging"]))
    assert staging["job_options"] == {
        "TellSales": {"on_duplicate": "throttle 1m", "expires_in": "none"},
        "MonthEnd": {"overlap": "allow", "paused": True},
    }


def test_a_job_may_wait_in_a_queue_that_the_extended_file_has():
    text = SPEC.replace("jobs:", "extends: ../org.yaml\njobs:", 1)
    job = build_job("Archive", {"after": ["TellSales"], "queue": "slow"})
    assert parse_spec(add_job(text, "Archive", job)).jobs["Archive"].queue == "slow"


def test_circles_are_shown_with_their_paths_and_all_of_them():
    text = SPEC.replace('cron: "0 2 * * *"', "after: [TellSales]").replace(
        "type: manual, name", "after: ImportPrices, name"
    )
    error_text = problem(text)
    assert (
        "4:25: error: jobs come after each other in a circle: ImportOrders → CheckOrders → TellSales → ImportOrders\n"
        in error_text
    )
    assert (
        "5:25: error: jobs come after each other in a circle: ImportPrices → ImportPrices\n"
        in error_text
    )


def test_a_long_chain_is_no_circle_and_is_followed_to_its_end():
    chain = "".join(f"  Step{n}: {{after: [Step{n - 1}]}}\n" for n in range(1, 1100))
    head = "targcc: 1\nproject: {name: acme}\njobs:\n"
    assert len(parse_spec(f"{head}  Step0: {{type: manual}}\n{chain}").jobs) == 1100
    assert "circle: Step0 → Step1 →" in problem(f"{head}  Step0: {{after: Step1099}}\n{chain}")


def test_a_flow_is_no_job_to_come_after():
    error_text = problem(SPEC.replace("[ImportOrders, import_prices]", "[MonthEnd, ImportPrices]"))
    assert '7:13: error: no job "MonthEnd"' in error_text
    assert "that is a flow" in error_text


def test_a_renamed_job_is_named_anew_wherever_it_is_named():
    text = rename_job(rename_job(SPEC, "ImportPrices", "PriceList"), "ImportOrders", "Orders")
    assert "    after: [Orders, PriceList] # both\n" in text
    assert "fetch: {job: Orders}" in text
    spec = parse_spec(rename_job(text, "CheckOrders", "Verify"))
    assert spec.jobs["TellSales"].after == ("Verify",)
    assert decorator(spec, "Verify").startswith('@job(after=["Orders", "SP_Prices"], ')
    assert spec.followers("Orders") == ["Verify"]


def test_a_name_from_before_is_that_of_the_job_now():
    text = SPEC.replace("ImportOrders: {cron", "Orders: {cron") + "moved: {ImportOrders: Orders}\n"
    spec = parse_spec(text)
    assert spec.parents("CheckOrders") == ("Orders", "ImportPrices")
    assert decorator(spec, "CheckOrders").startswith('@job(after=["Orders", ')
    assert spec.followers("Orders") == ["CheckOrders"]


def test_a_list_that_jobs_share_is_renamed_once():
    shared = SPEC.replace("after: [Imp", "after: &all [Imp") + "  # end\n"
    shared = shared.replace('after: "CheckOrders", type', "after: *all, type")
    spec = parse_spec(rename_job(shared, "ImportOrders", "Orders"))
    assert (
        spec.jobs["CheckOrders"].after == spec.jobs["TellSales"].after == ("Orders", "ImportPrices")
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("ImportPrices", "CheckOrders comes after ImportPrices"),
        ("ImportOrders", "CheckOrders comes after ImportOrders"),
        ("TellSales", "flow MonthEnd runs TellSales"),
    ],
)
def test_a_job_that_is_needed_is_not_removed(key, message):
    with pytest.raises(InputError, match=message) as refused:
        remove_job(SPEC, key)
    assert (
        f"take {'the step tell of MonthEnd' if key == 'TellSales' else key} out"
        in refused.value.hint
    )


def test_a_job_is_added_after_another_one_and_not_after_nobody():
    added = add_job(SPEC, "Archive", build_job("Archive", {"after": ["tell_sales"]}))
    assert "  Archive: {after: [TellSales]}" in added or "    after: [TellSales]\n" in added
    with pytest.raises(InputError, match='no job "TelSales"'):
        add_job(SPEC, "Archive", build_job("Archive", {"after": ["TelSales"]}))


def test_two_branches_that_each_add_a_job_to_come_after_are_merged():
    base = dedent("""\
        targcc: 1
        project: {name: acme}
        jobs:
          A: {type: manual}
          B: {type: manual}
          C: {type: manual}
          D:
            after: [A]
            unique: true
        """)
    our_text, their_text = base.replace("[A]", "[A, B]"), base.replace("[A]", "[A, C]")
    result = merge_specs(base, our_text, their_text.replace("unique: true", "expires_in: 10m"))
    assert result.disputed == ()
    job = parse_spec(result.text).jobs["D"]
    assert (job.after, job.unique, job.expires_in) == (("A", "B", "C"), None, timedelta(minutes=10))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("month_end: {paused", "month_emd: {paused", '18:13: error: no flow "month_emd"'),
        ("overlap: allow}", "overlap: queue}", 'overlap cannot be "queue"'),
        ("overlap: allow}", "cron: x}", 'unknown key "cron" in flow month_end of environment staging'),
        ("overlap: allow}", "queue: slow}", '18:46: error: no queue "slow"'),
        ("on_duplicate: throttle 1m", "unique_scope: 1h", "17:24: error: unique_scope has no use in job TellSales in staging"),
        ("jobs: {TellSales: {on_dup", "jobs: {ImportOrders: {on_dup", "17:27: error: on_duplicate has no use in job ImportOrders in staging"),
        ("jobs: {TellSales: {on_dup", "jobs: {CheckOrders: {on_dup", "17:40: error: throttle has no use"),
    ],
)  # fmt: skip
def test_what_an_environment_says_wrong_has_its_place(old, new, said):
    assert old in SPEC
    text = SPEC.replace(old, new)
    if "CheckOrders: {on_dup" in new:
        text = text.replace("unique_scope: 60m", "priority: 1").replace(
            "after: [ImportOrders, import_prices] # both", "every: 5m"
        )
    assert said in problem(text)
