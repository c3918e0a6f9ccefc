"""Jobs that arrive paused for a cutover: the flag does not count as a change of the old table."""

from c_job_rows import cron_row
from targcc_gen.importing.changes import Kind, Request
from targcc_gen.importing.joining import join_project
from targcc_gen.importing.project import new_project
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply


def test_jobs_arrive_paused_and_stay_as_they_are_with_and_without_the_flag(bring, tmp_path):
    root = tmp_path / "shop"
    script = cron_row(number=1) + cron_row(number=2, name="Other")

    def render(spec, text):
        return render_project(spec, spec_text=text)

    apply(new_project(bring(script), root, render, Request(paused=True)).plan)
    text = (root / "targcc.yaml").read_text(encoding="utf-8")
    assert text.count("paused: true") == 2

    for paused in (False, True):
        again = join_project(bring(script), root, parse_spec(text), text, Request(paused=paused))
        assert {row.kind for row in again.rows} == {Kind.KEPT}
        assert again.plan.is_empty
    more = bring(script + cron_row(number=3, name="Third"))
    joined = join_project(more, root, parse_spec(text), text, Request(paused=True))
    apply(joined.plan)
    assert (root / "targcc.yaml").read_text(encoding="utf-8").count("paused: true") == 3
