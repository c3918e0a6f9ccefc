"""Kubernetes CronJobs: manifests in YAML, also as Helm renders them and ``kubectl get cronjob -o yaml`` prints them.

Sources: the reference of CronJob, and robfig/cron 3, by which the controller reads schedules.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from targcc_gen.errors import ExportError
from targcc_gen.old_runners.cron import Polling, cron_runs, read_cron_text
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.crontab import schedules_of
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import NOT_PORTED, EntrySource, numbered, text_param
from targcc_gen.sources.model import OldJob, Options, Rejection, SourceKind, Switch
from targcc_gen.sources.reading import Document
from targcc_gen.sources.schedules import zone_named
from targcc_gen.spec import Param

# Manifests.

_CRON_JOB = "cronjob"
TABLES = KnownTables({_CRON_JOB: "CronJob"}, _CRON_JOB, {})
_KIND = re.compile(r"^\s*kind:\s*[\"']?CronJob\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CronJob:
    """A CronJob.

    Attributes:
        row: The file and the line of the manifest.
        name: The name.
        namespace: The namespace.
        spec: The values of ``spec``.
    """

    row: Row
    name: str
    namespace: str
    spec: Mapping[str, Any]

    @property
    def schedule(self) -> str:
        """The schedule, as written."""
        return str(self.spec.get("schedule") or "").strip()

    @property
    def zone(self) -> str:
        """The IANA name of the schedule's zone; empty for the zone of the controller.

        Raises:
            Refused: No zone has the name.
        """
        name = self.spec.get("timeZone")
        return zone_named(str(name), "timeZone") if name else ""


def read_manifests(document: Document) -> Iterator[CronJob | Rejection]:
    """Yield the CronJobs of a file.

    Raises:
        InputError: The file is no YAML.
    """
    file = document.file.name
    loader = yaml.SafeLoader(document.text)
    try:
        while loader.check_node():
            for node in _objects(loader.get_node()):
                value = loader.construct_document(node)
                row = Row(_CRON_JOB, {}, file, node.start_mark.line + 1)
                yield _cron_job(value, row)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else file
        problem = getattr(error, "problem", None) or (
            "it is nested too deeply" if isinstance(error, RecursionError) else error
        )
        hint = "A Helm chart has to be rendered first: helm template"
        raise ExportError(f"{place}: not YAML: {problem}", hint=hint) from None
    finally:
        loader.dispose()


def _objects(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield the CronJobs of a document: itself, or the items of a list."""
    if not isinstance(node, yaml.MappingNode):
        return
    values = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    kind, items = values.get("kind"), values.get("items")
    if isinstance(kind, yaml.ScalarNode) and kind.value == "CronJob":
        yield node
    elif isinstance(items, yaml.SequenceNode):
        for item in items.value:
            yield from _objects(item)


def _cron_job(value: Mapping[str, Any], row: Row) -> CronJob | Rejection:
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = str(metadata.get("name") or metadata.get("generateName") or "")
    spec = value.get("spec")
    if not name or not isinstance(spec, dict):
        return Rejection(row.file, row.line, "is a CronJob without a name or a spec", name)
    return CronJob(row, name, str(metadata.get("namespace") or ""), spec)


def is_manifest(path: Path, head: str) -> bool:
    """Return whether a file has a CronJob."""
    return path.suffix.lower() in {".yaml", ".yml"} and bool(_KIND.search(head))


# Schedules.


def vixie_text(text: str) -> str:
    """Return the text by which Vixie cron names the times that robfig/cron names.

    ``?`` is ``*``. A star with a step restricts a day field here, while Vixie cron takes it as any day. A number with a step begins a range
    that goes to the end of the field, such as ``5/15`` for ``5-59/15``.

    Raises:
        Refused: The text is no schedule of five fields.
    """
    fields = text.split()
    if text.startswith("@every"):
        raise Refused(f'"{text}" counts from the start of the controller, which is no time')
    if len(fields) != 5:  # noqa: PLR2004 - fields of a schedule
        return text
    fields = [re.sub(r"^\?", "*", each) for each in fields]
    for place, whole in ((2, "1-31"), (4, "0-6")):
        fields[place] = re.sub(r"^\*/(?!1$)", f"{whole}/", fields[place])
    for place, last in enumerate((59, 23, 31, 12, 6)):
        fields[place] = re.sub(r"(?<![^,])(\d+)/", rf"\1-{last}/", fields[place])
    return " ".join(re.sub(r"^\*/1$", "*", each) for each in fields)


# The source.

_OVERLAP = {"Allow": "allow", "Forbid": "skip", "Replace": "skip"}


class CronJobs(EntrySource[CronJob]):
    """The source of manifests."""

    tables = TABLES
    suffixes = (".yaml", ".yml")
    hint = "kubectl get cronjob --all-namespaces -o yaml > cronjobs.yaml writes those of a cluster."
    questions = (
        "Does the worker run in an image that has the programs of these CronJobs? Each ran in an image of its own.",
        "Which secrets, volumes and service accounts did the pods have? The worker needs them.",
    )
    advice = (
        "concurrencyPolicy: Allow becomes overlap: allow, Forbid and Replace become skip.",
        "startingDeadlineSeconds becomes the grace of misfire; without it a missed start runs once, however late, up to 100 missed.",
    )
    model = (
        "The controller is simulated as robfig/cron 3 reads a schedule: a day of the month OR a weekday, */2 as a restriction; by its tests a"
        " time in the gap of spring does not run, and a time of the repeated hour runs twice."
    )

    def entries(self, documents: Sequence[Document]) -> Iterator[CronJob | Rejection]:
        """Yield the CronJobs of all files."""
        for document in documents:
            yield from read_manifests(document)

    def starts(
        self, entry: CronJob, zone: ZoneInfo, start: datetime, end: datetime
    ) -> Iterator[datetime]:
        """Return the starts of a CronJob."""
        text = read_cron_text(vixie_text(entry.schedule), "vixie")
        own_zone = ZoneInfo(entry.zone) if entry.zone else zone
        return cron_runs(text, own_zone, start, end, Polling.MINUTE)

    def switch(self, entry: CronJob) -> Switch:
        """Return the commands that suspend and resume a CronJob."""
        namespace = f" --namespace {shlex.quote(entry.namespace)}" if entry.namespace else ""
        call = f"kubectl patch cronjob {shlex.quote(entry.name)}{namespace} --patch"
        off, on = (f"""'{{"spec": {{"suspend": {word}}}}}'""" for word in ("true", "false"))
        return Switch(f"{call} {off}", f"{call} {on}", ".sh", "#")

    def drafts(self, entry: CronJob, _options: Options) -> Iterator[Draft]:
        """Yield the jobs of a CronJob: two for a day of the month OR a weekday."""
        warnings: list[str] = []
        fields = _fields(entry, warnings)
        active = not entry.spec.get("suspend")
        identity = f"{entry.namespace}/{entry.name}" if entry.namespace else entry.name
        for place, cron in enumerate(schedules_of(vixie_text(entry.schedule))):
            name, own_id = numbered(entry.name, identity, place)
            old = OldJob(name, own_id, entry.schedule)
            yield Draft(entry.row, name, {"cron": cron, **fields}, active, old, tuple(warnings))


def _fields(entry: CronJob, warnings: list[str]) -> dict[str, Any]:
    spec = entry.spec
    job = _mapping(_mapping(spec.get("jobTemplate")).get("spec"))
    pod = _mapping(_mapping(job.get("template")).get("spec"))
    policy = str(spec.get("concurrencyPolicy") or "Allow")
    if policy == "Replace":
        warnings.append("concurrencyPolicy: Replace stopped the running pod; here the new start is skipped")  # fmt: skip
    retries = job.get("backoffLimit", 6)
    fields: dict[str, Any] = {
        "retries": min(retries, 100) if isinstance(retries, int) else 6,
        "timeout": _seconds(job.get("activeDeadlineSeconds")),
        "overlap": _OVERLAP.get(policy, "allow"),
        "misfire": {"policy": "run_once", "grace": _seconds(spec.get("startingDeadlineSeconds"))},
    }
    if entry.zone:
        fields["timezone"] = entry.zone
    containers = pod.get("containers")
    containers = [each for each in containers if isinstance(each, dict)] if isinstance(containers, list) else []  # fmt: skip
    return {**fields, **_work(containers, warnings)}


def _seconds(value: Any) -> timedelta | str:
    """Return a duration; ``none`` without one, and for one longer than the calendar."""
    try:
        return timedelta(seconds=value) if isinstance(value, int) and value > 0 else "none"
    except OverflowError:
        return "none"


def _work(containers: Sequence[Mapping[str, Any]], warnings: list[str]) -> dict[str, Any]:
    if len(containers) != 1:
        warnings.append(f"it has {len(containers)} containers: {NOT_PORTED}")
        return {"blueprint": "not-ported"}
    container = containers[0]
    words = [*_texts(container.get("command")), *_texts(container.get("args"))]
    image = str(container.get("image") or "")
    if not container.get("command"):
        warnings.append(f"the image {image} says what it runs: {NOT_PORTED}")
        described = f"The cluster ran the image {image} {shlex.join(words)}".strip()
        return {"blueprint": "not-ported", "description": described[:1000]}
    warnings.append(f"it ran in the image {image}: run the worker of its queue where the program is")  # fmt: skip
    params = {"command": text_param(shlex.join(words))}
    if folder := container.get("workingDir"):
        params["folder"] = text_param(str(folder))
    given = container.get("env")
    pairs = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    plain = {str(each.get("name")): str(each["value"]) for each in pairs if "value" in each}
    if plain:
        params["environment"] = str(Param("dict", plain, required=False))
    if len(plain) < len(pairs) or container.get("envFrom"):
        warnings.append("variables from secrets and config maps are left out: set them for the worker")  # fmt: skip
    return {"blueprint": "command", "params": params}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


KUBERNETES = SourceKind("kubernetes", "Kubernetes", is_manifest, CronJobs)
