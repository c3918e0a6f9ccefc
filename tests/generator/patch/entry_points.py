"""Entry points of real project shapes: the app's definition, the server's target, and the result of `targcc-gen patch`."""

from __future__ import annotations

from dataclasses import dataclass, field

F = "from fastapi import FastAPI\n"
SERVER = F + "\n\nclass Server:\n    def __init__(self):\n        self.app = FastAPI()\n"
FACTORY = F + "\n\ndef create_app():\n    app = FastAPI()\n    return app\n"
LIMIT = (
    "\n\nclass Limit:\n    def __init__(self, app):\n        self.app = app\n\n"
    "    async def __call__(self, scope, receive, send):\n        await self.app(scope, receive, send)\n\n\n"
)


@dataclass(frozen=True)
class Entry:
    """One entry point.

    Args:
        shape: The name in the documentation.
        files: The files of the project.
        file: The file that gets the lines; for a refusal the file that the help names.
        served: The target that the trial loads.
        refused: Part of the line that a person is asked to add; empty when the patch adds the lines.
        arguments: The arguments of the command.
        more: Further lines in the patched file.
        wrapped: The line that wraps the app at the end of its module; empty when the router is included.
    """

    shape: str
    files: dict[str, str]
    file: str = "shop/main.py"
    served: str = "shop.main:app"
    refused: str = ""
    arguments: tuple[str, ...] = ()
    more: tuple[str, ...] = field(default=())
    wrapped: str = ""


def main(text: str, **more: str) -> dict[str, str]:
    """Return the files of a package `shop` with a main module and further modules."""
    others = {f"shop/{name}.py": value for name, value in more.items()}
    return {"shop/__init__.py": "", "shop/main.py": text, **others}


INCLUDE = "app.include_router(scheduler_router)"
WRAP = 'app = with_scheduler(app, "/jobs")'
ENTRIES: dict[str, Entry] = {
    "module": Entry("`app = FastAPI()` in a module", main(F + "app = FastAPI()\n")),
    "annotated": Entry(
        "annotated: `app: FastAPI = FastAPI()`", main(F + "app: FastAPI = FastAPI()\n")
    ),
    "other_name": Entry(
        "under another name", main(F + "service = FastAPI()\n"), served="shop.main:service"
    ),
    "import_alias": Entry(
        "`import fastapi as fa`", main("import fastapi as fa\napp = fa.FastAPI()\n")
    ),
    "name_alias": Entry(
        "`import FastAPI as F`", main("from fastapi import FastAPI as F\napp = F()\n")
    ),
    "package_init": Entry(
        "in a package's `__init__.py`",
        {"shop/__init__.py": F + "app = FastAPI()\n"},
        "shop/__init__.py",
        "shop:app",
    ),
    "no_package": Entry(
        "in no package", {"main.py": F + "app = FastAPI()\n"}, "main.py", "main:app"
    ),
    "src_folder": Entry(
        "below `src`",
        {"src/shop/__init__.py": "", "src/shop/api.py": F + "app = FastAPI()\n"},
        "src/shop/api.py",
        "shop.api:app",
    ),
    "factory_result": Entry(
        "`app = create_app()` beside its factory", main(FACTORY + "\n\napp = create_app()\n")
    ),
    "factory": Entry(
        "a factory that the server calls", main(FACTORY), served="shop.main:create_app()"
    ),
    "factory_defaults": Entry(
        "a factory whose arguments have defaults",
        main(F + "\n\ndef make(debug=False):\n    api = FastAPI(debug=debug)\n    return api\n"),
        served="shop.main:make()",
    ),
    "factory_arguments": Entry(
        "a factory with arguments, called in another module",
        main(
            F + "\n\ndef create_app(settings):\n    app = FastAPI()\n    return app\n",
            asgi="from shop.main import create_app\n\napp = create_app({})\n",
        ),
        served="shop.asgi:app",
    ),
    "returned": Entry(
        "`return FastAPI()`: gets the name `targcc_app`",
        main(F + "\n\ndef create_app():\n    return FastAPI(\n        title='Shop',\n    )\n"),
        served="shop.main:create_app()",
        more=("targcc_app.include_router(scheduler_router)", "return targcc_app"),
    ),
    "returned_twice": Entry(
        "`return FastAPI()` in two branches",
        main(
            F
            + "\n\ndef create_app(x=False):\n    if x:\n        return FastAPI(debug=True)\n    return FastAPI()\n"
        ),
        served="shop.main:create_app()",
    ),
    "self_app": Entry(
        "`self.app = FastAPI()`, and `app = Server().app`",
        main(SERVER + "\n\napp = Server().app\n"),
        more=("self." + INCLUDE,),
    ),
    "self_private": Entry(
        "`self._app`, behind a property",
        main(
            F
            + "\n\nclass Server:\n    def __init__(self):\n        self._app = FastAPI()\n\n    @property\n"
            "    def app(self):\n        return self._app\n\n\nserver = Server()\napp = server.app\n"
        ),
    ),
    "server_object": Entry(
        "a server that loads `main:server.app`",
        {
            **main(SERVER + "\n\nserver = Server()\n"),
            "Procfile": "web: uvicorn shop.main:server.app\n",
        },
        served="shop.main:server.app",
    ),
    "class_attribute": Entry(
        "an attribute of a class",
        main(F + "\n\nclass Server:\n    app = FastAPI()\n\n\napp = Server.app\n"),
    ),
    "if_else": Entry(
        "made in each branch of an `if`",
        main(
            "import os\n"
            + F
            + "if os.environ.get('X'):\n    app = FastAPI(debug=True)\nelse:\n    app = FastAPI()\n"
        ),
    ),
    "one_branch": Entry(
        "made in one branch, imported in the other: below the `if`",
        main(
            "import os\n"
            + F
            + "if os.environ.get('X'):\n    from shop.x import app\nelse:\n    app = FastAPI()\n",
            x="app = None\n",
        ),
    ),
    "rebound": Entry(
        "made again under a condition",
        main(
            "import os\n"
            + F
            + "app = FastAPI()\nif os.environ.get('X'):\n    app = FastAPI(debug=True)\n"
        ),
    ),
    "try_except": Entry(
        "in a `try`",
        main(F + "try:\n    app = FastAPI(title='a')\nexcept Exception:\n    app = FastAPI()\n"),
    ),
    "with_block": Entry(
        "in a `with`",
        main("import contextlib\n" + F + "with contextlib.nullcontext():\n    app = FastAPI()\n"),
    ),
    "wrapped_later": Entry(
        "wrapped later, by a class that passes the lifespan on",
        main(F + LIMIT + "app = FastAPI()\napp = Limit(app)\n"),
    ),
    "subclass": Entry(
        "a subclass in the file", main(F + "\n\nclass Shop(FastAPI): ...\n\n\napp = Shop()\n")
    ),
    "subclass_elsewhere": Entry(
        "a subclass of another module",
        main(
            "from shop.base import Shop\n\napp = Shop()\n",
            base=F + "\n\nclass Shop(FastAPI): ...\n",
        ),
    ),
    "reexported": Entry(
        "FastAPI imported through a module of the project",
        main("from .compat import FastAPI\n\napp = FastAPI()\n", compat=F),
    ),
    "imported": Entry(
        "`from shop.core import app`: followed",
        main("from shop.core import app\n", core=F + "app = FastAPI()\n"),
        "shop/core.py",
        arguments=("shop/main.py",),
    ),
    "imported_relative": Entry(
        "`from .core import api as app`: followed",
        main("from .core import api as app\n", core=F + "api = FastAPI()\n"),
        "shop/core.py",
        arguments=("--app", "shop.main:app"),
    ),
    "factory_elsewhere": Entry(
        "`app = create_app()` of another module: followed",
        main("from shop.core import create_app\n\napp = create_app()\n", core=FACTORY),
        "shop/core.py",
        arguments=("shop/main.py",),
    ),
    "object_elsewhere": Entry(
        "`app = Server().app` of another module: followed",
        main("from shop.core import Server\n\napp = Server().app\n", core=SERVER),
        "shop/core.py",
        arguments=("shop/main.py",),
    ),
    "wraps_elsewhere": Entry(
        "a wrapper around an imported app: followed",
        main(
            "from shop.core import app as inner" + LIMIT + "app = Limit(inner)\n",
            core=F + "app = FastAPI()\n",
        ),
        "shop/core.py",
        arguments=("shop/main.py",),
    ),
    "main_guard": Entry(
        'under `if __name__ == "__main__"`, with `uvicorn.run(app)`',
        {
            "main.py": "import uvicorn\n"
            + F
            + "if __name__ == '__main__':\n    app = FastAPI()\n    uvicorn.run(app)\n"
        },
        "main.py",
        "python main.py",
    ),
    "main_function": Entry(
        "in the function that serves it",
        {
            "main.py": "import uvicorn\n"
            + F
            + "\n\ndef main():\n    app = FastAPI()\n    uvicorn.run(app)\n\n\nif __name__ == '__main__':\n    main()\n"
        },
        "main.py",
        "python main.py",
    ),
    "uvicorn_run": Entry(
        '`uvicorn.run("shop.main:app")` in a script',
        {
            **main(F + "app = FastAPI()\n"),
            "run.py": "import uvicorn\n\nuvicorn.run('shop.main:app')\n",
        },
    ),
    "tool_fastapi": Entry(
        "named by `[tool.fastapi]`",
        {
            **main(F + "app = FastAPI()\n", admin=F + "app = FastAPI()\n"),
            "pyproject.toml": '[tool.fastapi]\nentrypoint = "shop.main:app"\n',
        },
    ),
    "procfile": Entry(
        "named by a Procfile",
        {
            **main(F + "app = FastAPI()\n", admin=F + "app = FastAPI()\n"),
            "Procfile": "web: uvicorn shop.main:app --port $PORT\n",
        },
    ),
    "dockerfile": Entry(
        "named by a Dockerfile",
        {
            **main(F + "app = FastAPI()\n", admin=F + "app = FastAPI()\n"),
            "Dockerfile": 'FROM python\nCMD ["fastapi", "run", "shop/main.py", "--port", "80"]\n',
        },
        served="shop.main:app",
    ),
    "compose": Entry(
        "named by a compose file",
        {
            **main(FACTORY, admin=F + "app = FastAPI()\n"),
            "compose.yaml": "services:\n  web:\n    command: uvicorn --factory shop.main:create_app --host 0.0.0.0\n",
        },
        served="shop.main:create_app()",
    ),
    "gunicorn": Entry(
        "named by gunicorn's settings",
        {
            **main(F + "app = FastAPI()\n", admin=F + "app = FastAPI()\n"),
            "gunicorn.conf.py": 'wsgi_app = "shop.main:app"\nworker_class = "uvicorn.workers.UvicornWorker"\n',
        },
    ),
    "shell_script": Entry(
        "named by a shell script",
        {
            **main(F + "app = FastAPI()\n", admin=F + "app = FastAPI()\n"),
            "start.sh": "exec gunicorn -k uvicorn.workers.UvicornWorker shop.main:app\n",
        },
    ),
    "gunicorn_worker": Entry(
        "gunicorn's worker class in its settings",
        {
            **main(F + "app = FastAPI()\n", admin=F + "app = FastAPI()\n"),
            "deploy/gunicorn.py": "import os\n\nworker_class = os.getenv('WORKER', 'uvicorn.workers.UvicornWorker')\n",
            "Procfile": "web: gunicorn -c deploy/gunicorn.py shop.main:app\n",
        },
    ),
    "docker_module": Entry(
        "`python -m shop` of a Dockerfile",
        {
            **main(F + "app = FastAPI()\n", admin=F + "app = FastAPI()\n"),
            "shop/__main__.py": "import uvicorn\n\nuvicorn.run('shop.main:app', port=80)\n",
            "Dockerfile": 'FROM python\nCMD ["python", "-m", "shop"]\n',
        },
    ),
    "factory_in_function": Entry(
        "a factory with arguments, called where the server starts",
        {
            **main(
                F + "\n\ndef create_app(settings):\n    app = FastAPI()\n    return app\n",
                admin=F + "app = FastAPI()\n",
            ),
            "run.py": "import uvicorn\n\nfrom shop.main import create_app\n\n\ndef main():\n    app = create_app({})\n"
            "    uvicorn.run(app)\n\n\nif __name__ == '__main__':\n    main()\n",
        },
        served="python run.py",
    ),
    "factory_handed_over": Entry(
        "a factory with arguments, in the call that serves it",
        {
            **main(
                F + "\n\ndef create_app(settings):\n    app = FastAPI()\n    return app\n",
                admin=F + "app = FastAPI()\n",
            ),
            "run.py": "import uvicorn\n\nfrom shop.main import create_app\n\nif __name__ == '__main__':\n"
            "    uvicorn.Server(uvicorn.Config(create_app({}))).run()\n",
        },
        served="python run.py",
    ),
    "root_mount": Entry(
        'with `app.mount("/", …)` and a catch-all',
        main(F + "app = FastAPI()\napp.mount('/', FastAPI())\n"),
        arguments=("--app", "app"),
    ),
    "wrapped_at_once": Entry(
        "wrapped as it is made: `app = Limit(FastAPI())`",
        main(F + LIMIT + "app = Limit(FastAPI())\n"),
        wrapped=WRAP,
    ),
    "routes_given": Entry(
        "made with `routes=`",
        main(F + "app = FastAPI(routes=[])\n"),
        wrapped=WRAP,
    ),
    "walrus": Entry(
        "named within an expression",
        main(F + "if app := FastAPI():\n    pass\n"),
        wrapped=WRAP,
    ),
    "one_line": Entry(
        "on the line of its `if`", main(F + "if True: app = FastAPI()\n"), wrapped=WRAP
    ),
    "loop": Entry("made in a loop", main(F + "for _ in [1]:\n    app = FastAPI()\n"), wrapped=WRAP),
    "package_outside": Entry(
        "from a package outside of the project",
        main("from colorsys import rgb_to_hsv as create_app\n\napp = create_app()\n"),
        refused=WRAP,
        arguments=("shop/main.py",),
    ),
    "starlette": Entry(
        "Starlette",
        main("from starlette.applications import Starlette\n\napp = Starlette()\n"),
        wrapped=WRAP,
    ),
    "litestar": Entry(
        "Litestar",
        main("from litestar import Litestar\n\napp = Litestar()\n"),
        wrapped=WRAP,
    ),
    "litestar_factory": Entry(
        "Litestar, made by a factory",
        main("from litestar import Litestar\n\n\ndef create_app():\n    return Litestar()\n"),
        refused='return with_scheduler(Litestar(), "/jobs")',
    ),
    "django_channels": Entry(
        "Django behind a router of protocols",
        {
            "shop/__init__.py": "",
            "shop/asgi.py": "from channels.routing import ProtocolTypeRouter\nfrom django.core.asgi import get_asgi_application\n\n"
            "inner = get_asgi_application()\napplication = ProtocolTypeRouter({'http': inner})\n",
        },
        "shop/asgi.py",
        wrapped='application = with_scheduler(application, "/jobs")',
    ),
    "django_asgi": Entry(
        "Django, served by ASGI",
        {
            "shop/__init__.py": "",
            "shop/asgi.py": "from django.core.asgi import get_asgi_application\n\napplication = get_asgi_application()\n",
            "shop/wsgi.py": "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n",
        },
        "shop/asgi.py",
        wrapped='application = with_scheduler(application, "/jobs")',
    ),
    "django_wsgi": Entry(
        "Django, served by WSGI alone",
        {
            "shop/__init__.py": "",
            "shop/wsgi.py": "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n",
        },
        "shop/wsgi.py",
        refused=" worker ",
    ),
    "flask_factory": Entry(
        "Flask, made by a factory",
        main(
            "from flask import Flask\n\n\ndef create_app():\n    app = Flask(__name__)\n    return app\n"
        ),
        refused='application = with_scheduler(WSGIMiddleware(create_app()), "/jobs")',
    ),
    "flask_subclass": Entry(
        "a subclass of Flask",
        main("from flask import Flask\n\n\nclass Shop(Flask): ...\n\n\napp = Shop(__name__)\n"),
        refused='application = with_scheduler(WSGIMiddleware(app), "/jobs")',
    ),
    "flask": Entry(
        "Flask",
        main("from flask import Flask\n\napp = Flask(__name__)\n"),
        refused='application = with_scheduler(WSGIMiddleware(app), "/jobs")',
    ),
}


def table() -> str:
    """Return the table of wrapped and refused apps for the documentation, and one row for the many other shapes."""
    shapes: dict[str, list[str]] = {}
    for entry in ENTRIES.values():
        shapes.setdefault(_what(entry), []).append(entry.shape)
    shapes["two lines where the app is made"] = ["all other shapes (each has a test)"]
    rows = [f"| {what} | {'; '.join(apps)} |" for what, apps in shapes.items()]
    return "\n".join(["| result | the app |", "|---|---|", *rows]) + "\n"


def _what(entry: Entry) -> str:
    if entry.wrapped:
        return '`app = with_scheduler(app, "/jobs")` at the end of the module'
    if not entry.refused:
        return "two lines where the app is made"
    if "WSGIMiddleware" in entry.refused or "worker" in entry.refused:
        return "`targcc serve` or `worker` beside the app, or one ASGI server for both"
    return f"refused; by hand: `{entry.refused}`"


if __name__ == "__main__":
    import sys

    sys.stdout.write(table())
