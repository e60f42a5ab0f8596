"""The API pages and guides as HTML, into build/docs; a warning is an error.

pdoc shows what is in ``__all__``; here every module is to have its page, so each package's ``__all__`` is
completed by its modules, in this process only.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import shutil
import sys
import textwrap
import typing
import warnings
from pathlib import Path

import pdoc
import pdoc.docstrings
import pdoc.render_helpers

import vramlab

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "notebooks" / "guides"
OUT = ROOT / "build" / "docs"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>
<body><nav><a href="../vramlab.html">vramlab</a> · <a href="README.html">Guides</a></nav>
<main>{body}</main></body></html>"""
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; }
pre { background: #f4f5f7; padding: .8rem; overflow-x: auto; border-radius: 4px; }
code { background: #f4f5f7; padding: .1em .25em; border-radius: 3px; font-size: .9em; }
pre code { padding: 0; font-size: .85rem; line-height: 1.45; }
a { color: #0072b2; }
h1 { font-size: 1.7rem; }
h2 { font-size: 1.25rem; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #ddd; padding: .35rem .7rem; text-align: left; }
"""


def main() -> None:
    """Make all pages."""
    warnings.simplefilter("error", UserWarning)
    # an annotation of ours that Python evaluates from 3.12 on
    warnings.filterwarnings("ignore", message=".*'array.array' is not subscriptable")
    logging.basicConfig(level=logging.WARNING)
    shutil.rmtree(OUT, ignore_errors=True)
    modules = _complete(vramlab)
    vramlab.__doc__ = _front_page()
    pdoc.render.configure(docformat="numpy", footer_text=f"vramlab {vramlab.__version__}")
    convert = pdoc.docstrings.convert
    pdoc.docstrings.convert = lambda text, *rest: convert(_without_roles(text), *rest)
    pdoc.pdoc("vramlab", r"!vramlab\.cli", output_directory=OUT)
    _write_guides()
    pages = len(list(GUIDES.glob("*.md")))
    print(f"{len(modules)} modules and {pages} pages of guides: {(OUT / 'vramlab.html').relative_to(ROOT)}")


def _without_roles(text: str) -> str:
    """Markdown in place of what only Sphinx knows: roles, simple tables, code-block."""
    text = re.sub(r":\w+:`~?\.?([\w.]+)`", r"`\1`", text)
    text = re.sub(r"^( *)\.\. code-block:: (\w+)\n\n((?:\1 +.*\n|\n)+)", _fenced, text, flags=re.M)
    rule = r"=+(?: +=+)+"
    return re.sub(rf"^( *){rule}\n(?:.*\n)*?\1{rule}\n(?:.*\n)*?\1{rule}$", _table, text, flags=re.M)


def _fenced(match: re.Match[str]) -> str:
    code = textwrap.dedent(match[3]).strip("\n")
    return textwrap.indent(f"```{match[2]}\n{code}\n```\n\n", match[1])


def _table(match: re.Match[str]) -> str:
    """A simple table of reStructuredText as one of Markdown; a row without its first cell goes on."""
    lines = textwrap.dedent(match[0]).splitlines()
    starts = [found.start() for found in re.finditer(r"=+", lines[0])]
    ends = [*starts[1:], None]
    rows: list[list[str]] = []
    for line in lines[1:]:
        if set(line) <= {"=", " "}:
            continue
        cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if cells[0] or not rows:
            rows.append(cells)
        else:
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], cells, strict=True)]
    head, *body = (f"| {' | '.join(cells)} |" for cells in rows)
    return textwrap.indent("\n".join(["", head, "|---" * len(starts) + "|", *body, ""]), match[1])


def _complete(package: object) -> list[str]:
    """Names of the package and of all modules below it, each of which is now in its package's ``__all__``."""
    for name in list(vramlab.__all__):  # looked up lazily; pdoc looks into the module's dictionary
        vars(vramlab)[name] = getattr(vramlab, name)
    names = [package.__name__]
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        if not module.__doc__:
            sys.exit(f"{found.name} has no docstring")
        names.append(found.name)
        for thing in vars(module).values():  # a named tuple's generated constructor knows no module
            if isinstance(thing, type) and issubclass(thing, tuple) and thing.__module__ == found.name:
                thing.__new__.__annotations__ = typing.get_type_hints(thing)
        parent, _, own = found.name.rpartition(".")
        public = getattr(sys.modules[parent], "__all__", None)
        if public is not None and own not in public and own != "cli":
            sys.modules[parent].__all__ = [*public, own]
    return names


def _front_page() -> str:
    guides = (GUIDES / "README.md").read_text(encoding="utf-8")
    links = re.sub(r"\]\((\w+)\.md\)", r"](guides/\1.html)", "\n".join(re.findall(r"^- .*$", guides, re.M)))
    packages = [
        f"- `vramlab.{found.name}`: {_first_line(importlib.import_module(f'vramlab.{found.name}'))}"
        for found in pkgutil.iter_modules(vramlab.__path__)
        if found.name != "cli"
    ]
    return "\n".join([vramlab.__doc__ or "", "## Guides", links, "", "## Where is what", *packages])


def _first_line(module: object) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]


def _write_guides() -> None:
    folder = OUT / "guides"
    folder.mkdir(parents=True)
    for source in GUIDES.glob("*.md"):
        text = source.read_text(encoding="utf-8")
        body = str(pdoc.render_helpers.to_html(re.sub(r"\]\((\w+)\.md(#[\w-]+)?\)", r"](\1.html\2)", text)))
        body = re.sub(r'href="\.\./(\w+\.ipynb)"', r'href="../../../notebooks/\1"', body)  # seen from OUT
        style = STYLE + pdoc.render_helpers.formatter.get_style_defs()
        page = PAGE.format(title=text.splitlines()[0].lstrip("# "), style=style, body=body)
        (folder / f"{source.stem}.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
