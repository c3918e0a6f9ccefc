"""Scheduler imports in people's modules are rewritten when the scheduler moves; nothing else in the modules changes."""

import pytest
from targcc_gen.sync.renames.import_names import Names
from targcc_gen.sync.renames.import_rewrite import Here, Rewritten, rewrite

OLD = {
    "__init__.py": "from .job import job\n",
    "tables.py": "metadata = 1\nlogged_job = 2\njob_step = 3\n",
    "actor.py": "SYSTEM = 1\nclass Actor: ...\n",
    "job.py": "from .context import JobCancelled, log\ndef job(): ...\nclass Job: ...\n",
    "context.py": "class JobCancelled(Exception): ...\nlog = 1\ndef helper(): ...\n",
    "masking.py": "def masked(text): ...\n",
    "settings.py": "class Settings: ...\n",
    "database.py": "def migrate(url): ...\ndef current_version(url): ...\n",
    "alerts.py": "class AlertSender: ...\nclass AlertRule: ...\ndef _post(): ...\n",
    "project.py": 'NAME = "acme-jobs"\nQUEUES: dict[str, int] = {"default": 5}\nNOW = time()\n',
    "store/__init__.py": "class Store: ...\n",
}
NEW = {
    "__init__.py": """from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from .core.actor import SYSTEM, Actor
    from .jobs.declaration import job
    from .core.errors import JobCancelled
    from .hosting import migrate
    from .settings import Settings
    from .storage.tables import logged_job, metadata
""",
    "jobs/declaration.py": "def job(): ...\nclass Job: ...\n",
    "core/actor.py": OLD["actor.py"],
    "core/errors.py": "class JobCancelled(Exception): ...\nlog = 1\n",
    "core/text.py": "log = 1\ndef helper(): ...\n",
    "migrations/upgrade.py": "def migrate(url, also=()): ...\n",
    "core/secrets.py": "def mask(text): ...\n",
    "hosting.py": "def migrate(url=None): ...\n",
    "settings.py": "class Settings: ...\n",
    "storage/tables.py": OLD["tables.py"],
    "alerts/dispatcher.py": "class AlertSender: ...\ndef _post(): ...\n",
    "alerts/rules.py": "class AlertRule: ...\n",
    "storage/transactions.py": "class Store: ...\n",
}
TARGETS = {
    "actor.py": ("core/actor.py",),
    "tables.py": ("storage/tables.py",),
    "job.py": ("jobs/declaration.py",),
    "context.py": ("core/errors.py",),
    "masking.py": ("core/secrets.py",),
    "database.py": ("migrations/upgrade.py",),
    "alerts.py": ("alerts/dispatcher.py", "alerts/rules.py"),
    "store/__init__.py": ("storage/transactions.py",),
}
NAMES = Names(OLD, NEW, TARGETS.get)


def followed(source: str, module: str = "acme.jobs.report", **more) -> Rewritten:
    return rewrite(source, Here(module, "acme.scheduler", **more), NAMES)


def test_a_public_name_comes_from_the_scheduler_itself():
    result = followed("from acme.scheduler.tables import logged_job\n\nprint(logged_job)  # ü\n")
    assert result.text == "from acme.scheduler import logged_job\n\nprint(logged_job)  # ü\n"


def test_a_relative_import_stays_relative():
    assert followed("from ..scheduler.job import job\n").text == "from ..scheduler import job\n"
    assert followed("from .scheduler.job import job\n", "acme.main").text == (
        "from .scheduler import job\n"
    )
    package = followed("from .scheduler.job import job\n", "acme", is_package=True)
    assert package.text == "from .scheduler import job\n"


def test_one_statement_takes_them_all_in_order():
    source = "from acme.scheduler import job\nfrom acme.scheduler.settings import Settings\nfrom acme.scheduler.tables import metadata\n"
    assert followed(source).text == "from acme.scheduler import Settings, job, metadata\n"


def test_a_statement_that_gets_too_long_is_written_as_black_does():
    indented = "def f():\n" + " " * 60 + "from acme.scheduler.tables import logged_job, metadata\n"
    source = indented + " " * 60 + "from acme.scheduler.settings import Settings\n"
    text = followed(source).text
    assert "import (\n" in text
    compile(text, "module", "exec")


def test_a_line_that_says_something_stays_a_line_of_its_own():
    source = "from acme.scheduler import job\n# for the report\nfrom acme.scheduler.tables import metadata  # noqa: X\n"
    assert followed(source).text == (
        "from acme.scheduler import job\n# for the report\nfrom acme.scheduler import metadata  # noqa: X\n"
    )


def test_comments_inside_a_statement_stay():
    source = "from acme.scheduler.tables import (\n    metadata,  # all of it\n    logged_job,\n)\n"
    assert followed(source).text == source.replace("scheduler.tables", "scheduler")


def test_a_name_that_is_not_public_comes_from_where_it_is():
    text = followed("from acme.scheduler.tables import job_step, metadata\n").text
    assert text == (
        "from acme.scheduler import metadata\nfrom targcc_scheduler.storage.tables import job_step\n"
    )


def test_a_name_with_another_name_now_keeps_its_own_here():
    text = followed("from acme.scheduler.masking import masked\n").text
    assert text == "from targcc_scheduler.core.secrets import mask as masked\n"


def test_a_name_that_a_module_only_passed_on_is_found():
    text = followed("from acme.scheduler.job import JobCancelled as Stop\n").text
    assert text == "from acme.scheduler import JobCancelled as Stop\n"


def test_a_name_that_several_modules_have_is_that_of_the_module_it_came_from():
    text = followed("from acme.scheduler.job import log\n").text
    assert text == "from targcc_scheduler.core.errors import log\n"


def test_a_name_that_went_to_another_module_than_its_neighbours_is_found():
    text = followed("from acme.scheduler.context import helper\n").text
    assert text == "from targcc_scheduler.core.text import helper\n"


def test_constants_come_before_classes_and_these_before_functions():
    source = "from acme.scheduler.job import job\nfrom acme.scheduler.actor import Actor, SYSTEM\n"
    assert followed(source).text == "from acme.scheduler import SYSTEM, Actor, job\n"


def test_a_value_of_the_project_becomes_one():
    source = "from .scheduler.project import NAME\nfrom .scheduler.job import job\n\napp = NAME\n"
    text = followed(source, "acme.main").text
    assert text == 'from .scheduler import job\n\nNAME = "acme-jobs"\n\napp = NAME\n'


def test_an_import_in_a_function_follows_too():
    source = "def f():\n    from acme.scheduler.project import QUEUES as Q\n    from acme.scheduler.job import job\n    return Q\n"
    text = followed(source).text
    assert text == (
        'def f():\n    from acme.scheduler import job\n    Q = {"default": 5}\n    return Q\n'
    )


def test_a_star_becomes_the_names_in_use():
    text = followed("from acme.scheduler.tables import *\n\nprint(metadata, job_step)\n").text
    assert text.startswith(
        "from acme.scheduler import metadata\nfrom targcc_scheduler.storage.tables import job_step\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import acme.scheduler.tables as t", "import acme.scheduler as t"),
        ("from acme.scheduler import tables as t", "from acme import scheduler as t"),
        ("from ..scheduler import tables as t", "from .. import scheduler as t"),
    ],
)
def test_a_module_whose_names_are_public_becomes_the_scheduler(old, new):
    assert followed(f"{old}\n\nt.metadata\n").text == f"{new}\n\nt.metadata\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import acme.scheduler.tables as t", "import targcc_scheduler.storage.tables as t"),
        (
            "from acme.scheduler import tables as t",
            "from targcc_scheduler.storage import tables as t",
        ),
    ],
)
def test_a_module_with_other_names_becomes_its_new_place(old, new):
    assert followed(f"{old}\n\nt.job_step\n").text == f"{new}\n\nt.job_step\n"


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("import acme.scheduler.context\n", "what it had is in core.errors now"),
        ("import acme.scheduler.alerts as a\na.AlertSender, a.AlertRule\n", "is in alerts."),
        ("import acme.scheduler.masking as m\nm.masked\n", "masked: no more there"),
        ("from acme.scheduler.database import current_version\n", "migrate(url) returns"),
        ("from acme.scheduler.project import NOW\n", "NOW is no more"),
        ("P = ['acme.scheduler.pytest_plugin']\n", "pytest finds the plugin"),
    ],
)
def test_what_cannot_be_rewritten_is_named_with_what_to_write(source, advice):
    result = followed(f"# first\n{source}")
    assert result.text == f"# first\n{source}"
    (left,) = result.left
    assert left.first == 2
    assert advice in left.advice


def test_of_a_statement_what_can_follow_does():
    result = followed("from acme.scheduler.database import current_version, migrate\n")
    assert result.text == (
        "from acme.scheduler import migrate\nfrom acme.scheduler.database import current_version\n"
    )
    assert len(result.left) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "import acme.scheduler.tables\n\nprint(acme.scheduler.tables.job_step)\n",
            "import targcc_scheduler.storage.tables\n\nprint(targcc_scheduler.storage.tables.job_step)\n",
        ),
        (
            "patch('acme.scheduler.alerts._post', None)\n",
            "patch('targcc_scheduler.alerts.dispatcher._post', None)\n",
        ),
        ('load("acme.scheduler.tables")\n', 'load("targcc_scheduler.storage.tables")\n'),
    ],
)
def test_a_name_that_is_written_out_follows(old, new):
    result = followed(old)
    assert (result.text, result.left) == (new, ())


def test_a_module_inside_the_scheduler_imports_its_neighbours_and_the_project():
    old = "from ...services import Orders\nfrom ..tables import job_step, metadata\nfrom . import pager\n"
    result = followed(old, "acme.scheduler.alerts.mine", inside=True)
    assert result.text == (
        "from acme.services import Orders\n"
        "from targcc_scheduler.storage.tables import job_step, metadata\n"
        "from . import pager\n"
    )


def test_dots_that_were_put_right_already_stay():
    old = "from ..tables import job_step\nfrom acme.scheduler.tables import metadata\n"
    result = followed(old, "acme.scheduler.alerts.mine", inside=True, is_placed=True)
    assert result.text == (
        "from ..tables import job_step\nfrom targcc_scheduler.storage.tables import metadata\n"
    )


@pytest.mark.parametrize(
    "source",
    [
        "from acme.scheduler import job\n",
        "from acme.scheduler_of_mine.tables import metadata\n",
        "from other.scheduler.tables import metadata\n",
        "from acme.scheduler.mine import metadata\n",
        "from .tables import metadata\n",
        "def f(:\n    from acme.scheduler.tables import metadata\n",
    ],
)
def test_everything_else_stays(source):
    result = followed(source)
    assert (result.text, result.left) == (source, ())
