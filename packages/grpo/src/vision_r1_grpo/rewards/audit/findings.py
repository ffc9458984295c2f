"""Score exploits beside honest answers, and judge: does an exploit lose, is it free, or does it win?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vision_r1_data import Frame, Objects, get_dialect
from vision_r1_grpo.config import ConfigError
from vision_r1_grpo.rewards.audit.exploits import Exploit
from vision_r1_grpo.rewards.audit.scenes import Scene, random_scenes
from vision_r1_grpo.rewards.audit.score import Score
from vision_r1_grpo.rewards.audit.suite import suite
from vision_r1_grpo.rewards.scene import Target

Verdict = Literal["loses", "holds", "free", "wins"]

_TIE = 1e-5  # scores are float32 sums of a few parts
_BATCH = 128  # completions a call; an answer of 1000 boxes pads all that are scored with it


@dataclass(frozen=True)
class Example:
    """One scene: what the exploit and the honest policy said, and what each earned."""

    target: Target
    exploit: str
    honest: str
    exploit_score: float
    honest_score: float

    @property
    def gain(self) -> float:
        """What the exploit earned beyond the honest answer."""
        return self.exploit_score - self.honest_score


@dataclass(frozen=True)
class Finding:
    """What an exploit earned.

    Args:
        group: the kind of exploit.
        name: of the exploit.
        does: what it does, in one sentence.
        scenes: on how many it makes sense.
        score: what it earned, mean over those scenes.
        honest: what the honest answer earned.
        at_least: the share of scenes where it earned at least as much as the honest answer.
        verdict: "wins" where it earned more in any scene; else "free" where it earned as much in any;
            else "loses". One scene suffices: the completions of one prompt compete with one another.
            "holds" is for exploits that may earn as much and never earned more.
        worst: the scene where it gained most; of several, the one with the shortest texts.
    """

    group: str
    name: str
    does: str
    scenes: int
    score: float
    honest: float
    at_least: float
    verdict: Verdict
    worst: Example

    @property
    def hole(self) -> bool:
        """Whether a policy gains, or loses nothing, by it."""
        return self.verdict in ("free", "wins")


@dataclass(frozen=True)
class Audit:
    """The findings of an audit.

    Args:
        findings: one for each exploit that the dialect allows.
        dialect: how the answers were written.
        task: what was asked.
        scenes: how many there were.
        seed: of the scenes and the answers.
        blind: right boxes earned no more than wrong ones: the reward does not read what is written.
        unscaled: right boxes in pixels of the original image earned more than in those that the model sees.
    """

    findings: tuple[Finding, ...]
    dialect: str
    task: str
    scenes: int
    seed: int
    blind: bool
    unscaled: bool

    @property
    def holes(self) -> tuple[Finding, ...]:
        """The findings that are holes."""
        return tuple(finding for finding in self.findings if finding.hole)


def audit(
    score: Score,
    dialect: str,
    *,
    task: str = "detection",
    scenes: int = 200,
    seed: int = 0,
    resize: bool = True,
) -> Audit:
    """Run the exploit suite on a reward.

    Args:
        score: (N completions, N targets) -> N floats.
        dialect: how completions write boxes.
        task: what is asked, a name of `vision_r1_data.prompts.TASKS`.
        scenes: how many random scenes to draw.
        seed: the same one gives the same scenes and the same answers.
        resize: whether the model may see images at another size than the original, to which boxes refer.

    Returns:
        A finding for each exploit. An honest attempt draws its boxes at IoU .6 to .9, so a reward that asks
        for more than .6 rightly earns it nothing, which its findings then show as free.

    Raises:
        ConfigError: the reward fails on a completion, or what it returns is not one finite number for each.
        ValueError: there is no such dialect, or no scene to draw.

    Example:
        >>> from vision_r1_grpo.rewards.audit import load_score
        >>> audit(load_score("strict", "qwen2_5_vl"), "qwen2_5_vl", scenes=5).holes
        ()
    """
    if scenes < 1:
        raise ValueError(f"scenes must be at least 1, got {scenes}")
    drawn = random_scenes(scenes, seed, get_dialect(dialect), task, resize=resize)
    scorer = _Scorer(score)
    findings = tuple(
        finding for exploit in suite(task) if (finding := _finding(exploit, drawn, scorer)) is not None
    )
    return Audit(findings, dialect, task, scenes, seed, _blind(drawn, scorer), _unscaled(drawn, scorer))


class _Scorer:
    """The score of each (completion, scene), asked for once."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, name: str, texts: Sequence[str], scenes: Sequence[Scene]) -> list[float]:
        keys = [(scene.seed, text) for text, scene in zip(texts, scenes, strict=True)]
        new = {key: scene.target for key, scene in zip(keys, scenes, strict=True) if key not in self._known}
        pairs = list(new.items())
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            scores = self._checked(name, [text for (_, text), _ in batch], [target for _, target in batch])
            self._known.update(zip((key for key, _ in batch), scores, strict=True))
        return [self._known[key] for key in keys]

    def _checked(self, name: str, texts: Sequence[str], targets: Sequence[Target]) -> list[float]:
        try:
            scores = [float(score) for score in self._score(texts, targets)]
        except Exception as error:  # whatever a reward may raise
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"the reward fails on {name!r} ({said}); it must score any text") from error
        if len(scores) != len(texts) or not all(map(math.isfinite, scores)):
            odd = next((score for score in scores if not math.isfinite(score)), None)
            came = f"{len(scores)} for {len(texts)}" if odd is None else str(odd)
            raise ConfigError(
                f"the reward must return one finite number for each text, got {came} ({name!r})"
            )
        return scores


def _finding(exploit: Exploit, scenes: Sequence[Scene], scorer: _Scorer) -> Finding | None:
    pairs = [(scene, pair) for scene in scenes if (pair := exploit.pair(scene)) is not None]
    if not pairs:
        return None
    sensible = [scene for scene, _ in pairs]
    scores = scorer(exploit.name, [text for _, (text, _) in pairs], sensible)
    honest = scorer("an honest answer", [text for _, (_, text) in pairs], sensible)
    examples = [
        Example(scene.target, *pair, *both)
        for (scene, pair), both in zip(pairs, zip(scores, honest, strict=True), strict=True)
    ]
    best = max(example.gain for example in examples)
    verdict: Verdict = "wins" if best > _TIE else "free" if best >= -_TIE else "loses"
    return Finding(
        exploit.group,
        exploit.name,
        exploit.does,
        len(pairs),
        sum(scores) / len(pairs),
        sum(honest) / len(pairs),
        sum(example.gain >= -_TIE for example in examples) / len(pairs),
        "holds" if exploit.may_tie and verdict != "wins" else verdict,
        min(
            (example for example in examples if example.gain >= best - _TIE),
            key=lambda example: len(example.exploit) + len(example.honest),
        ),
    )


def _blind(scenes: Sequence[Scene], scorer: _Scorer) -> bool:
    """Whether as many boxes where nothing is earn as much as the right ones, over all scenes.

    Of counts, ten times as many as there are.
    """
    filled = [scene for scene in scenes if scene.objects]
    wrong = []
    for scene in filled:
        rng = scene.rng("blind")
        count = len(scene.objects) * (10 if scene.form == "number" else 1)
        wrong.append(scene.write([scene.junk(rng) for _ in range(count)]))
    earned = sum(scorer("wrong boxes", wrong, filled))
    return sum(scorer("an honest answer", [scene.perfect for scene in filled], filled)) <= earned + _TIE


def _unscaled(scenes: Sequence[Scene], scorer: _Scorer) -> bool:
    """Whether the right boxes earn more if they are written in the pixels of the original image."""
    filled = [scene for scene in scenes if scene.objects and scene.form != "number"]
    texts = []
    for scene in filled:
        objects, frame = Objects(scene.target.boxes, scene.target.labels), scene.target.frame
        original = Frame(frame.width, frame.height, frame.width, frame.height)
        texts.append(scene.dialect.encode(objects, original, scene.form))
    perfect = sum(scorer("an honest answer", [scene.perfect for scene in filled], filled))
    return sum(scorer("boxes in original pixels", texts, filled)) > perfect + _TIE
