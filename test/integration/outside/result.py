"""What a run of a suite came to."""
from dataclasses import dataclass, field


@dataclass
class Result:
    passed: set = field(default_factory=set)
    failed: dict = field(default_factory=dict)  # test: what the suite said of it
    problems: list = field(default_factory=list)  # of the run as a whole: it may be nobody knows what would have passed

    def as_dict(self):
        return {"passed": sorted(self.passed), "failed": self.failed, "problems": self.problems}
