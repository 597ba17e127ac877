"""The pages of the docs site that are made of the template, as a hook of MkDocs.

The how-to pages are those of a generated project, rendered as cookiecutter does; the reference is
read from the code. Nothing of it is written twice.
"""

from __future__ import annotations

import posixpath
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from cookiecutter.main import cookiecutter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parent.parent
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

import command_line  # noqa: E402, F401 - mkdocs-click asks for it by name
import flowchart  # noqa: E402
import reference  # noqa: E402 - MkDocs loads this file by its path
from catalog_schema import RUNTIME  # noqa: E402

from dsml.contract.cells import read_notebook  # noqa: E402

# All that can be chosen, so that every page of a project is there; the README is that of the first.
ANSWERS = ({"dashboard": "streamlit", "deploy": "compose"}, {"deploy": "kubernetes"})
HOW_TO = "how-to"
README = "reference/readme.md"
PROJECT_DOCS = f"../{RUNTIME.name}/docs/"

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")
_ROW = re.compile(r"^\| \[([^\]]+)\]\(docs/(\w+\.md)\)", re.MULTILINE)
_FLOWCHART = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"^<!-- show: (\S+) -->$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the how-to pages in the navigation, as the README of a project does."""
    pages = project_pages()
    rows = dict(map(reversed, _ROW.findall(pages["README.md"])))
    rows |= {
        name: text.partition("\n")[0].strip("# ")
        for path, text in pages.items()
        if path.startswith("docs/") and (name := posixpath.basename(path)) not in rows
    }
    for section in config.nav or []:
        if isinstance(section, dict) and "How to" in section:
            section["How to"] = [{title: f"{HOW_TO}/{name}"} for name, title in rows.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    for name, text in generated_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show files where a page says so, and lead links to where things are in the site."""
    folder = posixpath.dirname(page.file.src_uri)

    def shown(match: re.Match[str]) -> str:
        return show(Path(config.docs_dir, folder, match[1]))

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        if not target.startswith("../"):
            return match[0]
        how_to = f"{HOW_TO}/{posixpath.basename(target)}"
        if target.startswith(PROJECT_DOCS) and files.get_file_from_path(how_to):
            return f"[{match[1]}]({posixpath.relpath(how_to, folder or '.')}{match[3] or ''})"
        return match[1] if (REPOSITORY / target[3:]).exists() else match[0]

    drawn = _FLOWCHART.sub(lambda match: flowchart.as_svg(match[1]), markdown)
    return _LINK.sub(link, _SHOWN.sub(shown, drawn))


def show(file: Path) -> str:
    """A file as a block of code; of a notebook its cells, as a script with cells."""
    language = {".ipynb": "python", ".py": "python", ".yml": "yaml", ".yaml": "yaml"}
    text = file.read_text(encoding="utf-8").strip()
    if file.suffix == ".ipynb":
        text = "\n\n".join(_cells(file))
    return f'```{language.get(file.suffix, "text")} title="{file.name}"\n{text}\n```'


def _cells(file: Path) -> Iterator[str]:
    for cell in read_notebook(file, file.name).code:
        tags = f" tags={sorted(cell.tags)}".replace("'", '"') if cell.tags else ""
        yield f"# %%{tags}\n{cell.source.strip()}"


@cache
def generated_pages() -> dict[str, str]:
    """Path below the docs → text, of each page that is made and not written."""
    readme, *pages = project_pages().items()
    found = {f"{HOW_TO}/{name.removeprefix('docs/')}": _how_to(text) for name, text in pages}
    found[README] = _readme(readme[1])
    found |= {f"reference/{name}": text for name, text in reference.pages().items()}
    found["reference/changelog.md"] = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    return found


@cache
def project_pages() -> dict[str, str]:
    """Path → text of the README of a project, and of its pages, whatever was answered."""
    found: dict[str, str] = {}
    for answers in ANSWERS:
        found = {**_pages_of(answers), **found}
    return {"README.md": found.pop("README.md"), **dict(sorted(found.items()))}


def _pages_of(answers: Mapping[str, str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        made = cookiecutter(
            str(REPOSITORY),
            no_input=True,
            default_config=True,
            accept_hooks=False,
            extra_context=dict(answers),
            output_dir=folder,
        )
        files = [Path(made, "README.md"), *Path(made, "docs").glob("*.md")]
        return {file.relative_to(made).as_posix(): file.read_text("utf-8") for file in files}


def _how_to(text: str) -> str:
    return text.replace("](../README.md", f"](../{README}")


def _readme(text: str) -> str:
    return text.replace("](docs/", f"](../{HOW_TO}/").replace("[LICENSE](LICENSE)", "LICENSE")
