# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The papers of `CITATION.cff` as BibTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ..project_files import project_folder


def read_references() -> list[dict[str, Any]]:
    """The papers behind the models, in the order of `CITATION.cff`.

    Raises:
        FileNotFoundError: The file cannot be found.
    """
    content = yaml.safe_load((project_folder() / "CITATION.cff").read_text(encoding="utf-8"))
    return content["references"]


def references_to(papers: Sequence[str]) -> list[dict[str, Any]]:
    """The references with these addresses.

    Args:
        papers: Addresses, such as "https://arxiv.org/abs/2403.17709".

    Raises:
        FileNotFoundError: `CITATION.cff` cannot be found.
    """
    return [reference for reference in read_references() if reference["url"] in papers]


def to_bibtex(reference: Mapping[str, Any]) -> str:
    """A paper of `CITATION.cff` as an entry of BibTeX.

    Example:
        >>> authors = [{"family-names": "Noether", "given-names": "Emmy"}]
        >>> print(to_bibtex({"title": "Invariante Probleme", "authors": authors, "year": 1918}))
        @inproceedings{noether1918invariante,
          title = {Invariante Probleme},
          author = {Noether, Emmy},
          year = {1918},
        }
    """
    authors = [f"{author['family-names']}, {author['given-names']}" for author in reference["authors"]]
    first_word = "".join(filter(str.isalpha, reference["title"].split()[0].partition("-")[0])).lower()
    key = f"{reference['authors'][0]['family-names'].lower()}{reference['year']}{first_word}"
    values = {
        "title": reference["title"],
        "author": " and ".join(authors),
        "booktitle": reference.get("collection-title"),
        "year": reference["year"],
        "url": reference.get("url"),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in values.items() if value is not None]
    return "\n".join([f"@inproceedings{{{key},", *lines, "}"])
