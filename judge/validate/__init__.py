"""Whether a scored data set can teach a reward model: numbers, findings, filters, a page.

`judge.validate.run.validate_file` is `judge validate`; `judge.validate.report.Report` is what
`--json` writes.
"""
