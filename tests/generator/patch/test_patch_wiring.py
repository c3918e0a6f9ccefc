"""Insert the two lines where they work, and remove them without a trace."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targcc_gen.errors import InputError
from targcc_gen.patch.app_file import AppFile, RefusalError, Source
from targcc_gen.patch.import_order import ImportOrder
from targcc_gen.patch.prepare import choose_app
from targcc_gen.patch.wiring import Wiring, includes, is_elsewhere, moved, prefix_of, unwire, wire

DATA = Path(__file__).parents[2] / "data" / "patch"
CASES = sorted(path.name.removesuffix(".before.py") for path in DATA.glob("*.before.py"))
ORDER = ImportOrder(created=frozenset({"acme"}))
WIRING = Wiring("acme.scheduler.app", "acme", order=ORDER)


def patched(data: bytes, app: str | None = None, *, name: str = "main.py") -> bytes:
    file = AppFile(Source(name, data))
    return wire(file, choose_app(file, app, WIRING), WIRING).data


def undone(data: bytes) -> bytes:
    return unwire(Source("main.py", data), WIRING)


def pair(case: str) -> tuple[bytes, bytes]:
    return (DATA / f"{case}.before.py").read_bytes(), (DATA / f"{case}.after.py").read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_adds_one_import_and_one_include_where_they_work(case):
    before, after = pair(case)
    assert patched(before).decode() == after.decode()


@pytest.mark.parametrize("case", CASES)
def test_a_second_run_changes_nothing(case):
    _, after = pair(case)
    assert patched(after) == after


@pytest.mark.parametrize("case", CASES)
def test_undo_restores_every_byte(case):
    before, after = pair(case)
    assert undone(after) == before


def crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def old_mac(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r")


def marked(data: bytes) -> bytes:
    return codecs.BOM_UTF8 + data


def unended(data: bytes) -> bytes:
    return data.removesuffix(b"\n")


def crlf_marked_unended(data: bytes) -> bytes:
    return marked(crlf(unended(data)))


DRESSES = [crlf, old_mac, marked, unended, crlf_marked_unended]


@pytest.mark.parametrize("case", CASES)
def test_line_ends_marks_and_a_missing_last_line_end_stay(case):
    for dress in DRESSES:
        before, after = (dress(data) for data in pair(case))
        assert patched(before) == after, dress
        assert undone(after) == before, dress


def test_each_new_line_ends_like_the_line_before_it():
    before = b"from fastapi import FastAPI\r\nx = 1\napp = FastAPI()\nlast = 1\r\n"
    assert patched(before) == (
        b"from fastapi import FastAPI\r\nfrom acme.scheduler.app import scheduler_router\r\nx = 1\n"
        b"app = FastAPI()\napp.include_router(scheduler_router)\nlast = 1\r\n"
    )


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "shift_jis", "gbk", "iso2022_jp", "koi8-r"]
)
def test_a_declared_encoding_stays(encoding: str):
    words = {"latin-1": "café", "cp1252": "€", "koi8-r": "привет"}.get(encoding, "表示")
    text = f"# -*- coding: {encoding} -*-\nfrom fastapi import FastAPI\napp = FastAPI(title='{words}')\nlast = '{words}'\n"
    before = text.encode(encoding)
    after = patched(before)
    assert [line for line in before.splitlines() if line] == [
        line for line in after.splitlines() if line and b"scheduler_router" not in line
    ]
    assert undone(after) == before


@pytest.mark.parametrize(
    ("imports", "line", "expected"),
    [
        ("from fastapi import FastAPI\n", "from acme.scheduler.app", 3),
        ("from fastapi import FastAPI\n\nfrom acme.a import x\nfrom acme.z import y\n", "from acme.scheduler.app", 4),
        ("from fastapi import FastAPI\n\nfrom .a import x\nfrom .z import y\n", "from .scheduler.app", 4),
        ("from fastapi import FastAPI\n\nimport acme.z\nfrom acme.a import x\n", "from acme.scheduler.app", 5),
        ("from fastapi import FastAPI\n\nfrom acme.z import x\n\nfrom .a import y\n", "from .scheduler.app", 6),
    ],
)  # fmt: skip
def test_the_import_is_where_ruff_sorts_it(imports, line, expected):
    before = f"{imports}\napp = FastAPI(title=x)\n".encode()
    after = patched(before)
    lines = after.decode().splitlines()
    assert [number for number, text in enumerate(lines, 1) if text.startswith(line)] == [expected]
    assert undone(after) == before


def test_tabs_and_form_feeds_stay():
    before = b"from fastapi import FastAPI\n\x0c\ndef create_app():\n\x0c\tapp = FastAPI()\n\x0c\n\treturn app\n\x0c\n"
    after = patched(before)
    assert b"\x0c\tapp = FastAPI()\n\tapp.include_router(scheduler_router)\n\x0c\n" in after
    assert undone(after) == before


WORDS = [
    "x = 'é'",
    "# note",
    "",
    "\x0c",
    "def f():\n    '''a\n\tb'''\n    return 1",
    "if True:\n\tpass",
    "x = (1,\n 2)",
]
ENDS = st.sampled_from(["\n", "\r\n"])


@settings(max_examples=30, deadline=None)  # the first example imports libcst's grammar
@given(
    above=st.lists(st.sampled_from(WORDS)),
    below=st.lists(st.sampled_from([*WORDS, "app.debug = True", "app.mount('/', app)"])),
    factory=st.booleans(),
    end=ENDS,
    last=st.sampled_from(["", "\n"]),
    mark=st.booleans(),
)
def test_undo_of_patch_is_nothing(*, above, below, factory, end, last, mark):
    made = (
        "def create_app():\n\tapp = FastAPI(\n)\n\treturn app"
        if factory
        else "app = FastAPI(title='é')"
    )
    text = "\n".join(["from fastapi import FastAPI", *above, made, *below]) + last
    before = text.replace("\n", end).encode("utf-8-sig" if mark else "utf-8")
    if factory or "app.mount('/', app)" not in below:
        after = patched(before)
        assert after != before
        assert undone(after) == before


REFUSED = {
    "wrapped": (4, "it is wrapped as it is made"),
    "two_apps": (3, "two_apps.py:4  internal"),
    "one_line_block": (3, "no line can follow"),
    "same_line_goes_on": (3, "the same line goes on to use app"),
    "loop": (4, "it is made in a loop (line 3)"),
    "walrus": (3, "it is named within an expression (app := FastAPI())"),
    "not_returned": (5, "main does not return it"),
    "routes_given": (4, "routes="),
    "only_mounted": (4, "it is mounted in another app (line 5)"),
    "unknown_star": (0, "makes no FastAPI app"),
    "made_elsewhere": (0, "app = create_app() comes from acme.factory"),
    "not_fastapi": (3, "app is a Flask application, not FastAPI"),
}


@pytest.mark.parametrize("case", sorted(path.stem for path in (DATA / "refused").iterdir()))
def test_what_is_uncertain_is_refused_with_the_lines_to_paste(case: str):
    line, reason = REFUSED[case]
    path = DATA / "refused" / f"{case}.py"
    with pytest.raises(InputError) as caught:
        patched(path.read_bytes(), name=path.name)
    assert reason in caught.value.message
    if line:
        assert f"{case}.py:{line}" in caught.value.message
    hint = caught.value.hint or ""
    if case != "two_apps":
        assert "from acme.scheduler.app import scheduler_router" in hint or (
            "from acme.scheduler.app import with_scheduler" in hint
        )
        assert ".include_router(scheduler_router)" in hint or " = with_scheduler(" in hint


def test_the_lines_to_paste_name_the_app_and_its_line():
    with pytest.raises(InputError) as caught:
        patched((DATA / "refused" / "routes_given.py").read_bytes())
    assert "main.py, below line 4, below all that changes app" in (caught.value.hint or "")
    assert '    app = with_scheduler(app, "/jobs")\n' in (caught.value.hint or "")


def test_lines_that_were_added_by_hand_count_as_there_and_are_undone():
    by_hand = (
        b"from acme.scheduler.app import with_scheduler\nfrom fastapi import FastAPI\n\n"
        b"app = FastAPI()\napp = with_scheduler(app, '/ops')\n"
    )
    assert patched(by_hand) == by_hand
    assert undone(by_hand) == b"from fastapi import FastAPI\n\napp = FastAPI()\n"


@pytest.mark.parametrize("name", ["internal", "main:internal"])
def test_app_chooses_among_several(name: str):
    after = patched((DATA / "refused" / "two_apps.py").read_bytes(), name)
    assert b"internal = FastAPI()\ninternal.include_router(scheduler_router)\n" in after


@pytest.mark.parametrize("name", ["app", "create_app", "create_app.application"])
def test_app_may_name_the_factory_or_its_result(name: str):
    before, after = pair("factory_and_its_result")
    assert patched(before, name) == after


INNER = {
    "mount": 'app.mount("/", FastAPI())',
    "keyword": 'app.mount("/x", app=FastAPI(title="Inner"))',
    "wrapped": 'app.mount("/x", GZipMiddleware(FastAPI()))',
    "a name in a wrapper": 'inner = FastAPI()\napp.mount("/x", GZipMiddleware(inner))',
    "walrus": 'app.mount("/x", inner := FastAPI())',
    "host": 'app.host("api.example.com", FastAPI())',
    "router": 'app.router.routes.append(Mount("/x", FastAPI()))',
    "two": 'app.mount("/x", FastAPI())\napp.mount("/", FastAPI())',
    "a result": 'app.mount("/x", make())\n\n\ndef make():\n    return FastAPI()',
}


@pytest.mark.parametrize("case", INNER)
@pytest.mark.parametrize("factory", [False, True], ids=["module", "factory"])
def test_an_app_that_is_mounted_as_it_is_made_is_no_second_one(case: str, *, factory: bool):
    lines = f"app = FastAPI()\n{INNER[case]}\n"
    if factory:
        inside = "".join(f"    {line}\n" for line in lines.splitlines())
        lines = f"def create_app():\n{inside}    return app\n"
    head = "from fastapi import FastAPI\nfrom starlette.routing import Mount\n\n"
    after = patched((head + lines).encode())
    assert b"app = FastAPI()\n    app.include_router" in after or (
        b"app = FastAPI()\napp.include_router" in after
    )
    assert after.count(b"scheduler_router") == 2
    assert undone(after) == (head + lines).encode()


def test_routes_of_the_app_itself_may_mount_another_one():
    text = b'from fastapi import FastAPI\n\napp = FastAPI(routes=[Mount("/x", FastAPI())])\n'
    with pytest.raises(InputError, match="routes="):  # refused because of routes= alone
        patched(text)


def test_a_part_that_knows_its_app_does_not_make_the_app_a_part():
    text = b'from fastapi import FastAPI\n\napp = FastAPI()\napp.mount("/x", Pages(app))\n'
    assert b"app.include_router(scheduler_router)" in patched(text)


def test_two_apps_of_one_factory_are_listed_by_names_that_app_takes():
    text = (
        b"from fastapi import FastAPI\n\n\ndef create_apps():\n    shop = FastAPI()\n"
        b"    admin = FastAPI()\n    return shop, admin\n"
    )
    with pytest.raises(InputError, match=r"create_apps\.shop\n.*create_apps\.admin") as caught:
        patched(text)
    assert "--app create_apps.shop" in (caught.value.hint or "")
    assert b"shop.include_router(scheduler_router)" in patched(text, "create_apps.shop")


def test_an_unknown_app_is_refused_with_those_there_are():
    with pytest.raises(
        InputError, match=r"no FastAPI app named aap; it makes app \(line 3\), internal \(line 4\)"
    ):
        patched((DATA / "refused" / "two_apps.py").read_bytes(), "aap")


def test_a_second_app_does_not_get_a_second_scheduler():
    once = patched((DATA / "refused" / "two_apps.py").read_bytes(), "internal")
    with pytest.raises(InputError, match="internal has the scheduler already"):
        patched(once, "app")


MOVED = sorted(path.name.removesuffix(".now.py") for path in (DATA / "moved").glob("*.now.py"))


@pytest.mark.parametrize("case", MOVED)
def test_undo_finds_lines_that_people_moved_or_formatted(case: str):
    now = (DATA / "moved" / f"{case}.now.py").read_bytes()
    assert undone(now) == (DATA / "moved" / f"{case}.undone.py").read_bytes()


@pytest.mark.parametrize("case", MOVED)
def test_lines_that_people_moved_count_as_there(case: str):
    text = (DATA / "moved" / f"{case}.now.py").read_text()
    now = text.replace("app = FastAPI()", "import fastapi\napp = fastapi.FastAPI()", 1)
    if "def " not in now:
        assert patched(now.encode()) == now.encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "routers = [scheduler_router]",
            "main.py:5:12: error: scheduler_router is still used here",
        ),
        (
            "x = app.include_router(scheduler_router)",
            "main.py:5:5: error: this include is part of more",
        ),
    ],
)
def test_undo_refuses_when_the_router_is_used_for_more(line: str, reason: str):
    text = (
        "from fastapi import FastAPI\nfrom acme.scheduler.app import scheduler_router\napp = FastAPI()\n"
        f"app.include_router(scheduler_router)\n{line}\n"
    )
    with pytest.raises(InputError) as caught:
        undone(text.encode())
    assert reason in caught.value.message


@pytest.mark.parametrize("case", CASES)
def test_a_wired_app_gets_another_prefix_and_is_undone(case: str):
    before, after = pair(case)
    wiring = Wiring("acme.scheduler.app", "acme", "/ops", order=ORDER)

    data = again(again(after, wiring), Wiring("acme.scheduler.app", "acme", "/work", order=ORDER))

    assert data == wired(before, Wiring("acme.scheduler.app", "acme", "/work", order=ORDER))
    assert undone(data) == before


def wired(data: bytes, wiring: Wiring) -> bytes:
    file = AppFile(Source("main.py", data))
    return wire(file, choose_app(file, None, wiring), wiring).data


def again(data: bytes, wiring: Wiring) -> bytes:
    file = AppFile(Source("main.py", data))
    assert is_elsewhere(file, wiring)
    result = moved(file, choose_app(file, None, wiring), wiring).data
    assert not is_elsewhere(AppFile(Source("main.py", result)), wiring)
    return result


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mount(app)", 'mount(app, "/ops")'),
        ("mount(app, identify=who)", 'mount(app, "/ops", identify=who)'),
        ("mount(app, prefix='/a', identify=who)", 'mount(app, prefix="/ops", identify=who)'),
        ('app = with_scheduler(app, "/jobs")  # last', 'app = with_scheduler(app, "/ops")  # last'),
        ("mount(app, AT)", "main.py:4:12: error: the prefix is computed here"),
        ("mount(app=app)", "main.py:4:1: error: the app is handed over by name"),
    ],
)
def test_lines_of_people_s_own_get_another_prefix(old: str, new: str):
    head = "from fastapi import FastAPI\nfrom acme.scheduler.app import mount, with_scheduler\napp = FastAPI()\n"
    file = AppFile(Source("main.py", f"{head}{old}\n".encode()))
    wiring = Wiring("acme.scheduler.app", "acme", "/ops", order=ORDER)
    if "error" in new:
        with pytest.raises(InputError, match=re.escape(new)):
            moved(file, None, wiring)
        return
    result = moved(file, None, wiring)
    assert result.data.decode() == f"{head}{new}\n"
    assert result.added == ((4, new),)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("app = Limit(FastAPI())\n", 'app = with_scheduler(app, "/ops")'),
        ("for _ in range(1):\n    app = FastAPI()\n", 'mount(app, "/ops")'),
    ],
)
def test_a_page_of_help_has_the_prefix_that_was_asked_for(text: str, line: str):
    wiring = Wiring("acme.scheduler.app", "acme", "/ops", order=ORDER)
    with pytest.raises(RefusalError) as caught:
        wired(f"from fastapi import FastAPI\n{text}".encode(), wiring)
    assert f"    {line}\n" in str(caught.value.hint)


def test_an_import_of_ours_without_its_include_is_completed():
    before = b"from fastapi import FastAPI\nfrom acme.scheduler.app import scheduler_router as jobs\napp = FastAPI()\n"
    assert patched(before) == before + b"app.include_router(jobs)\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"from fastapi import FastAPI\napp = FastAPI(\n",
            "main.py:2:14: error: '(' was never closed",
        ),
        (b"print 'x'\n", "main.py:1:1: error: Missing parentheses"),
        (b"app = 1\x00\n", "null bytes"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "main.py:1: error: invalid or missing encoding declaration"),
        (b"x = 1\ny = '\xe9'\n", "main.py:2: error: not valid utf-8 (byte 0xe9)"),
        (b"# coding: klingon\n", "unknown encoding"),
        (b"def f():\n\tx = 1\n        y = 2\n", "main.py:3"),
        (b"", "makes no FastAPI app"),
    ],
)
def test_a_file_that_is_not_python_is_refused_with_its_place(data: bytes, reason: str):
    with pytest.raises(InputError) as caught:
        patched(data)
    assert reason in caught.value.message


@pytest.mark.parametrize("case", CASES)
def test_another_prefix_is_handed_to_mount_and_undone(case: str):
    before, after = pair(case)
    wiring = Wiring("acme.scheduler.app", "acme", "/ops", order=ORDER)
    file = AppFile(Source("main.py", before))

    data = wire(file, choose_app(file, None, wiring), wiring).data

    text = data.decode()
    assert re.search(
        r"import mount$|import mount  # noqa: E402$| as mount_scheduler", text, re.MULTILINE
    )
    assert '"/ops")' in text
    assert len(data.splitlines()) == len(after.splitlines())
    assert {
        prefix_of(include) for include in includes(AppFile(Source("main.py", data)), wiring)
    } == {"/ops"}
    assert undone(data) == before
