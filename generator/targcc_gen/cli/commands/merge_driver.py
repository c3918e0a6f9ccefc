"""`targcc-gen merge-driver`: merge the spec by key, the lock by file, and jobs by the arguments of `@job`, when git asks."""

from __future__ import annotations

from pathlib import Path

import click

from targcc_gen.cli.options import project_option

_CONFLICT = 3
"""The exit status of a merge with conflicts; differs from 1, 2, 126 and 127, the statuses of a program that does not start."""
_COMMAND = f"""
targcc-gen merge-driver %O %A %B %P
case $? in
    0) exit 0 ;;
    {_CONFLICT}) exit 1 ;;
esac
if command -v targcc-gen >/dev/null 2>&1
then echo 'targcc-gen failed (see above): git merges' %P 'line by line' >&2
else echo 'targcc-gen is not on the PATH: git merges' %P 'line by line' >&2
fi
git merge-file -L ours -L base -L theirs %A %O %B || exit 1
""".strip()
"""The shell command of the driver. If targcc-gen fails, git merges the lines; otherwise only our side would be left, without markers."""
_NEEDED = 3


@click.command(short_help="Merge generated files for git.")
@click.option("--install", is_flag=True, help="Register the merge driver with git in this clone.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@project_option
@click.pass_context
def merge_driver(
    ctx: click.Context, *, install: bool, files: tuple[Path, ...], project: Path | None
) -> None:
    """Merge FILES for git: BASE OURS THEIRS [PATH]. The result is written to OURS.

    With --install, git calls this command in this clone: for targcc.yaml, which is merged key by key, for the lock, and for the
    jobs' files, whose @job(…) is merged argument by argument. Different changes of the same value stay a conflict, with exit status 3.

    Without targcc-gen on the PATH, or when it fails, git prints a message and merges line by line.

    \b
    Example:
      targcc-gen merge-driver --install
      git merge my-branch && targcc-gen regenerate
    """
    if install:
        if files:
            raise click.UsageError("--install takes no files")
        _install(project)
        return
    if len(files) < _NEEDED:
        raise click.UsageError("give BASE OURS THEIRS, or --install")
    from targcc_gen.sync.merge_driver import Versions, merge_versions

    base, ours, theirs = (path.read_bytes() for path in files[:_NEEDED])
    name = (files[_NEEDED] if len(files) > _NEEDED else files[1]).as_posix()
    text, is_clean = merge_versions(name, Versions(base, ours, theirs))
    files[1].write_bytes(text)
    ctx.exit(0 if is_clean else _CONFLICT)


def _install(project: Path | None) -> None:
    from targcc_gen import git
    from targcc_gen.cli.project import open_project
    from targcc_gen.errors import GitError
    from targcc_gen.render.tree import layout_of

    opened = open_project(project)
    repository = git.Repository.around(opened.root)
    values = {"merge.targcc.name": "targcc-gen, by key", "merge.targcc.driver": _COMMAND}
    if repository is None:
        raise GitError(f"{opened.root} is in no git repository", hint="git init makes one")
    if not git.set_values(repository, values):
        raise GitError(f"git cannot write {repository.common / 'config'}", hint="is git on PATH?")
    below = opened.root.resolve().relative_to(repository.top).as_posix()
    prefix = "/" if below == "." else f"/{below}/"
    layout = layout_of(opened.spec)
    lines = [
        f"{prefix}{path} merge=targcc"
        for path in ("targcc.yaml", ".targcc/lock.jsonl", f"{layout.code}/jobs/*.py")
    ]
    attributes = repository.common / "info" / "attributes"
    _add(attributes, lines)
    click.echo("git merges targcc.yaml, the lock and the jobs by targcc-gen now, in this clone.")
    click.echo("After a merge: targcc-gen regenerate")


def _add(path: Path, lines: list[str]) -> None:
    """Append the lines that the file lacks."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    new = [line for line in lines if line not in before.splitlines()]
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        gap = "" if not before or before.endswith("\n") else "\n"
        path.write_text(before + gap + "\n".join(new) + "\n", encoding="utf-8", newline="\n")
