"""Any reward, on any benchmark, in one table: `reward-model bench REWARD... --data DATA...`.

Begin in `run`; `forms` reads each benchmark's rows, `scoring` counts as each of them counts.
`docs/bench.md` is its page.
"""
