"""A scrape of /metrics, read by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        """By name; that of a counter is without its `_total`."""
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of the samples of that name that have these labels; 0 when there is none."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())

    def by(self, name: str, /, *labels: str) -> dict[tuple[str, ...], float]:
        """The samples of that name that are not 0, by the values of these labels."""
        samples = (s for s in self._samples if s.name == name)
        return {tuple(s.labels[label] for label in labels): s.value for s in samples if s.value}

    def labels(self, family: str) -> set[str]:
        """The names of the labels that a family's samples have, a histogram's `le` left out."""
        return {label for sample in self.families[family].samples for label in sample.labels} - {"le"}
