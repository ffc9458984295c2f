"""Which exploits are tried in which task."""

from __future__ import annotations

from vision_r1_grpo.rewards.audit.counts import (
    as_a_fraction,
    below_zero,
    constant_count,
    every_count,
    far_more,
    in_a_sentence,
    one_less,
    one_more,
    range_of_counts,
    said_twice,
    ten_times_as_many,
)
from vision_r1_grpo.rewards.audit.exploits import (
    Exploit,
    adding_a_wrong_box,
    all_texts_in_each_box,
    boxes_without_text,
    coordinates_as_strings,
    drawing_a_box_looser,
    duplicate_boxes,
    escaped_labels,
    every_label,
    extra_text,
    first_letters,
    grid,
    half_an_outline,
    hallucination,
    huge_list,
    junk_boxes,
    lookalike_labels,
    no_text,
    one_best_box,
    one_sure_box,
    out_of_bounds,
    saying_a_box_again,
    silence,
    swapped_corners,
    truncated,
    two_blocks,
    whole_image,
    withholding_a_right_box,
    wrong_labels,
)

_REC, _COUNTING = ("rec", "counting"), ("counting",)
_EXTENT = ("pointing", "segmentation", "counting")  # an answer gives no pairs of corners
EXPLOITS = (
    *(Exploit("says too much", pair, not_for=_COUNTING) for pair in (duplicate_boxes, junk_boxes)),
    Exploit("says too much", every_label, not_for=_REC),
    Exploit("says too much", huge_list, not_for=_COUNTING),
    Exploit("says too much", hallucination),
    *(
        Exploit("says too little", pair, not_for=_COUNTING)
        for pair in (one_best_box, one_sure_box, whole_image, grid)
    ),
    *(Exploit("says too little", pair) for pair in (silence, no_text)),
    *(Exploit("names it wrong", pair, not_for=_REC) for pair in (wrong_labels, lookalike_labels)),
    Exploit("names it wrong", escaped_labels, may_tie=True, not_for=_COUNTING),
    *(Exploit("breaks the form", pair, not_for=_EXTENT) for pair in (swapped_corners, out_of_bounds)),
    *(
        Exploit("breaks the form", pair, not_for=_COUNTING)
        for pair in (extra_text, truncated, two_blocks, coordinates_as_strings)
    ),
    *(
        Exploit("one step the wrong way", pair, may_tie=True, not_for=_COUNTING)
        for pair in (
            withholding_a_right_box,
            adding_a_wrong_box,
            saying_a_box_again,
            drawing_a_box_looser,
        )
    ),
)
_OWN = {
    "segmentation": (Exploit("draws it wrong", half_an_outline),),
    "ocr": tuple(
        Exploit("reads it wrong", pair) for pair in (all_texts_in_each_box, boxes_without_text, first_letters)
    ),
    "counting": (
        *(
            Exploit("says a wrong number", pair)
            for pair in (constant_count, one_more, one_less, ten_times_as_many, far_more)
        ),
        *(Exploit("says several", pair) for pair in (range_of_counts, every_count, said_twice)),
        *(Exploit("breaks the form", pair) for pair in (in_a_sentence, as_a_fraction, below_zero)),
    ),
}


def suite(task: str) -> tuple[Exploit, ...]:
    """The exploits that make sense in a task."""
    common = tuple(exploit for exploit in EXPLOITS if task not in exploit.not_for)
    return common + _OWN.get(task, ())
