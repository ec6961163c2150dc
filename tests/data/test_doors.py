"""Files as people have them: understood, asked about or refused with the true reason."""

from __future__ import annotations

import pytest

from doors.files import DOORS
from doors.run import visit
from doors.wrong import WRONG

# each takes half a second, so the rest of them waits for `make doors`
BRIEF = [door for place, door in enumerate(DOORS) if place < 6 or place % 12 == 0]


def test_every_file_has_a_name_of_its_own_and_a_right_answer():
    names = [door.name for door in DOORS]
    assert len(names) == len({*names})
    assert [d.name for d in DOORS if not (d.right or d.ask or d.refuse)] == []
    assert [name for name in WRONG if name not in names] == []


@pytest.mark.parametrize(
    "door",
    [
        pytest.param(
            door,
            id=door.name,
            marks=[pytest.mark.xfail(reason=WRONG[door.name], strict=True)]
            if door.name in WRONG
            else [],
        )
        for door in BRIEF
    ],
)
def test_no_file_is_misunderstood(door, tmp_path):
    came = visit(door, tmp_path)
    assert came.outcome != "wrong", came.told
