"""New keys and requirements are merged into a person's pyproject.toml; every other byte stays."""

import pytest
from targcc_gen.sync import pyproject
from targcc_gen.sync.pyproject import merge_pyproject

BASE = """[project]
name = "acme"
dependencies = [
  "alembic>=1.16",
  "click>=8.2",
  "psutil>=7.0",
]

[project.optional-dependencies]
mssql = ["mssql-python>=1.0"]

[project.scripts]
targcc = "acme.scheduler.cli:main"

[dependency-groups]
dev = [
  "black>=25.1",
  "ruff>=0.12",
]

[tool.black]
line-length = 100

[tool.ruff.lint]
select = ["ALL"]
ignore = [
  "COM812", # black owns commas
  "D105",
]

# An installed wheel has them.
[tool.hatch.build.targets.wheel.force-include]
"migrations" = "acme/migrations"
"""
NEW = (
    BASE.replace("click>=8.2", "click>=8.3")
    .replace('  "psutil>=7.0",\n', '  "httpx>=0.28",\n  "psutil>=7.0",\n')
    .replace("scheduler.cli:main", "scheduler:main")
    .replace('"ruff>=0.12"', '"ruff~=0.17.6"')
    .replace('  "D105",\n', '  "D105",\n  "TC",  # imports are together\n')
    .partition("\n# An installed")[0]
)


def followed(mine: str, base: str = BASE, generated: str = NEW) -> str:
    merged = merge_pyproject(base.encode(), mine.encode(), generated.encode())
    return merged.text.decode()


def wanted(mine: str) -> str:
    return merge_pyproject(BASE.encode(), mine.encode(), NEW.encode()).wanted.decode()


def test_an_untouched_file_becomes_the_generators():
    assert followed(BASE) == NEW


MINE = (
    BASE.replace(
        '  "alembic>=1.16",\n',
        '  "orders==3",  # ours\n\n  # migrations\n  "Alembic >= 1.16",\n  "zebra", "yak",\n',
    )
    .replace("[project.scripts]\n", '[project.scripts]\norders = "acme.orders:main"\n')
    .replace("[tool.black]\n", "[tool.mine]\nx = {a = 1,   b = [1,2]}\n\n[tool.black] # narrow\n")
    .replace('["ALL"]', '["E",\n  "F"]')
)


def test_the_persons_own_stays_where_it_is_and_as_it_is():
    text = followed(MINE)
    gone = [line for line in MINE.splitlines() if line not in text.splitlines()]
    assert gone == [
        '  "click>=8.2",',
        'targcc = "acme.scheduler.cli:main"',
        '  "ruff>=0.12",',
        "# An installed wheel has them.",
        "[tool.hatch.build.targets.wheel.force-include]",
        '"migrations" = "acme/migrations"',
    ]
    new = [line for line in text.splitlines() if line not in MINE.splitlines()]
    assert new == [
        '  "click>=8.3",',
        '  "httpx>=0.28",',
        'targcc = "acme.scheduler:main"',
        '  "ruff~=0.17.6",',
        '  "TC",  # imports are together',
    ]


def test_a_requirement_that_is_only_spelled_in_another_way_is_not_the_persons():
    assert '"click>=8.3"' in followed(BASE.replace("click>=8.2", "Click >= 8.2"))


def test_a_requirement_of_the_persons_stays_and_the_line_to_change_is_shown():
    edited = BASE.replace("click>=8.2", "click==8.2.1")
    assert '"click==8.2.1",\n  "httpx>=0.28",' in followed(edited)
    assert wanted(edited) == NEW


def test_what_the_person_removed_stays_removed():
    edited = BASE.replace('  "click>=8.2",\n', "").partition("\n[dependency-groups]")[0]
    text = followed(edited)
    assert "click" not in text
    assert "ruff" not in text
    assert '"httpx>=0.28"' in text


def test_a_requirement_that_the_person_has_already_is_not_added_twice():
    edited = BASE.replace('  "psutil', '  "HTTPX[http2]>=0.27",\n  "psutil')
    assert "httpx" not in followed(edited)
    assert '"httpx>=0.28"' in wanted(edited)


def test_a_requirement_that_the_person_moved_follows_where_it_is_now():
    edited = BASE.replace('  "click>=8.2",\n', "").replace(
        '  "psutil>=7.0",\n', '  "psutil>=7.0",\n  "click>=8.2"\n'
    )
    assert '  "psutil>=7.0",\n  "click>=8.3",\n  "httpx>=0.28",\n]' in followed(edited)


def test_a_requirement_with_two_conditions_is_left_to_the_person():
    both = '  "click>=8.2",\n  "click>=8.3; python_version >= \'3.12\'",\n'
    edited = BASE.replace('  "click>=8.2",\n', both)
    assert both in followed(edited)


def test_what_left_the_generators_goes_unless_the_person_changed_it():
    generated = BASE.replace('  "click>=8.2",\n', "").replace('  "psutil>=7.0",\n', "")
    edited = BASE.replace("psutil>=7.0", "psutil>=6")
    text = followed(edited, generated=generated)
    assert '[\n  "alembic>=1.16",\n  "psutil>=6",\n]' in text


def test_a_new_table_comes():
    generated = f"{BASE}\n[tool.mypy]\nstrict = true\n"
    edited = BASE.replace("100", "88").replace("select", "preview = true\nselect")
    assert followed(edited, generated=generated).endswith("\n[tool.mypy]\nstrict = true\n")


def test_a_table_in_which_the_person_has_more_loses_only_what_left():
    edited = f'{BASE}"data" = "acme/data"\n'
    assert followed(edited).endswith(
        '[tool.hatch.build.targets.wheel.force-include]\n"data" = "acme/data"\n'
    )


def test_lists_on_one_line_stay_on_one_line():
    base = '[project]\ndependencies = ["a>=1", "b>=1"]\n'
    generated = '[project]\ndependencies = ["a>=2", "b>=1", "c>=1"]\n'
    edited = '[project]\ndependencies = [ "x", "a>=1" , "b>=1" ] # all\n'
    assert followed(edited, base, generated) == (
        '[project]\ndependencies = [ "x", "a>=2" , "b>=1", "c>=1" ] # all\n'
    )


@pytest.mark.parametrize("mine", ["[project\n", "", "x = 1\nx = 2\n"])
def test_what_is_no_pyproject_is_not_edited(mine):
    merged = merge_pyproject(BASE.encode(), mine.encode(), NEW.encode())
    assert merged is None or merged.text.decode() == mine


def test_a_file_in_another_order_is_edited_all_the_same():
    tables = BASE.split("\n\n")
    edited = "\n\n".join([*reversed([table.rstrip("\n") for table in tables])]) + "\n"
    text = followed(edited)
    assert 'targcc = "acme.scheduler:main"' in text
    assert '"click>=8.3"' in text
    assert "migrations" not in text


class TestArray:
    ARRAY = '[\n  "a", # the "first, one"\n  { b = [1, 2] },\n  # c comes\n  \'c\'\n]'

    def test_its_elements_are_found_with_their_comments(self):
        elements = pyproject.elements(self.ARRAY)
        assert [element.text for element in elements] == ['"a"', "{ b = [1, 2] }", "'c'"]
        assert elements[0].comment == '# the "first, one"'

    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_one_that_goes_takes_its_line_along(self, index):
        lines = self.ARRAY.split("\n")
        del lines[(1, 2, 4)[index]]
        assert pyproject.removed(self.ARRAY, index) == "\n".join(lines)

    def test_one_behind_the_last_gives_that_a_comma(self):
        (new,) = pyproject.elements('["d"]')
        assert pyproject.inserted(self.ARRAY, 2, new).endswith("  'c',\n  \"d\",\n]")

    @pytest.mark.parametrize("array", ["[]", "[\n]", "[\n  # nothing yet\n]", "[ ]"])
    def test_an_empty_one_takes_one(self, array):
        (new,) = pyproject.elements('["d"]')
        text = pyproject.inserted(array, -1, new)
        assert [element.text for element in pyproject.elements(text)] == ['"d"']
        assert ("#" in text) == ("#" in array)
