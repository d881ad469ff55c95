"""Whole manifests: the corpus' outcomes, and what holds for every manifest there is."""

import difflib
import random
from contextlib import suppress

import pytest
from ruamel.yaml import YAML

from tests.inject import corpus
from tlsproxy.inject.refusals import Refused

NATIVE = [name for name in corpus.COMMANDS if name not in {"ordinary.yaml", "unrelated.yaml"}]


def loaded(text: str) -> list[object]:
    return list(YAML(typ="safe", pure=True).load_all(text))


@pytest.mark.parametrize("name", corpus.COMMANDS)
def test_outcomes(name: str) -> None:
    """Each manifest becomes what is kept beside it, byte for byte."""
    assert corpus.injected(name, corpus.text(name)).text == corpus.outcome_of(name)


@pytest.mark.parametrize("name", corpus.COMMANDS)
def test_twice_is_once(name: str) -> None:
    """Where the sidecar is already, it is put in its own place."""
    once = corpus.outcome_of(name)
    assert corpus.injected(name, once).text == once


@pytest.mark.parametrize("name", corpus.COMMANDS)
def test_out_again(name: str) -> None:
    """What is taken out leaves the very bytes from before."""
    assert corpus.made_of(corpus.options("--remove"), corpus.outcome_of(name)).text == corpus.text(name)


@pytest.mark.parametrize("name", [name for name in corpus.COMMANDS if name.endswith(".yaml")])
def test_what_was_there_is_there(name: str) -> None:
    """No line of the manifest goes but those that a reason is given for."""
    before = corpus.text(name)
    made = corpus.injected(name, before)
    lines = difflib.ndiff(before.splitlines(), made.text.splitlines())
    assert len([line for line in lines if line.startswith("- ")]) <= len(made.reasons)
    assert len(loaded(made.text)) == len(loaded(before))


@pytest.mark.parametrize(
    ("name", "version"),
    [*((name, version) for name in NATIVE for version in ("1.30", "1.34")), ("ordinary.yaml", "1.28")],
)
def test_kubernetes_takes_it(name: str, version: str) -> None:
    """Every object is valid for that Kubernetes, unknown fields refused."""
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for document in loaded(corpus.outcome_of(name)):
        items = document.get("items", [document]) if isinstance(document, dict) else []
        for item in items:
            validate.validate(item, version, strict=True)


# ---------------------------------------------------------------------------- any manifest


PIECES = [
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name:   odd # c\ndata: {a:   'b'  }\n\n\n",
    "# only a comment\n",
    "",
    "kind: Deployment\napiVersion: other.example/v1\nspec: &a [1,\n2]\nx: *a\n",
    "just: |+\n  text\n\n\n",
    '{\n  "json": true }\n',
]


@pytest.mark.parametrize("seed", range(10))
def test_unrelated_documents_pass(seed: int) -> None:
    """They come out byte for byte, and what stands between them; the others as if they were alone."""
    choice = random.Random(seed)  # noqa: S311  -- no secret
    subject = corpus.text("deployment.yaml").partition("---\n")[0]
    parts = [choice.choice([*PIECES, subject]) for _ in range(6)]
    between = choice.choice(["---\n", "--- # c\n", "...\n---\n"])
    options = corpus.options("--secret shop")
    given = "---\n" + between.join(parts)
    alone = [corpus.made_of(options, part).text if part is subject else part for part in parts]
    assert corpus.made_of(options, given).text == "---\n" + between.join(alone)


FORMS: list[list[str]] = [
    # Of each line one form is taken at random; @ stands for a dash, % for the indentation behind it.
    ["apiVersion: apps/v1\nkind: Deployment\n"],
    ["metadata: {name: x}\n", "metadata:\n  name: x  # c\n"],
    ["spec:\n", "spec:\n  replicas: 1\n", "spec:   # c\n\n"],
    ["  template:\n"],
    ["", "    metadata:\n", "    metadata: {}\n", "    metadata:\n      labels: {a: b}\n      annotations:\n"],
    ["    spec:\n", "    spec:\n      # a comment\n      nodeName: 'x'\n"],
    ["", "      initContainers:\n", "      initContainers: []\n", "      initContainers: [{name: i}]\n"],
    ["      containers:\n", "      containers: # c\n\n      # the app\n"],
    ["      @name: web\n"],
    ["      %ports: [{containerPort: 80}]\n", "      %ports:\n      %- containerPort: 80 # c\n"],
    ["", "      %lifecycle: {}\n", "      %lifecycle: # c\n"],
    ["", "      %args:\n      %  - |\n      %    x\n\n"],
    ["", "      volumes: []\n", "      volumes:\n", "      volumes:\n      @name: v\n      # last\n"],
    ["", "      terminationGracePeriodSeconds: 3\n"],
    ["", "\n# the end\n"],
]


def deployment(seed: int) -> str:
    """A Deployment of somebody's own taste."""
    choice = random.Random(seed)  # noqa: S311  -- no secret
    dash = choice.choice(["- ", "  - "])
    text = "".join(map(choice.choice, FORMS)).replace("@", dash).replace("%", " " * len(dash))
    text = text.removesuffix(choice.choice(["\n", "?"]))
    return text.replace("\n", choice.choice(["\n", "\r\n"]))


@pytest.mark.parametrize("seed", range(30))
def test_whatever_it_looks_like(seed: int) -> None:
    """Injecting is valid YAML with the sidecar in it, twice is once, and out again leaves no trace."""
    before = deployment(seed)
    options = corpus.options("--secret shop" + (" --ordinary" if seed % 2 else ""))
    after = corpus.made_of(options, before).text
    (found,) = loaded(after)
    assert isinstance(found, dict)
    spec = found["spec"]["template"]["spec"]
    beside = spec["containers" if seed % 2 else "initContainers"]
    assert beside[-1]["name"] == "tlsproxy"
    assert spec["volumes"][-1]["secret"] == {"secretName": "shop"}
    assert spec["containers"][0]["lifecycle"]["preStop"]["sleep"]
    assert ("\r\n" in after) is ("\r\n" in before)
    assert after.count("\r\n") in {0, after.count("\n")}
    assert corpus.made_of(options, after).text == after
    assert corpus.made_of(corpus.options("--remove"), after).text == before


SCRAPS = [
    *(
        "&a ",
        "*a",
        "- ",
        "? ",
        ": ",
        "{",
        "]",
        "#",
        "\t",
        "'",
        '"',
        "|\n",
        "<<: *a\n",
        "!x ",
        "---\n",
        "null\n",
        "\x00",
        "\x85",
    ),
    *(
        "kind: List\nitems:\n",
        "containers: 3\n",
        "ports: [a, 1, {}]\n",
        "metadata:\n",
        "- name: tlsproxy\n",
        "preStop:\n",
    ),
]


@pytest.mark.parametrize("seed", [*range(20), 1990, 2354, 3170, 5017])
def test_whatever_became_of_it(seed: int) -> None:
    """A manifest that was cut and patched at random is refused in words, or is injected, once, and back again."""
    choice = random.Random(seed)  # noqa: S311  -- no secret
    text = corpus.text(choice.choice([name for name in corpus.COMMANDS if name != "every-kind.yaml"]))
    for _ in range(choice.choice([1, 2, 4])):
        start = choice.randrange(len(text))
        text = text[:start] + choice.choice(["", *SCRAPS]) + text[start + choice.choice([0, 0, 1, 20]) :]
    options = corpus.options(choice.choice(["--secret shop", "--secret shop --services --app-on-localhost"]))
    with suppress(Refused):
        made = corpus.made_of(options, text).text
        assert corpus.made_of(options, made).text == made
        assert corpus.made_of(corpus.options("--remove"), made).text == text


# ---------------------------------------------------------------------------- what is asked for


def test_only_what_is_named() -> None:
    """With --only the other objects stay as they are, whatever would be wrong with them."""
    text = corpus.text("every-kind.yaml").replace("containerPort", "containerPorts", 1)
    with pytest.raises(Refused, match="pod/alone"):
        corpus.made_of(corpus.options("--secret shop"), text)
    made = corpus.made_of(corpus.options("--secret shop --only Job/once --only daemonset/daemon"), text)
    assert made.text.count("TLSPROXY_CERT_NAME") == 2
    again = corpus.made_of(corpus.options("--remove --only job/once"), made.text)
    assert again.text.count("TLSPROXY_CERT_NAME") == 1


def test_a_name_that_is_not_there() -> None:
    """It is refused: what was meant to have TLS would go without."""
    with pytest.raises(Refused, match="deployment/shp: it is not in the manifest; there is deployment/shop"):
        corpus.made_of(corpus.options("--secret shop --only deployment/shp"), corpus.text("deployment.yaml"))


def test_other_options_replace_what_was_asked_before() -> None:
    """The sidecar follows the last command, as if it were the first."""
    before = corpus.text("deployment.yaml")
    first = corpus.made_of(corpus.options("--secret shop --ordinary"), before).text
    second = corpus.options("--secret other --set HSTS=1d")
    assert corpus.made_of(second, first).text == corpus.made_of(second, before).text


def test_each_change_has_a_reason() -> None:
    """What is done is told with the object, the place in it, and why."""
    made = corpus.injected("helm.yaml", corpus.text("helm.yaml"))
    told = [reason.split(": ")[:2] for reason in made.reasons]
    pod, service = "deployment/release-legacy (document 3, line 31)", "service/release-legacy (document 2, line 12)"
    assert told == [
        [pod, "spec.initContainers[tlsproxy]"],
        [pod, "spec.volumes[tlsproxy-certificate]"],
        [pod, "spec.containers[legacy].lifecycle.preStop"],
        [pod, "spec.terminationGracePeriodSeconds"],
        [service, "spec.ports[http].targetPort"],
        [service, "spec.ports[http].appProtocol"],
    ]


def test_nothing_to_do() -> None:
    """A manifest without a pod passes, and that is said."""
    made = corpus.injected("unrelated.yaml", corpus.text("unrelated.yaml"))
    assert made.text == corpus.text("unrelated.yaml")
    assert made.notes == ("nothing is changed: there is no pod in it",)
