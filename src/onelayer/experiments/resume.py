"""Resume unfinished work from its finished parts and checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from onelayer.arguments import checked
from onelayer.errors import InputError, about
from onelayer.evaluation.multilabel import LabelProbing
from onelayer.evaluation.probing import Probing
from onelayer.evaluation.results import Results
from onelayer.evaluation.task import TASK, TASK_FILE, Task
from onelayer.evaluation.unfinished import finished_sets
from onelayer.experiments.complaints import plain_words
from onelayer.experiments.probe import probe_sources, read_call
from onelayer.experiments.reproduce import reproduce, take_part
from onelayer.experiments.spec import Spec
from onelayer.option import build
from onelayer.storage import check_output_folder, unfinished_place
from onelayer.thread_pools import limited
from onelayer.training.checkpoint import checkpoints_of
from onelayer.training.machine import Machine
from onelayer.training.provenance import elsewhere, provenance, recorded
from onelayer.training.world import world

_ENDING = ".unfinished"


@dataclass(frozen=True)
class ResumePlan:
    """The plan of resume: the folder `out`, the call that fills it, and the parts that are `kept`.

    `differs` holds a sentence for each difference from the machine of the earlier training.
    """

    out: Path
    task: Task
    kept: tuple[str, ...]
    differs: tuple[str, ...]


@checked
def plan_resume(folder: str | Path, *, force: bool = False) -> ResumePlan:
    """Return the plan of resume with the same arguments; nothing is changed.

    Raises
    ------
    InputError
        If there is no unfinished work, it cannot be read or continued, or the folder holds an
        earlier run and neither this call nor the first has `force`.
    """
    out = Path(str(folder).removesuffix(_ENDING))
    place = unfinished_place(out)
    kept = checkpoints_of(out)
    if not (place / TASK_FILE).is_file():
        if kept.files():
            raise InputError(
                f"{place}: has checkpoints and no {TASK_FILE}, which says of what; it was half "
                "copied, or is of a call from Python, which goes on when it is made again"
            )
        raise InputError(f"{folder}: nothing is unfinished there; expected a training that ended "
                         "before its end")  # fmt: skip
    task = TASK.load(place / TASK_FILE)
    if not task.command:
        raise InputError(
            f"{place}: was asked for from Python, with data in memory; the same call with "
            "resume=True goes on"
        )
    check_output_folder(out, force=force or bool(task.call.get("force")))
    sets = finished_sets(task, place)
    stacks, damaged = kept.latest()
    words = [f"{each.features.name} is probed" for each in sets]
    words += [f"{stack}: {record.words}" for stack, record in stacks.items()]
    before = [each.provenance for each in sets] + [each.provenance for each in stacks.values()]
    with limited(_call_of(task, place)["machine"].threads):
        here = provenance()
    differs = dict.fromkeys(words for each in before for words in elsewhere(each, here))
    return ResumePlan(out, task, (*words, *damaged), tuple(differs))


@checked
def resume(
    folder: str | Path,
    *,
    force: bool = False,
    announce: Callable[[str], None] = print,
    show: Callable[..., None] | None = None,
) -> Results | Probing | LabelProbing:
    """Continue the unfinished training or probes of a folder, and write the folder.

    On the same machine with the same number of threads the results are those of uninterrupted work,
    bit for bit; elsewhere `announce` gets a sentence for each difference. `show` is called with the
    results before the report is drawn.

    Raises
    ------
    InputError
        As plan_resume does; if the data have changed, or all checkpoints of a stack are damaged.
    """
    plan = plan_resume(folder, force=force)
    call = _call_of(plan.task, unfinished_place(plan.out))
    call |= {"resume": True, "announce": announce, "show": show}
    call["force"] = force or bool(call.get("force"))
    if plan.task.command == "reproduce":
        if not world().leads:
            raise InputError(
                f"{folder}: a training that several processes share is resumed by the command: "
                f"torchrun … -m onelayer resume {folder}"
            )
        return reproduce(_spec_of(plan), plan.out, **call)
    return probe_sources(out=plan.out, **call)


def _call_of(task: Task, place: Path) -> dict[str, Any]:
    """Return the arguments of the command that left something in `place`."""
    with about(place / TASK_FILE):
        call = dict(task.call) if task.command == "reproduce" else read_call(task.call)
        call["machine"] = build(Machine, recorded(call, "machine", Mapping))
        if task.command == "reproduce":
            source = recorded(call, "source", str | NoneType)
            call["source"] = None if source is None else Path(source)
        return call


def help_to_resume(plan: ResumePlan) -> None:
    """Train this rank's part of what rank 0 resumes at the same time."""
    call = _call_of(plan.task, unfinished_place(plan.out))
    if plan.task.command != "reproduce":
        probe_sources(out=plan.out, **call)
        return
    asked = {"source": call["source"], "machine": call["machine"]}
    take_part(_spec_of(plan), plan.out, plan.task, **asked)


def _spec_of(plan: ResumePlan) -> Spec:
    with plain_words(Spec, f"{plan.out}: "):
        return Spec.model_validate(dict(plan.task.asked.options))
