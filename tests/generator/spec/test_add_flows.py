"""Flows are added to the text of a spec, which keeps every other character."""

import pytest
from targcc_gen.spec import FlowSpec, FlowStepSpec, add_flows, dump_spec, parse_spec

FLOW = FlowSpec(
    cron="0 2 * * *",
    steps={
        "a": FlowStepSpec(job="Load"),
        "b": FlowStepSpec(job="Tell", after=("a",), on="failure"),
    },
)
JOBS = "targcc: 1\nproject: {name: shop}\njobs:\n  Load: {type: manual}  # mine\n  Tell: {type: manual}\n"
BRACES = '{"targcc": 1, "project": {"name": "shop"}, "jobs": {"Load": {"type": "manual"}, "Tell": {"type": "manual"}}}\n'


@pytest.mark.parametrize(
    "text",
    [
        JOBS,
        JOBS + "flows:\n  First:\n    steps:\n      x: {job: Load}  # keep\n",
        JOBS + "flows: {}\n",
        JOBS + "flows: {First: {steps: {x: {job: Load}}}}\n",
        JOBS + "flows:\n    First: {steps: {x: {job: Load}}}\nmoved: {}\n",
        BRACES,
    ],
)
def test_a_flow_is_added_where_flows_are(text):
    added = add_flows(text, {"Night": FLOW, "Noon": FLOW})
    spec = parse_spec(added, "targcc.yaml")

    assert spec.flows["Night"] == spec.flows["Noon"] == FLOW
    assert [*parse_spec(text, "targcc.yaml").flows, "Night", "Noon"] == list(spec.flows)
    kept = [line for line in text.splitlines() if "#" in line]
    assert [line for line in added.splitlines() if "#" in line] == kept


def test_each_step_has_a_line_of_its_own():
    lines = add_flows(JOBS, {"Night": FLOW}).splitlines()

    assert lines[-6:] == [
        "flows:",
        "  Night:",
        '    cron: "0 2 * * *"',
        "    steps:",
        "      a: {job: Load}",
        "      b: {job: Tell, after: [a], on: failure}",
    ]


def test_names_that_yaml_reads_as_something_else_are_quoted():
    spec = parse_spec(JOBS, "targcc.yaml").model_copy(update={"flows": {"True": FLOW, "No": FLOW}})

    assert parse_spec(dump_spec(spec), "targcc.yaml") == spec
    assert parse_spec(add_flows(JOBS, {"Null": FLOW}), "targcc.yaml").flows == {"Null": FLOW}
