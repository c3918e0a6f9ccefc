"""Parameters that collide with names in a blueprint's own code are known and refused."""

import ast

import pytest
from targcc_gen.render.jobs import _own_parameters, _printed, job_context
from targcc_gen.spec import BLUEPRINTS, Spec, parse_spec
from targcc_gen.spec.blueprint_names import own_params, taken_names
from targcc_gen.spec.errors import SpecErrors


def names_in_execute(source: str) -> set[str]:
    """Return the names that `execute` binds or reads, except its parameters and the names of classes and constants."""
    functions = (ast.AsyncFunctionDef, ast.FunctionDef)
    (execute,) = [
        member
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for member in node.body
        if isinstance(member, functions) and member.name == "execute"
    ]
    own = {argument.arg for argument in [*execute.args.args, *execute.args.kwonlyargs]}
    used: set[str] = set()
    for node in (inner for statement in execute.body for inner in ast.walk(statement)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.arg):
            used.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            used.add(node.name)
    return {name for name in used - own if name[0].islower()}


@pytest.mark.parametrize("blueprint", BLUEPRINTS)
def test_a_blueprint_names_what_its_execute_uses(blueprint):
    job = {"type": "manual", "blueprint": blueprint}
    spec = Spec.model_validate(
        {"targcc": 1, "project": {"name": "acme-jobs"}, "jobs": {"Sample": job}}
    )
    source = _printed(spec, job_context(spec, "Sample"), f"{blueprint}/job.py.jinja")
    assert taken_names(blueprint) == names_in_execute(source)
    spelled = {"Mapping[str, Any]": "dict", "Sequence[int]": "list[int]"}  # of defaults, read-only
    declared = _own_parameters(spec, "Sample")
    assert own_params(blueprint) == {
        name: spelled.get(kind, kind) for name, kind in declared.items()
    }


@pytest.mark.parametrize("name", ["total", "len", "timedelta"])
def test_such_a_parameter_is_refused_where_it_stands(name):
    text = f"""targcc: 1
project: {{name: acme-jobs}}
jobs:
  Clean:
    type: manual
    blueprint: cleanup
    params: {{{name}: int}}
"""
    if name == "len":
        text = text.replace("cleanup", "report")
    with pytest.raises(SpecErrors) as raised:
        parse_spec(text)
    assert f'targcc.yaml:7:14: error: parameter "{name}" is a name the blueprint' in str(
        raised.value
    )
    assert f'"{name}_value"' in str(raised.value)
