"""Text of a spec becomes a string literal, whatever the text contains."""

import ast
import datetime as dt
import subprocess
import sys
import tomllib
import unicodedata
import uuid

import black
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from targcc_gen.render.literals import docstring, is_visible, mdtext, pyliteral, tomlstr, yamlstr

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(TEXT)
def test_a_python_literal_means_the_text(text):
    assert ast.literal_eval(pyliteral(text)) == text


@given(TEXT)
def test_a_python_literal_is_one_line_of_visible_characters(text):
    unassigned = {c for c in text if unicodedata.category(c) in {"Cn", "Co"}}
    assert all(c.isprintable() or c in unassigned for c in pyliteral(text))


@given(TEXT | st.text("'\"\\\na"))
def test_black_leaves_a_literal_as_it_is(text):
    source = f"x = {pyliteral(text)}\n"
    assert black.format_str(source, mode=black.Mode(line_length=10_000)) == source


@given(TEXT)
def test_a_toml_literal_means_the_text(text):
    assert tomllib.loads(f"x = {tomlstr(text)}")["x"] == text


@given(TEXT)
def test_a_yaml_literal_means_the_text(text):
    assert yaml.safe_load(f"x: {yamlstr(text)}")["x"] == text


MARKUP = st.lists(
    st.sampled_from(
        ["<script>", "![x](http://e/)", "[a](javascript:b)", "`", "```", "# ", "- ", "1. ", "1) ", "> ", "* ", "|", "---", "===",
         "&lt;", "&#60;", "<!--", "https://e.example", "www.e.example", "a@b.example", "\\", "_", "~~", "\n\n", "    ", "$", "x", " ", "<b", "+ ", ":"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(TEXT | MARKUP)
@example("\U000e0100")  # a selector of glyphs, which hides text
def test_markdown_shows_the_text_and_nothing_else(text):
    written = mdtext(text)
    assert "\n" not in written
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(written)
    kinds = {token.type for token in tokens} - {"paragraph_open", "paragraph_close", "inline"}
    inner = [child for token in tokens for child in token.children or ()]
    assert (kinds, {child.type for child in inner} - {"text", "text_special"}) == (set(), set())
    shown = "".join(child.content for child in inner)
    visible = "".join(c if is_visible(c) else " " for c in text)
    assert shown.split() == visible.split() or not text.isprintable()
    for machine in ("p://", "www.", "<", "!["):
        assert machine not in written


@given(TEXT.filter(str.strip), st.sampled_from([0, 4]))
def test_a_docstring_is_nothing_but_a_docstring(text, indent):
    margin = " " * indent
    source = f"{margin}{docstring(text, indent)}\n"
    module = ast.parse(f"class X:\n{source}" if indent else source)
    (node,) = module.body[0].body if indent else module.body
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Constant)
    assert node.value.value.split() == text.split()


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("Mail sales.", '"""Mail sales."""'),
        (r"Copy C:\exports.", r'r"""Copy C:\exports."""'),
        ('Say "yes"', '"""Say "yes\\""""'),
        ('"', '"""\\""""'),
        ('""', '"""\\"\\""""'),
        ('"Yes" it says.', '"""\\"Yes" it says."""'),
        ("One.\n\nTwo\nlines.", '"""One.\n\n    Two lines.\n    """'),
    ],
)
def test_docstrings_look_as_people_write_them(text, literal):
    assert docstring(text, 4) == literal


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("it's", '"it\'s"'),
        ('say "hi"', "'say \"hi\"'"),
        (dt.date(2026, 1, 1), "date(2026, 1, 1)"),
        (
            dt.datetime.fromisoformat("2026-01-01T02:00"),
            'datetime.fromisoformat("2026-01-01T02:00:00")',
        ),
        (uuid.UUID(int=1), 'UUID("00000000-0000-0000-0000-000000000001")'),
        (("a",), '("a",)'),
        ({"a": [1, None, True, 1.5]}, '{"a": [1, None, True, 1.5]}'),
    ],
)
def test_values_of_a_spec(value, source):
    assert pyliteral(value) == source


def test_what_no_spec_has_is_refused():
    with pytest.raises(TypeError, match="no literal for set"):
        pyliteral({1})


@pytest.mark.usefixtures("processes")
def test_a_hostile_name_runs_nothing(tmp_path):
    text = '"); open("owned", "w"); ("'
    subprocess.run([sys.executable, "-c", f"x = {pyliteral(text)}"], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())
