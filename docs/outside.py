"""Takes into the site what its pages link to outside of docs/: manifests, examples, alerts.

A relative link out of docs/ is right in a repository as it stands. Here its target becomes a file of the site, under
its own path, and mkdocs makes and checks the link like any other. Pages outside of docs/ stay outside: their links
would lead from another place.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

_OUTSIDE = re.compile(r"\]\((?P<uri>\.\./(?P<path>[^)#]+))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds each target that is a file; what is none, mkdocs itself complains about."""
    found = {link["uri"]: link["path"] for page in files.documentation_pages() for link in _links(page)}
    for uri, path in sorted(found.items()):
        if (Path(config.docs_dir) / uri).is_file() and not uri.endswith(".md"):
            files.append(
                File(
                    uri,
                    config.docs_dir,
                    config.site_dir,
                    config.use_directory_urls,
                    dest_uri=path,
                    inclusion=InclusionLevel.INCLUDED,
                )
            )
    return files


def _links(page: File) -> list[re.Match[str]]:
    return list(_OUTSIDE.finditer(page.content_string))
