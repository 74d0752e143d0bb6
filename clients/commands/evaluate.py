"""The verb that weighs two files of eval results: eval."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clients.opening import run
from clients.output import show, tell

if TYPE_CHECKING:
    from clients.eval_output import EvalForm
    from clients.evals import Weighed

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
RESULTS = click.Path(exists=True, path_type=Path)  # lm-evaluation-harness writes a folder
FORMS = ("table", "json", "md", "html", "junit")
MODES = ("controlled", "literal")


@click.command("eval")
@click.argument("baseline", type=RESULTS)
@click.argument("candidate", type=RESULTS)
@click.option("--policy", type=FILE, help="A file with the section offline of a release.yaml.")
@click.option("--spec", type=FILE, help="The release.yaml whose settings and candidate these are.")
@click.option("--by", metavar="NAMES", help="Slices, e.g. tense,person [every usable label].")
@click.option("--mode", type=click.Choice(MODES), help="literal: what the plain rule says, beside.")
@click.option("--cluster", help="The column of cases that are not independent.")
@click.option("--safety-baseline", type=RESULTS, help="Safety cases, answered by the baseline.")
@click.option("--safety-candidate", type=RESULTS, help="The same, by the candidate.")
@click.option("--baseline-part", metavar="NAME", help="Of several prompts, providers or tasks.")
@click.option("--candidate-part", metavar="NAME", help="The same, of the candidate's file.")
@click.option("--scorer", metavar="NAME", help="Of several scores, this one.")
@click.option("--examples", type=click.IntRange(0, 1000), help="Changed answers, of each kind.")
@click.option(
    "--output", "form", type=click.Choice(FORMS), help="What stdout or --out carries [table]."
)
@click.option(
    "-o",
    "--out",
    "outs",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Write there, not on stdout; form by --output or by ending. Repeatable.",
)
def evaluate(
    baseline: Path,
    candidate: Path,
    policy: Path | None,
    spec: Path | None,
    by: str | None,
    mode: str | None,
    cluster: str | None,
    safety_baseline: Path | None,
    safety_candidate: Path | None,
    baseline_part: str | None,
    candidate_part: str | None,
    scorer: str | None,
    examples: int | None,
    form: str | None,
    outs: tuple[Path, ...],
) -> None:
    """The offline gate on two files of eval results.

    Exit 0 PASS, 3 BREACH or INCOMPARABLE, 5 INCONCLUSIVE or NO_DATA.
    """
    from clients.evals import Asked, weigh_by_spec, weigh_files
    from clients.releasing import ResultFiles
    from rampway.gates.plans import SliceMode

    columns = tuple(name.strip() for name in (by or "").split(",") if name.strip())
    if spec is not None and (policy or cluster or columns):
        raise click.UsageError(
            "--spec decides by itself. Next: drop --policy, --cluster and --by, or --spec"
        )
    forms = _forms(form, outs)
    files = ResultFiles(
        baseline,
        candidate,
        safety_baseline,
        safety_candidate,
        baseline_part,
        candidate_part,
        scorer,
    )
    shown = SliceMode(mode) if mode else None
    if spec is not None:
        weighed = run(weigh_by_spec(files, spec, shown))
    else:
        weighed = run(weigh_files(files, Asked(policy, cluster, columns, shown)))
    _hand_out(weighed, forms, examples)


def _forms(form: str | None, outs: tuple[Path, ...]) -> "dict[Path | None, EvalForm]":
    """Which form goes where; None stands for stdout."""
    from clients.eval_output import SUFFIXES, EvalForm

    if not outs:
        return {None: EvalForm(form or EvalForm.TABLE)}
    if form is not None:
        if len(outs) > 1:
            raise click.UsageError("--output is one form. Next: one --out, or name forms by ending")
        return {out: EvalForm(form) for out in outs}
    unknown = [out for out in outs if out.suffix not in SUFFIXES]
    if unknown:
        known = ", ".join(SUFFIXES)
        raise click.UsageError(f"--out {unknown[0]}: ends in none of {known}. Next: give --output")
    return {out: SUFFIXES[out.suffix] for out in outs}


def _hand_out(
    weighed: "Weighed", forms: "dict[Path | None, EvalForm]", examples: int | None
) -> None:
    from clients.ci import disarmed
    from clients.eval_output import EvalForm, for_stdout, rendered, tell_github, write_file
    from clients.exits import leave
    from rampway.reports.texts import offline_answer

    for path, form in forms.items():
        text = rendered(weighed, form, examples)
        if path is not None:
            write_file(path, text)
        elif form is EvalForm.TABLE:
            show(for_stdout(text, form).rstrip("\n"))
        else:
            click.echo(for_stdout(text, form), nl=False)
    written = [str(path) for path in forms if path is not None]
    if written:
        tell(disarmed(f"{offline_answer(weighed.verdict)}\nWritten: {', '.join(written)}"))
    tell_github(weighed, examples, on_stderr=forms.get(None, EvalForm.TABLE) is not EvalForm.TABLE)
    leave(weighed.code)


eval = evaluate  # noqa: A001 - the verb's name; the module's commands are looked up by it
