"""What configs that compare several runs say of their results, for the page."""

import ast
import re
from collections.abc import Iterator

from bench_programs import CONFIGS

_COMMANDS = re.compile(r"\n\n?Commands?:\n\n(?: {4}.*\n)+\n?")


def sections() -> Iterator[str]:
    """A section a config whose docstring has a table of results."""
    for path in sorted(CONFIGS.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        if any(line.count("±") > 1 and line[:1] == " " for line in text.splitlines()):
            yield section(path.name, text)


def section(name: str, text: str) -> str:
    """What a config does and what came of it, without its commands.

    Args:
        name: of the file.
        text: its docstring. Rows of tables, which are indented in it, are no more;
            other indented lines stay, and are preformatted.
    """
    title, _, rest = _COMMANDS.sub("\n\n", text).partition("\n")
    rest = re.sub(r"(?m)^ {4}\|", "|", rest).strip()
    return f"\n### {title.rstrip('.')}\n\n`configs/{name}`\n\n{rest}\n"
