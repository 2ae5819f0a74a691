"""Invented companies in any number, whose statements tie out exactly.

Three years are simulated from an opening balance sheet; every identity holds to the last digit in
units of 10,000 yuan. Names say that they are invented, and records mark them `synthetic`.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any, NamedTuple

from datagen.companies import Company, Figures
from datagen.fields import FIELDS

UNIT = 1e4


class Traits(NamedTuple):
    """What is usual in a field: low and high ends."""

    revenue: tuple[float, float]
    """In units of 10,000 yuan."""
    growth: tuple[float, float]
    cost: tuple[float, float]
    """Of revenue."""
    selling: tuple[float, float]
    admin: tuple[float, float]
    rnd: tuple[float, float]
    receivable_days: tuple[float, float]
    inventory_days: tuple[float, float]
    payable_days: tuple[float, float]
    advances: tuple[float, float]
    """Of revenue."""
    fixed: tuple[float, float]
    """Of revenue."""
    leverage: tuple[float, float]
    """Borrowings as a share of fixed assets and working capital."""


TRAITS = {
    "制造业": Traits(
        revenue=(8e4, 2e6), growth=(-0.12, 0.25), cost=(0.68, 0.84), selling=(0.02, 0.07),
        admin=(0.03, 0.06), rnd=(0.02, 0.06), receivable_days=(50, 110), inventory_days=(50, 120),
        payable_days=(50, 100), advances=(0.02, 0.06), fixed=(0.3, 0.8), leverage=(0.15, 0.5),
    ),
    "服务业": Traits(
        revenue=(4e4, 8e5), growth=(-0.25, 0.35), cost=(0.5, 0.8), selling=(0.04, 0.12),
        admin=(0.06, 0.12), rnd=(0.0, 0.02), receivable_days=(20, 90), inventory_days=(2, 20),
        payable_days=(20, 70), advances=(0.05, 0.15), fixed=(0.3, 1.2), leverage=(0.1, 0.45),
    ),
    "房地产": Traits(
        revenue=(1e5, 3e6), growth=(-0.3, 0.3), cost=(0.66, 0.84), selling=(0.02, 0.05),
        admin=(0.02, 0.05), rnd=(0.0, 0.002), receivable_days=(5, 25), inventory_days=(500, 1100),
        payable_days=(90, 200), advances=(0.4, 1.0), fixed=(0.05, 0.25), leverage=(0.3, 0.6),
    ),
    "科技业": Traits(
        revenue=(3e4, 1e6), growth=(-0.15, 0.45), cost=(0.42, 0.72), selling=(0.03, 0.1),
        admin=(0.04, 0.08), rnd=(0.08, 0.18), receivable_days=(60, 130), inventory_days=(60, 150),
        payable_days=(60, 110), advances=(0.02, 0.1), fixed=(0.15, 0.6), leverage=(0.05, 0.3),
    ),
}  # fmt: skip


def companies(number: int, *, seed: int, fields: list[str], start: int = 1) -> list[Company]:
    """Invent `number` companies, spread evenly over the fields.

    >>> [c.name["en"] for c in companies(2, seed=7, fields=["制造业", "金融业"])]
    ['Invented Manufacturing Co. 0001', 'Invented Finance Co. 0001']
    """
    return [
        company(fields[n % len(fields)], start + n // len(fields), seed=seed) for n in range(number)
    ]


def company(field: str, number: int, *, seed: int) -> Company:
    """Invent one company."""
    return filled(named(field, number), seed=seed)


def named(field: str, number: int) -> Company:
    """An invented company without its statements, of which many fit into memory."""
    english = FIELDS[field].replace("_", " ").title()
    return Company(
        id=f"synthetic-{FIELDS[field]}-{number:04d}",
        name={"zh": f"虚构{field}公司{number:04d}号", "en": f"Invented {english} Co. {number:04d}"},
        field=field,
        synthetic=True,
    )


def filled(company: Company, *, seed: int) -> Company:
    """The company with its statements, which follow from its name and the seed."""
    make = _finance if company.field == "金融业" else _ordinary
    statements = make(random.Random(f"{seed}:{company.id}"), TRAITS.get(company.field))
    return dataclasses.replace(company, statements=statements)


def _collect(years: list[tuple[str, list[dict[str, int]]]]) -> tuple[Figures, ...]:
    """Years of three statements -> three statements of years, in yuan."""
    out: tuple[Figures, ...] = ({}, {}, {})
    for year, statements in reversed(years):
        for figures, lines in zip(out, statements, strict=True):
            for item, value in lines.items():
                figures.setdefault(item, {})[year] = value * UNIT
    return out


def _between(rng: random.Random, ends: tuple[float, float]) -> float:
    return rng.uniform(*ends)


def _ordinary(rng: random.Random, traits: Any) -> tuple[Figures, ...]:
    t: Traits = traits
    last = rng.choice([2021, 2022, 2023, 2024])
    revenue = int(rng.uniform(t.revenue[0] ** 0.5, t.revenue[1] ** 0.5) ** 2)
    ratio = {
        name: _between(rng, getattr(t, name))
        for name in ("cost", "selling", "admin", "rnd", "receivable_days", "inventory_days",
                     "payable_days", "advances", "leverage")
    }  # fmt: skip
    cost = int(revenue * ratio["cost"])
    fixed = int(revenue * _between(rng, t.fixed))
    receivables = int(revenue * ratio["receivable_days"] / 365)
    inventory = int(cost * ratio["inventory_days"] / 365)
    payables = int(cost * ratio["payable_days"] / 365)
    advances = int(revenue * ratio["advances"])
    cash = int(revenue * rng.uniform(0.12, 0.35))
    other = int(revenue * rng.uniform(0.02, 0.1))
    intangible = int(fixed * rng.uniform(0.05, 0.3))
    assets = cash + receivables + inventory + other + fixed + intangible
    debt = int((fixed + inventory) * ratio["leverage"])
    debt = max(0, min(debt, int(assets * 0.8) - payables - advances))
    short, long = debt * 6 // 10, debt - debt * 6 // 10
    other_liabilities = int(revenue * rng.uniform(0.02, 0.06))
    equity = assets - payables - advances - short - long - other_liabilities
    if equity < assets // 10:  # A thin company gets capital in cash before the story begins.
        cash += assets // 5 - equity
        equity = assets // 5
    years: list[tuple[str, list[dict[str, int]]]] = []
    for year in range(last - 3, last + 1):
        revenue = max(1000, int(revenue * (1 + _between(rng, t.growth))))
        for name in ratio:
            ratio[name] *= rng.uniform(0.93, 1.07)
        cost = int(revenue * min(ratio["cost"], 0.95))
        income: dict[str, int] = {"revenue": revenue, "cost_of_sales": cost}
        income["taxes_and_surcharges"] = int(revenue * rng.uniform(0.004, 0.012))
        income["selling_expense"] = int(revenue * ratio["selling"])
        income["admin_expense"] = int(revenue * ratio["admin"])
        if ratio["rnd"] > 0.003:
            income["rnd_expense"] = int(revenue * ratio["rnd"])
        income["finance_cost"] = int((short + long) * 0.045) - int(cash * 0.01)
        income["other_income"] = int(revenue * rng.uniform(0, 0.01))
        income["investment_income"] = int(revenue * rng.uniform(-0.004, 0.012))
        income["asset_impairment"] = -int(inventory * rng.uniform(0, 0.03))
        costs = ("cost_of_sales", "taxes_and_surcharges", "selling_expense", "admin_expense",
                 "rnd_expense", "finance_cost")  # fmt: skip
        gains = ("other_income", "investment_income", "asset_impairment")
        operating = revenue - sum(income.get(c, 0) for c in costs) + sum(income[g] for g in gains)
        income["operating_profit"] = operating
        income["nonoperating_income"] = int(revenue * rng.uniform(0, 0.003))
        income["nonoperating_expense"] = int(revenue * rng.uniform(0, 0.003))
        before_tax = operating + income["nonoperating_income"] - income["nonoperating_expense"]
        income["profit_before_tax"] = before_tax
        income["income_tax"] = max(0, int(before_tax * rng.uniform(0.14, 0.26)))
        profit = before_tax - income["income_tax"]
        income["net_profit"] = profit

        new = {
            "receivables": int(revenue * ratio["receivable_days"] / 365),
            "inventory": int(cost * ratio["inventory_days"] / 365),
            "payables": int(cost * ratio["payable_days"] / 365),
            "advances": int(revenue * ratio["advances"]),
        }
        depreciation = int(fixed * rng.uniform(0.06, 0.1))
        capex = int(fixed * rng.uniform(0.04, 0.2))
        operating_cash = (
            profit + depreciation - (new["receivables"] - receivables)
            - (new["inventory"] - inventory) + (new["payables"] - payables)
            + (new["advances"] - advances)
        )  # fmt: skip
        dividend = max(0, int(profit * rng.uniform(0, 0.35)))
        need = int(revenue * 0.08) - (cash + operating_cash - capex - dividend)
        borrowed = max(need, -min(short, max(0, -need) // 3))
        opening, cash = cash, cash + operating_cash - capex - dividend + borrowed
        was = {"receivables": receivables, "inventory": inventory, "payables": payables,
               "advances": advances}  # fmt: skip
        receivables, inventory = new["receivables"], new["inventory"]
        payables, advances = new["payables"], new["advances"]
        fixed += capex - depreciation
        to_long = max(0, borrowed) // 3
        short, long = short + borrowed - to_long, long + to_long
        equity += profit - dividend
        current = cash + receivables + inventory + other
        noncurrent = fixed + intangible
        current_debt = short + payables + advances + other_liabilities
        balance = {
            "cash": cash, "receivables": receivables, "inventory": inventory,
            "current_assets": current, "fixed_assets": fixed, "intangible_assets": intangible,
            "noncurrent_assets": noncurrent, "total_assets": current + noncurrent,
            "short_term_debt": short, "payables": payables, "contract_liabilities": advances,
            "current_liabilities": current_debt, "long_term_debt": long,
            "noncurrent_liabilities": long, "total_liabilities": current_debt + long,
            "equity": equity,
        }  # fmt: skip
        flows = {
            "cash_from_sales": revenue + was["receivables"] - receivables
            + advances - was["advances"],
            "cash_for_purchases": max(
                0, cost - depreciation + inventory - was["inventory"] + was["payables"] - payables
            ),
            "operating_cash_flow": operating_cash, "capex": capex, "investing_cash_flow": -capex,
            "financing_cash_flow": borrowed - dividend,
            "net_change_in_cash": cash - opening, "opening_cash": opening, "closing_cash": cash,
        }  # fmt: skip
        years.append((str(year), [income, balance, flows]))
    return _collect(years[1:])


def _finance(rng: random.Random, _: Any) -> tuple[Figures, ...]:
    """A broker or a bank: no cost of sales, no current and non-current."""
    last = rng.choice([2021, 2022, 2023, 2024])
    revenue = int(rng.uniform(200, 1500) ** 2)
    equity = int(revenue * rng.uniform(3.5, 7))
    liabilities = int(equity * rng.uniform(2, 6))
    cash = int((equity + liabilities) * rng.uniform(0.1, 0.25))
    years = []
    for year in range(last - 2, last + 1):
        revenue = int(revenue * (1 + rng.uniform(-0.25, 0.35)))
        income = {"revenue": revenue, "taxes_and_surcharges": int(revenue * 0.008)}
        income["admin_expense"] = int(revenue * rng.uniform(0.42, 0.58))
        income["credit_impairment"] = -int(revenue * rng.uniform(0.01, 0.15))
        income["operating_profit"] = (
            revenue - income["taxes_and_surcharges"] - income["admin_expense"]
            + income["credit_impairment"]
        )  # fmt: skip
        income["nonoperating_income"] = int(revenue * rng.uniform(0, 0.01))
        income["nonoperating_expense"] = int(revenue * rng.uniform(0, 0.01))
        income["profit_before_tax"] = (
            income["operating_profit"] + income["nonoperating_income"]
            - income["nonoperating_expense"]
        )  # fmt: skip
        income["income_tax"] = max(0, int(income["profit_before_tax"] * rng.uniform(0.18, 0.25)))
        income["net_profit"] = income["profit_before_tax"] - income["income_tax"]
        dividend = max(0, int(income["net_profit"] * rng.uniform(0.1, 0.4)))
        equity += income["net_profit"] - dividend
        borrowed = int(liabilities * rng.uniform(-0.06, 0.12))
        clients = int(liabilities * rng.uniform(-0.05, 0.1))
        liabilities += borrowed + clients
        operating = int((equity + liabilities) * rng.uniform(-0.04, 0.06))
        capex = int(revenue * rng.uniform(0.01, 0.05))
        investing = -capex - int(revenue * rng.uniform(-0.2, 0.3))
        financing = borrowed - dividend
        floor = int((equity + liabilities) * 0.05)
        operating = max(operating, floor - cash - investing - financing)
        opening, cash = cash, cash + operating + investing + financing
        balance = {
            "total_assets": equity + liabilities,
            "total_liabilities": liabilities,
            "equity": equity,
        }
        flows = {
            "operating_cash_flow": operating, "capex": capex, "investing_cash_flow": investing,
            "financing_cash_flow": financing, "net_change_in_cash": cash - opening,
            "opening_cash": opening, "closing_cash": cash,
        }  # fmt: skip
        years.append((str(year), [income, balance, flows]))
    return _collect(years)
