#!/usr/bin/env python3
"""What the documentation and the headers point to is there.

usage: docs.py ROOT

Pages and sections that headers and pages name (docs/io.md, "Ring"), links between pages, and files of the
tree that pages name in backquotes.
"""
import os
import pathlib
import re
import sys

SOURCES = ("include", "src", "sync", "iouring", "virtio", "arch", "bench", "tests", "docs")
PAGE = re.compile(r'\b((?:docs/[\w.-]+|README)\.md)((?:(?:,| and) "[^"]+")*)')
LINK = re.compile(r"\]\(([^)#]+)\)")
FILE = re.compile(r"`((?:src|include|virtio|iouring|arch|tests|sync|bench)/[\w./-]+)`")


def headings(page):
    """The headings of @page; None: there is no such page."""
    if not page.exists():
        return None
    return [line.lstrip("# ").strip() for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("#")]


def pointers(root, text):
    """What is wrong with the pages and sections that @text names."""
    for page, sections in PAGE.findall(re.sub(r"\n \*\s+", " ", text)):
        known = headings(root / page)
        if known is None:
            yield f"there is no {page}"
            continue
        for section in re.findall(r'"([^"]+)"', sections):
            if not any(title.startswith(section) for title in known):
                yield f"{page} has no section {section}"


def page_problems(root, path, text):
    """What is wrong with the links and files that a page names."""
    for link in LINK.findall(text):
        if not link.startswith("http") and not (path.parent / link).exists():
            yield f"dead link to {link}"
    for name in FILE.findall(text):
        # a test is named as ctest does, and a layer's file may be meant with both endings
        if "foo" not in name and "NAME" not in name and not any(root.glob(name.rstrip("/") + "*")):
            yield f"there is no {name}"


def main(root):
    root = pathlib.Path(root)
    paths = [root / "README.md"]
    for folder in SOURCES:
        paths += [p for p in sorted((root / folder).rglob("*")) if p.suffix in (".c", ".h", ".py", ".md")]
    failed = 0
    for path in paths:
        if path == pathlib.Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        problems = list(pointers(root, text))
        if path.suffix == ".md":
            problems += page_problems(root, path, text)
        for problem in problems:
            print(f"{os.path.relpath(path, root)}: {problem}")
        failed += len(problems)
    print(f"{len(paths)} files, {failed} pointers to nothing")
    return 1 if failed or len(paths) < 100 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
