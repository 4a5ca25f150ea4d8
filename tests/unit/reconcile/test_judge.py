"""The verdict of an Evaluation at its boundaries."""

import pytest

from support.worlds import score
from tunewright.api.evaluation import EvaluationSpec
from tunewright.contract.run_result import EvaluationScores
from tunewright.reconcile.evaluation import judge, score_table


def verdict(thresholds, model, baseline=None):
    spec = EvaluationSpec.model_validate({"model": {"uri": "hf://o/m"}, "dataset": {"uri": "hf://datasets/o/d"}, "thresholds": thresholds})
    return judge(spec, score_table(EvaluationScores(model=(model,), baseline=(baseline,) if baseline else ()))[0])


@pytest.mark.parametrize(
    ("threshold", "model", "baseline", "passes"),
    [
        ({"minimum": 0.8}, 0.8, None, True),
        ({"minimum": 0.8}, 0.79999, None, True),  # printed, and judged, as 0.8000
        ({"minimum": 0.8}, 0.7999, None, False),
        ({"minimum": 0}, 0.0, None, True),
        ({"minimum": 1}, 1.0, None, True),
        ({"minimumGain": 0.4}, 0.5, 0.1, True),
        ({"minimumGain": 0.4}, 0.4999, 0.1, False),
        ({"minimumGain": 0.1}, 0.3, 0.2, True),  # 0.3 - 0.2 is 0.09999999999999998
        ({"minimumGain": 0}, 0.5, 0.5, True),
        ({"minimumGain": -0.1}, 0.4, 0.5, True),
        ({"minimumGain": -0.1}, 0.39, 0.5, False),
        ({"minimum": 0.5, "minimumGain": 0.4}, 0.5, 0.2, False),
        ({"minimum": 0.5, "minimumGain": 0.3}, 0.5, 0.2, True),
        ({"minimumGain": 0.1}, 0.9, None, False),
    ],
)
def test_one_threshold(threshold, model, baseline, passes):
    fact, sentence, fields = verdict([{"metric": "ExactMatch", **threshold}], score(model), score(baseline) if baseline is not None else None)
    assert fields["verdict"] == ("Passed" if passes else "Failed")
    assert (fact.type, fact.status, fact.reason) == ("Passed", passes, "ThresholdsMet" if passes else "ThresholdsNotMet")
    assert fields["verdictMessage"] in sentence


def test_all_thresholds_must_hold_and_each_is_named():
    thresholds = [{"metric": "FormatCompliance", "minimum": 0.9}, {"metric": "ExactMatch", "minimum": 0.95}, {"metric": "Similarity", "minimum": 0.1}]
    fact, _, fields = verdict(thresholds, score(0.9, 0.95, 0.5))
    assert fact.status is False
    assert fact.message == (
        "FormatCompliance 0.9500 reaches the minimum 0.9; ExactMatch 0.9000 is below the minimum 0.95; Similarity 0.5000 reaches the minimum 0.1 (100 rows)"
    )
    assert (fields["metric"], fields["score"]) == ("FormatCompliance", 0.95), "the first threshold is printed"


def test_without_thresholds_there_is_no_verdict():
    fact, _, fields = verdict(None, score(0.9))
    assert (fact.status, fact.reason, fields["verdict"], fields["metric"]) == (None, "NoThresholds", "NoThresholds", "ExactMatch")
    assert "baselineScore" not in fields


def test_the_table_has_the_total_first_and_the_baseline_beside_it():
    scores = EvaluationScores(model=(score(0.91239), score(0.5, category="json")), baseline=(score(0.1), score(0.2, category="other")))
    assert score_table(scores) == [
        {"category": "Total", "count": 100, "exactMatch": 0.9124, "formatCompliance": 1.0, "similarity": 1.0,
         "baselineExactMatch": 0.1, "baselineFormatCompliance": 1.0, "baselineSimilarity": 1.0},
        {"category": "json", "count": 100, "exactMatch": 0.5, "formatCompliance": 1.0, "similarity": 1.0},
    ]  # fmt: skip


def test_the_table_fits_the_status():
    assert len(score_table(EvaluationScores(model=tuple(score(0.5, category=str(n)) for n in range(100))))) == 64
