"""The installed command ``gaitbench``: picks what to run before anything heavy is imported."""

import errno
import sys
from collections.abc import Callable, Sequence

from gaitbench import __version__
from gaitbench.errors import InputError

RUNS = {
    "fit": "train a method on a dataset",
    "validate": "judge a checkpoint on the validation subjects",
    "test": "judge a checkpoint on the test subjects",
    "predict": "write embeddings and judge them",
}
TOOLS = {
    "synthesize": "write a dataset of synthetic walkers in a real format",
    "extract": "find people in videos: gray images, optical flow, silhouettes",
    "pipeline": "run the stages of a method, reusing those that are finished",
    "embed": "turn keypoints of your own videos into embeddings",
    "bench": "measure how fast a config trains, and what limits it",
    "export": "write a trained network to an ONNX file",
    "identify": "find who walks among known people, with a threshold for strangers",
    "evaluate": "judge saved embeddings and attributes again, without a model",
    "compare": "put runs beside each other and beside published figures",
    "report": "write a page with charts, maps and the hardest walks of runs",
    "matrix": "test several checkpoints on several datasets, in one table",
    "report-data": "say what is in a dataset and what is missing",
    "animate": "draw walks of a dataset as an animation",
    "import-checkpoint": "make a published checkpoint one that `test` takes",
}

# errors of the system that mean that a file or folder cannot be written
THE_USERS = (
    *(errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
)


def usage() -> str:
    """The list of commands."""
    lines = [
        "usage: gaitbench COMMAND ...",
        "",
        *(f"  {name:<19}{text}" for name, text in {**RUNS, **TOOLS}.items()),
        "",
        "gaitbench COMMAND --help tells more; gaitbench --version prints the version.",
        "Start: gaitbench synthesize casia-b data/walkers --subjects 20",
    ]
    return "\n".join(lines)


def guarded(program: Callable[[], None]) -> int:
    """Run it; print a user's mistake as one sentence and return 2, otherwise return 0."""
    try:
        program()
    except InputError as error:
        print(f"gaitbench: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in THE_USERS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(
            f"gaitbench: error: {place}{error.strerror}; free the disk, mend the permissions or "
            "name another folder",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("gaitbench: stopped", file=sys.stderr)
        return 130
    return 0


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, or 2 after a mistake of the user."""
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0
    if given[0] == "--version":
        print(f"gaitbench {__version__}")
        return 0
    command, rest = given[0], given[1:]
    if command in RUNS:
        from gaitbench.cli import main

        return guarded(lambda: main(args=given))
    if command in TOOLS:
        from gaitbench import tools

        return guarded(lambda: tools.run(command, rest))
    known = ", ".join((*RUNS, *TOOLS))
    print(f"gaitbench: error: command {command!r} is unknown; choose {known}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(run())
