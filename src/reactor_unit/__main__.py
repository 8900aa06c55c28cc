"""Entry point of `reactor-unit`: chooses between the serving processes and the command line, and imports only one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from reactor_unit import __version__

SERVING_WORDS = frozenset({"serve", "safe", "fleet"})
EXIT_CLOSED_PIPE = 1
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (the process's own when not given) asks for; return its exit code.

    Ctrl-C and a reader that went away (`| head`) end it without a traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails once more
        return EXIT_CLOSED_PIPE
    return code


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        print(f"reactor-unit {__version__}")
        return 0
    if words and words[0] in SERVING_WORDS:
        from reactor_unit.environment import put_back_what_never_ran

        put_back_what_never_ran()
        from reactor_unit.serve_command import main as serve_main

        return serve_main(words)
    from reactor_unit.cli import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
