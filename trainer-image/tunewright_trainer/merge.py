"""The verb `merge`: folds an adapter into its base, checks the result, publishes a model directory that servers read."""

from pathlib import Path

from tunewright.contract.run_result import RunResult
from tunewright.contract.run_spec import MergeSpec
from tunewright_trainer.artifacts import INPUTS_KEY, Provenance, find_published, publish, reference, staging
from tunewright_trainer.data.template import load_tokenizer
from tunewright_trainer.errors import RunError
from tunewright_trainer.locate import check_adapter_base, model_digest, resolve_adapter, resolve_model
from tunewright_trainer.log import log
from tunewright_trainer.merge_check import Comparison, all_finite, check, compare, probe_logits
from tunewright_trainer.merge_weights import check_weights
from tunewright_trainer.model_safety import check_model_directory
from tunewright_trainer.models import copy_tokenizer, load_adapter, load_model
from tunewright_trainer.progress import ProgressBoard
from tunewright_trainer.versions import inputs_digest, versions

MAX_SHARD = "5GB"


def run_merge(spec: MergeSpec, board: ProgressBoard) -> RunResult:
    """Merge and publish; a model that an earlier attempt published from the same inputs is returned at once."""
    if spec.model.adapter is None:
        raise RunError("BadConfiguration", "there is no adapter to merge")
    output, inputs = Path(spec.output_dir), inputs_digest(spec)
    published = find_published(output, spec.owner, inputs)
    if published is not None:
        log(f"{output} holds this model already")
        return RunResult(verb="merge", outcome="Succeeded", message="the model was merged already", artifact=reference(output, published))
    board.phase("Loading", 0)
    base, adapter = resolve_model(spec.model.base), resolve_adapter(spec.model.adapter)
    base_digest = model_digest(base, spec.model.base)
    check_adapter_base(adapter, base_digest)
    with staging(output) as directory:
        comparison = merge_into(directory, base, adapter, board)
        check_model_directory(directory)
        compared = check_weights(directory, base, adapter)
        log(f"{compared} adapted tensors are base plus adapter" if compared is not None else "the probe prompts alone were compared")
        details = {INPUTS_KEY: inputs, "probe.error": f"{comparison.error:.4g}", "probe.tolerance": f"{comparison.tolerance:.4g}"}
        details |= {"probe.adapterEffect": f"{comparison.adapter_effect:.4g}", **versions("torch", "transformers", "peft")}
        parents = (base_digest, model_digest(adapter, spec.model.adapter))
        board.phase("Publishing", 90)
        artifact = publish(directory, output, Provenance("Model", spec.owner, details, spec.model.base.uri, base_digest, parents))
    message = f"merged; differs from base and adapter by {comparison.error:.2g} on probe prompts (allowed {comparison.tolerance:.2g})"
    return RunResult(verb="merge", outcome="Succeeded", message=message, artifact=artifact)


def merge_into(directory: Path, base: Path, adapter: Path, board: ProgressBoard) -> Comparison:
    """Write the merged model of two checked directories to `directory`, in the type of the base; raises RunError when it is not equal to the two."""
    import torch

    tokenizer = load_tokenizer(base)
    model = load_model(base, "auto").eval()
    board.phase("Probing", 20)
    of_base = probe_logits(model, tokenizer)
    # eval: with dropout the adapter would answer differently each time.
    adapted = load_adapter(model, adapter).eval()
    of_adapted = probe_logits(adapted, tokenizer)
    board.phase("Merging", 40)
    try:
        merged = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:
        if "NaN" in str(error) or "nan" in str(error).lower().split():
            raise RunError("NotFinite", f"the adapter is broken: {str(error).splitlines()[0]}") from error
        raise
    board.phase("Checking", 55)
    of_merged = probe_logits(merged, tokenizer)
    comparison = compare(of_base, of_adapted, of_merged, torch.finfo(merged.dtype).eps)
    log(f"relative difference {comparison.error:.4g} (allowed {comparison.tolerance:.4g}), the adapter's effect is {comparison.adapter_effect:.4g}")
    check(comparison, all_finite(merged, of_merged))
    board.phase("Saving", 65)
    merged.save_pretrained(str(directory), max_shard_size=MAX_SHARD)
    copy_tokenizer(base, directory)
    return comparison
