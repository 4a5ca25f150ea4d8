"""Greedy answers in batches: left-padded, sorted by length for speed, returned in the order asked."""

from collections.abc import Callable, Sequence
from typing import Any


def batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return the indices in batches of near lengths, the longest first: what does not fit in memory fails at once and not at the end."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def end_token_ids(model_ids: int | Sequence[int] | None, tokenizer_id: int | None) -> list[int]:
    """Return the tokens that end an answer: those of the model's generation config and the tokenizer's own."""
    ids = set() if model_ids is None else {model_ids} if isinstance(model_ids, int) else set(model_ids)
    return sorted(ids | ({tokenizer_id} if tokenizer_id is not None else set()))


def answer_prompts(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, batch_size: int, on_answers: Callable[[int], None],
) -> list[str]:  # fmt: skip
    """Return the answer to each prompt (token ids). `on_answers` is called with the number of new answers after each batch.

    Greedy, with no other rule of the model's own generation config: the same input gives the same answer (in bf16 for the same batches only).
    """
    import torch
    from transformers import GenerationConfig

    ends = end_token_ids(model.generation_config.eos_token_id, tokenizer.eos_token_id)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    # Replaced, not passed beside it: generate() fills what is unset (temperature, repetition penalty) from the model's own.
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=ends, pad_token_id=pad)
    config = GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=pad, use_cache=True)
    model.eval()
    answers = [""] * len(prompts)
    for batch in batches([len(prompt) for prompt in prompts], batch_size):
        width = max(len(prompts[index]) for index in batch)
        ids = torch.tensor([[pad] * (width - len(prompts[index])) + list(prompts[index]) for index in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(prompts[index])) + [1] * len(prompts[index]) for index in batch], device=model.device)
        with torch.inference_mode():
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        for index, text in zip(batch, tokenizer.batch_decode(output[:, width:], skip_special_tokens=True), strict=True):
            answers[index] = text.strip()
        on_answers(len(batch))
    return answers
