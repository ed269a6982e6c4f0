"""The code blocks of the README."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt


README = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: What stands behind the fence; empty for pictures of folders.
        code: Its text.
        line: Of its first line in the file, counted from 1.
        file: Where the text before it says that it belongs: "... in `name.py`:".
    """

    language: str
    code: str
    line: int
    file: str | None = None


def read_blocks(file: Path = README) -> list[Block]:
    """All fenced blocks, in order."""
    blocks, text = [], ""
    for token in MarkdownIt().parse(file.read_text(encoding="utf-8")):
        if token.type == "inline":
            text = token.content
        elif token.type == "fence":
            named = re.search(r"in `([\w.]+)`:$", text)
            blocks.append(Block(token.info.strip(), token.content, token.map[0] + 2, named and named.group(1)))
            text = ""
    return blocks
