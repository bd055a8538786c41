"""Champion and challenger on the same test cut: who ranks better, and whether the comparison is fair."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from perennial.scoring.frames import Frame, observed
from perennial.scoring.scorer import has_ordered
from perennial.scoring.tasks import Figures, Task, worse_than_baseline
from perennial.scoring.threads import one_thread
from perennial.scoring.training import Trained


@dataclass(frozen=True)
class Compared:
    """The champion's figures at the challenger's test cut. `worse`: why the challenger is not promoted by the rule.

    Not fair, and then `worse` is None: the champion has learned from labels after the test cut, which flatters it.
    """

    figures: Figures
    is_fair: bool
    worse: str | None
    note: str


def beside_champion(
    task: Task, trained: Trained, rows: Frame, champion_card: dict[str, Any], champion: Any, *, as_of: date, seed: int
) -> Compared | None:
    """Judge the champion on the rows of the challenger's test cut; None where it cannot read them or none was tested.

    `rows` and `as_of` as they were given to `training.train`. A challenger that ranks worse by more than two standard
    errors of the paired difference (bootstrap, seeded) is worse.
    """
    names = [feature["name"] for feature in trained.card["features"]]
    if trained.tested is None or any(name not in names for name in champion.feature_names):
        return None
    test = date.fromisoformat(trained.card["cuts"]["test"])
    known = observed(rows, task.horizon_days, as_of)
    later = known.at(has_ordered(known.X, tuple(names))).of((test,))
    places = [*(names.index(name) for name in champion.feature_names), len(names)]
    with one_thread():
        theirs = champion.score(later.X[:, places]).value
    learned_until = date.fromisoformat(champion_card["trained_as_of"])
    is_fair = learned_until <= test
    worse = None
    if is_fair:
        truth, mine = trained.tested.truth, trained.tested.predicted
        worse = worse_than_baseline(task, truth, mine, {"champion": theirs}, seed)
    flattered = f"flattered: it has learned from labels until {learned_until}, the test cut is {test}"
    note = f"judged at {test} as the challenger was" if is_fair else flattered
    return Compared(task.figures(trained.tested.truth, theirs), is_fair, worse, note)
