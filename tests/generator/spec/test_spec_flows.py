"""Flows in a spec: errors name their place, and valid flows are written back and rendered."""

import pytest
from targcc_gen.render import render_project, vendor
from targcc_gen.spec.dump import dump_spec
from targcc_gen.spec.errors import SpecErrors
from targcc_gen.spec.loader import parse_spec
from targcc_scheduler.typed_calls import FlowCall

SPEC = """targcc: 1
project: {name: acme-jobs}
jobs:
  ImportOrders: {type: manual, name: old-orders}
  load_file: {type: manual}
flows:
  month_end:
    cron: "0 2 1 * *"
    misfire: {policy: skip, grace: 1h}
    overlap: allow
    arguments: {month: "", limit: 10, deep: true}
    steps:
      import: {job: ImportOrders}
      load: {job: LoadFile, after: import, for_each: import.files, arguments: {path: "in/{item}"}}
      tell: {job: LoadFile, after: [import, load], on: finish, when: flow.limit > 5}
"""


def test_a_flow_is_written_back_and_rendered():
    spec = parse_spec(SPEC, "targcc.yaml")
    assert parse_spec(dump_spec(spec), "again") == spec
    source = vendor._configure(spec)
    known: dict = {}
    exec(
        f"def configure(project): known.update(project)\nProject = dict\n{source}", {"known": known}
    )
    flow = known["flows"]["MonthEnd"]
    assert (flow["cron"], flow["misfire"], flow["misfire_grace"]) == ("0 2 1 * *", "skip", "1h")
    assert flow["steps"]["import"] == {"job": "old-orders"}
    assert flow["steps"]["tell"]["on"] == "finish"
    assert "flows" not in vendor._configure(parse_spec(SPEC.partition("flows:")[0], "none"))


def test_a_flow_is_rendered_as_a_function_with_its_arguments():
    source = vendor.flows_module(parse_spec(SPEC, "targcc.yaml")).decode()
    module: dict = {}
    exec(source, module)
    call = module["month_end"](month="2026-11", deep=False)
    assert call == FlowCall("MonthEnd", {"month": "2026-11", "deep": False})
    assert (
        'def month_end(*, month: str = "", limit: int = 10, deep: bool = True) -> None:' in source
    )
    with pytest.raises(TypeError, match="mnth"):
        module["month_end"](mnth="2026-11")


def test_a_project_has_a_module_of_flows_if_it_has_flows():
    def paths(text: str) -> set[str]:
        return set(render_project(parse_spec(text, "targcc.yaml")).files)

    assert paths(SPEC) - paths(SPEC.partition("flows:")[0]) == {"src/acme_jobs/flows.py"}


def test_what_is_wrong_with_a_flow_has_its_place():
    for old, new, message in (
        ("job: ImportOrders}", "job: ImportOrder}", '13:21: error: no job "ImportOrder"'),
        ("after: import,", "after: imprt,", '14:36: error: no step "imprt"'),
        ("[import, load]", "[import, tell]", "15:29: error: tell waits for itself: tell → tell"),
        ("limit > 5", "limit >> 5", "15:70: error: this may not be in an expression"),
        ("in/{item}", "in/{itm}", "14:91: error: itm is not known here"),
        ("for_each: import.files", "for_each: import files", "14:61: error: this cannot be read"),
        ("month_end:", "ImportOrders:", '7:3: error: there is a job "ImportOrders" too'),
        ('cron: "0 2 1 * *"', 'cron: "0 2 1 * *"\n    every: 1h', "both cron and every"),
        ("on: finish", "on: end", 'on cannot be "end"'),
        ("  tell:", "  2nd:", "'2nd' is no name of a step"),
        ("limit: 10", "class: 10", '11:28: error: "class" is no name of an argument'),
        ("limit: 10", "my-limit: 10", '"my-limit" is no name of an argument'),
        ("job: LoadFile, after: import,", "jobs: LoadFile, after: import,", 'did you mean "job"'),
    ):
        assert old in SPEC
        with pytest.raises(SpecErrors) as wrong:
            parse_spec(SPEC.replace(old, new, 1), "targcc.yaml")
        assert message in str(wrong.value), (message, str(wrong.value))
