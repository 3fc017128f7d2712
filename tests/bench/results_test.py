#!/usr/bin/python3
"""Tests of what the benchmark computes with what it has measured."""

import json
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from results import (  # noqa: E402
    Row, as_json, as_markdown, as_text, at_least, at_most, between, percentile, quartiles, verdict,
)

# (routed, translated) of nine runs; the machine did something else in two.
PAIRS = [(90, 100), (95, 100), (30, 100), (91, 100), (96, 100), (92, 100), (93, 100), (94, 40), (97, 100)]

ROWS = [
    Row("snapshot", 0.41666, "x", at_most(0.6), (0.4, 0.45), "210 ms of 504 ms"),
    Row("bulk", 0.94, "x", at_least(0.95)),
    Row("binary", 8.0551, "MB", at_most(15)),
]


class Statistics(unittest.TestCase):
    def test_percentile_is_a_value_that_was_measured(self):
        values = list(range(1, 1001))
        self.assertEqual(percentile(values, 50), 500)
        self.assertEqual(percentile(values, 99), 990)
        self.assertEqual(percentile(reversed(values), 99), 990)
        self.assertEqual(percentile([7], 99), 7)
        self.assertEqual(percentile([1, 2, 3], 99), 3)

    def test_quartiles(self):
        self.assertEqual(quartiles([5, 1, 3, 2, 4]), (2, 3, 4))
        self.assertEqual(quartiles([5]), (5, 5, 5))

    def test_ratio_is_the_median_of_pairs_not_the_ratio_of_medians(self):
        row = Row.ratio("bulk", PAIRS, at_least(0.9))
        self.assertAlmostEqual(row.value, 0.93)
        self.assertAlmostEqual(row.spread[0], 0.91)
        self.assertAlmostEqual(row.spread[1], 0.96)
        self.assertTrue(row.holds)

    def test_ratio_of_few_pairs_is_refused(self):
        with self.assertRaisesRegex(ValueError, "bulk: 8 pairs, fewer than 9"):
            Row.ratio("bulk", PAIRS[:8], at_least(0.9))

    def test_bounds_hold_at_their_limit(self):
        self.assertTrue(at_most(1).holds(1))
        self.assertFalse(at_most(1).holds(1.001))
        self.assertTrue(at_least(0.95).holds(0.95))
        self.assertFalse(at_least(0.95).holds(0.949))


class Output(unittest.TestCase):
    def test_text(self):
        self.assertEqual(
            as_text(ROWS),
            "what      measured  quartiles    must be  holds  made of\n"
            "snapshot  0.417 x   0.4 to 0.45  <= 0.6   yes    210 ms of 504 ms\n"
            "bulk      0.94 x                 >= 0.95  NO\n"
            "binary    8.06 MB                <= 15    yes\n",
        )

    def test_markdown(self):
        self.assertEqual(
            as_markdown(ROWS[:1]),
            "| what | measured | quartiles | must be | holds | made of |\n"
            "| --- | --- | --- | --- | --- | --- |\n"
            "| snapshot | 0.417 x | 0.4 to 0.45 | <= 0.6 | yes | 210 ms of 504 ms |\n",
        )

    def test_json(self):
        self.assertEqual(
            json.loads(as_json(ROWS))[:2],
            [
                {"name": "snapshot", "value": 0.4167, "unit": "x", "bound": "<= 0.6", "holds": True},
                {"name": "bulk", "value": 0.94, "unit": "x", "bound": ">= 0.95", "holds": False},
            ],
        )

    def test_verdict_names_what_does_not_hold(self):
        self.assertEqual(verdict(ROWS), "1 of 3 bounds not held: bulk")
        self.assertEqual(verdict(ROWS[:1]), "all 1 bounds hold")

    def test_large_values_keep_their_digits(self):
        self.assertEqual(Row("rate", 21345.6, "1/s", at_least(1)).cells()[1], "21346 1/s")


class Between(unittest.TestCase):
    def test_replaces_what_stands_between_the_markers(self):
        text = "head\n<!-- a -->\nold\nolder\n<!-- b -->\ntail\n"
        new = "head\n<!-- a -->\nnew\n<!-- b -->\ntail\n"
        self.assertEqual(between(text, "<!-- a -->", "<!-- b -->", "new\n"), new)
        self.assertEqual(between(new, "<!-- a -->", "<!-- b -->", "new\n"), new)

    def test_refuses_a_text_without_the_markers(self):
        for text in ("head\n", "<!-- a -->\nx\n", "<!-- b -->\n<!-- a -->\n"):
            with self.assertRaises(ValueError):
                between(text, "<!-- a -->", "<!-- b -->", "new\n")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *(word for name in sys.argv[1:] for word in ("-k", name))])
