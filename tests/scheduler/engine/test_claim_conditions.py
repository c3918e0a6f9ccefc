"""Claim conditions of features: each program installs different features, and its claims follow them."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from projects import PATH
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_owner
from targcc_scheduler.features import FEATURES

HERE = Path(__file__).resolve().parent
WITHOUT_LEGACY = [name for name in FEATURES if name != "legacy"]


@pytest.fixture(params=["sqlite", "postgresql"])
def run(request, tmp_path):
    """Return a function that runs the program on a database in which the old server owns the job ``Moved``."""
    url = request.getfixturevalue(f"migrated_{request.param}_url")
    old = {"JobName": "Moved", "Owner": "old", "ChangedBy": "dana"}
    with sync_engine(url) as engine, engine.begin() as connection:
        connection.execute(job_owner.insert().values(**old, Since=datetime(2026, 6, 1, tzinfo=UTC)))

    def run(features, *, own=(), will_run):
        path = os.pathsep.join([PATH, str(HERE.parent), str(tmp_path)])
        result = subprocess.run(
            [
                sys.executable,
                str(HERE / "claim_conditions_rig.py"),
                json.dumps([url, list(features), own, will_run]),
            ],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.mark.usefixtures("processes")
def test_a_claim_leaves_the_runs_of_the_old_server(run):
    result = run(FEATURES, will_run=["Frozen", "Ordinary"])
    assert result["states"] == {"Moved": "enqueued", "Frozen": "succeeded", "Ordinary": "succeeded"}
    assert result["asking"] > (9 if result["queued"] else 6)


@pytest.mark.usefixtures("processes")
def test_no_claim_asks_for_owners_without_the_feature_legacy(run):
    result = run(WITHOUT_LEGACY, will_run=["Moved", "Frozen", "Ordinary"])
    assert set(result["states"].values()) == {"succeeded"}
    assert result["asking"] == 0


@pytest.mark.usefixtures("processes")
def test_a_feature_of_the_project_keeps_runs_from_being_claimed(run, tmp_path):
    feature = tmp_path / "holding"
    feature.mkdir()
    (feature / "__init__.py").touch()
    (feature / "feature.py").write_text(
        "from targcc_scheduler.kernel.feature import ClaimCondition, Feature\n"
        'FEATURE = Feature(__name__, parts=(ClaimCondition("claim:HOLDS"),))\n'
    )
    (feature / "claim.py").write_text(
        "from targcc_scheduler.db.tables import job_run\n"
        'HOLDS = job_run.c.JobName.not_in(["Frozen", "a :parameter, 100%"])\n'
    )
    result = run(WITHOUT_LEGACY, own=["holding"], will_run=["Moved", "Ordinary"])
    assert result["states"] == {"Moved": "succeeded", "Frozen": "enqueued", "Ordinary": "succeeded"}
