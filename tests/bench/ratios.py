"""Ratios with their spread: what is quoted is the median of rounds that took turns."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Ratio:
    """One figure against another, of the same run. goal: what the median must reach."""

    name: str
    goal: float
    meaning: str
    rounds: list[float] = field(default_factory=list)

    def add(self, figure: float, base: float) -> None:
        """One round."""
        self.rounds.append(figure / base)

    @property
    def median(self) -> float:
        """What is quoted."""
        return statistics.median(self.rounds)

    @property
    def reached(self) -> bool:
        """Whether the goal is met."""
        return self.median >= self.goal

    def line(self) -> str:
        """For people."""
        verdict = "reached" if self.reached else "NOT REACHED"
        return (
            f"{self.name:<10} {self.median:5.2f}  ({min(self.rounds):.2f} to"
            f" {max(self.rounds):.2f})  goal {self.goal:.2f} {verdict}: {self.meaning}"
        )


def write(path: Path, ratios: Sequence[Ratio]) -> None:
    """`{name: {"ratio", "low", "high", "goal"}}`."""
    whole = {
        ratio.name: {
            "ratio": round(ratio.median, 3),
            "low": round(min(ratio.rounds), 3),
            "high": round(max(ratio.rounds), 3),
            "goal": ratio.goal,
        }
        for ratio in ratios
    }
    path.write_text(json.dumps(whole, indent=2) + "\n")
