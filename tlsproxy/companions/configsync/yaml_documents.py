"""YAML's documents as data, of files that nobody vouches for: what PyYAML leaves open is decided here.

A file that is small may still say very much: nested without an end it ends the process that reads it, with merged
aliases it takes all memory. Both are bounded before anything is made of it.
"""

from collections.abc import Iterator

import yaml

from tlsproxy.companions.configsync.file_data import Data, MalformedError, shown

_DEEPEST = 100
"""How deep a file may be nested: the parser in C ends the process where there is no end of it."""
_MOST_BY_ALIASES = 100_000
"""How many more values than are written aliases may make."""
_MERGE = "tag:yaml.org,2002:merge"


def documents(text: str) -> list[Data]:
    """All of them; where there is none, one that is null.

    Raises:
        MalformedError: with its place, where one is known.
    """
    try:
        _bound_depth(text)
        return list(_documents(_Loader(text))) or [None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "is no YAML"
        raise MalformedError(reason, *((mark.line + 1, mark.column + 1) if mark else ())) from None
    except yaml.reader.ReaderError as error:
        raise MalformedError(error.reason, text.count("\n", 0, error.position) + 1) from None


def _documents(loader: "_Loader") -> Iterator[Data]:
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node
            _bound_size(node)
            _refuse_twins(loader, node, set())
            yield _as_json(loader.construct_document(node))
    finally:
        loader.dispose()


class _Loader(yaml.CSafeLoader):
    """The safe one; what has no place in JSON is text."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError):
            # Of Python's own conversions, with the value in the message.
            raise _malformed("is no " + node.tag.rpartition(":")[2], node) from None


def _plain(loader: _Loader, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_yaml_str(node)
    return loader.construct_yaml_seq(node) if isinstance(node, yaml.SequenceNode) else loader.construct_yaml_map(node)


_Loader.add_multi_constructor("!", lambda loader, _, node: _plain(loader, node))
for _tag in ("timestamp", "binary", "value", "set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _plain)


def _malformed(reason: str, node: yaml.Node | yaml.Event) -> MalformedError:
    mark = node.start_mark
    assert mark
    return MalformedError(reason, mark.line + 1, mark.column + 1)


def _bound_depth(text: str) -> None:
    """From the events, which come one by one whatever the depth."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _malformed("is nested too deep", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _bound_size(root: yaml.Node) -> None:
    """How many values there are with all aliases written out, against how many are written."""
    sizes: dict[int, int] = {}
    within: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in within:
            raise _malformed("holds an alias of itself", node)
        if id(node) not in sizes:
            within.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _inner(node)))
            within.remove(id(node))
        return sizes[id(node)]

    if size(root) - len(sizes) > _MOST_BY_ALIASES:
        raise _malformed(f"aliases make more than {_MOST_BY_ALIASES} values of what is written", root)


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _refuse_twins(loader: _Loader, node: yaml.Node, seen: set[int]) -> None:
    """A key twice in one mapping, by what it stands for: `yes` and `true` are one."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[tuple[str, object]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _malformed("a list or a mapping can't be a key", key)
            meant = (key.tag, key.value if key.tag == _MERGE else loader.construct_object(key))
            if meant in keys:
                raise _malformed(f"the key {shown(key.value)} is there twice in one mapping", key)
            keys.add(meant)
    for inner in _inner(node):
        _refuse_twins(loader, inner, seen)


def _as_json(value: object) -> Data:
    """With the keys that JSON would have for those that are no text."""
    if isinstance(value, dict):
        return {_key(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    assert value is None or isinstance(value, str | int | float | bool)
    return value


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    return {True: "true", False: "false", None: "null"}[key] if key is None or isinstance(key, bool) else str(key)
