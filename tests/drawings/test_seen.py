import numpy as np

from gaitbench.drawings.seen import Seen, Walk, joined


def test_walks_that_two_processes_saw_count_once() -> None:
    def seen(rows: list[int]) -> Seen:
        figures = np.array([[row, np.nan if row == 2 else 1] for row in rows], np.float32)
        walks = [Walk(row, *[None] * 3) for row in rows if row % 2]  # type: ignore[arg-type]
        return Seen(np.array(rows), {"a": figures}, walks)

    whole = joined([seen([0, 1, 2]), seen([5, 3]), seen([0, 5])])
    assert whole.rows.tolist() == [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(whole.figures["a"][:, 0], whole.rows)
    np.testing.assert_array_equal(whole.figures["a"][:, 1], [1, 1, np.nan, 1, 1])
    assert [walk.row for walk in whole.walks] == [1, 3, 5]
