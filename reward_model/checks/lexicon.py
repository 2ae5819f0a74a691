"""The words around a number: direction, basis of comparison, scope, hedges, plain connectives.

A claim counts as firmly linked only when nothing but words from these lists stands between the
label and the number; one unknown word (华东, organic, ...) may change what the number is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache


def _any(words: str, *, start: str = "", end: str = "") -> re.Pattern[str]:
    ordered = sorted(words.split(), key=len, reverse=True)
    return re.compile(
        start + "(?:" + "|".join(w.replace("_", r"\s+") for w in ordered) + ")" + end, re.I
    )


UP = re.compile(
    r"增长|增加|上升|提升|提高|上涨|扩大|飙升|激增|暴增|大增|攀升|回升|反弹|增幅|"
    r"涨幅|走高|暴涨|跃升|猛增|剧增|新增|微增|多增|增至|升至|上调|升高|上扬|"
    r"增[^长加幅速值强]{0}|升|涨|↑|▲|"
    r"\b(?:increas(?:e|ed|es|ing)|rose|rise[sn]?|rising|grew|grow(?:s|n|ing)?|"
    r"growth|gain(?:ed|s)?|up|climb(?:ed|s)?|jump(?:ed|s)?|surg(?:ed|es|e)|"
    r"improv(?:ed|es|ement)|higher|expand(?:ed|s)?|widened|advanced|soared)\b",
    re.I,
)
DOWN = re.compile(
    r"下降|下滑|减少|降低|下跌|回落|缩减|缩水|萎缩|锐减|骤降|骤减|削减|压缩|收缩|"
    r"降幅|跌幅|微降|走低|下调|暴跌|大跌|大降|收窄|降至|减至|跌至|负增长|缩窄|降|减|"
    r"跌|↓|▼|"
    r"\b(?:decreas(?:e|ed|es|ing)|fell|fall(?:s|en|ing)?|declin(?:e|ed|es|ing)|"
    r"drop(?:ped|s)?|down|reduc(?:ed|tion|es)|lower|shrank|shrunk|contract(?:ed|"
    r"ion)|narrowed|slid|slipped|plunged|weakened)\b",
    re.I,
)
TO = re.compile(r"[至到为达]|\b(?:to|at|reach(?:ed|ing)?|total(?:l?ed|l?ing)|of)\b", re.I)
LOSS = re.compile(r"亏损|净流出|流出|为负|\b(?:net )?loss(?:es)?\b|\boutflow", re.I)

YOY = re.compile(
    r"同比|较上年同期|较去年同期|较上年|较去年|比上年|比去年|与上年|上年同期|"
    r"去年同期|\byoy\b|y/y|year[- ](?:on|over)[- ]year|from (?:the )?(?:prior|"
    r"previous|last) year|compared (?:with|to) (?:the )?(?:prior|previous|last) "
    r"year|\bannual(?:ly)?\b",
    re.I,
)
MOM = re.compile(
    r"环比|较上月|较上季|比上月|较上期|较\d{1,2}月|\bmom\b|\bqoq\b|month[- ](?:on|"
    r"over)[- ]month|quarter[- ](?:on|over)[- ]quarter|from (?:the )?(?:prior|"
    r"previous|last) (?:month|quarter)",
    re.I,
)
OPENING = re.compile(
    r"(?:较|比)(?:年初|期初|上年末|上年年末|去年末)|since the (?:start|beginning) of the year", re.I
)
RATE = re.compile(r"增长率|增速|变动率|变化率|增幅|变动幅度|growth(?: rate)?|change\b", re.I)

YTD = re.compile(
    r"累计|1\s*[-—~至]\s*\d{1,2}\s*月|前三季度|year[- ]to[- ]date|\bytd\b|cumulative", re.I
)
SINGLE = re.compile(r"单月|本月|当月|this month|for the month|单季", re.I)
PAST = re.compile(r"上年同期|去年同期|上年|去年|(?:prior|previous|last) year", re.I)
PAST_MONTH = re.compile(r"上月|上期(?!末)|(?:prior|previous|last) (?:month|quarter)", re.I)
BENCHMARK = re.compile(
    r"行业|均值|同业|同行|标杆|基准|警戒|阈值|安全线|优秀值|良好值|标准|industry|"
    r"benchmark|\bpeers?\b|average of|threshold|sector",
    re.I,
)
BUDGET = re.compile(r"预算|目标值|budget|\btarget", re.I)
ATTAIN = re.compile(
    r"(?:达成|完成|实现|执行)(?:率|进度|度)|达成|attainment|completion|of (?:the "
    r")?budget|of target",
    re.I,
)
SHARE = re.compile(
    r"占|比重|份额|\bshare of\b|\baccount(?:ed|s|ing)? for\b|represent(?:ed|s|ing)?\b"
)
HYPOTHETICAL = re.compile(
    r"目标(?!达成|完成|值)|预计|预期|预测|预估|估算|估计|建议|假设|假定|情景|力争|"
    r"计划|有望|应当|拟|模拟|敏感性|若|如果|如能|争取|至少|控制在|将|未来|剔除|"
    r"调整后|年化|区间|每(?:增|减|变|提|上|下|降|升)|"
    r"\b(?:expect\w*|forecast\w*|would|could|should|might|may|if|assum\w*|scenario|"
    r"plan(?:s|ned)? to|guidance|project(?:ed|s)|estimat\w*|target(?:s|ed|ing)?|"
    r"recommend\w*|aim\w*|will|annuali[sz]ed|adjusted|excluding|organic)\b",
    re.I,
)
SOMEBODY = re.compile(
    r"子公司|分公司|孙公司|母公司(?!所有者|股东|净利|的净)|参股|联营|合营|同行|同业|可比公司|竞争对手|竞品|客户|供应商|"
    r"板块|事业部|分部|业务线|门店|基地|园区|标的"
)
"""Words of Chinese that name somebody else than the company, or a part of it."""
PART_YEAR = re.compile(r"季度|半年|单季|旬|月度")
HYPOTHETICAL_HEADING = re.compile(
    r"建议|预测|展望|情景|行动|措施|规划|对策|路线图|敏感|压力测试|目标设定|"
    r"recommend|outlook|forecast|scenario|action|next steps|guidance|sensitivity",
    re.I,
)
ABOUT = re.compile(
    r"(?:约为|大约|约|近|接近|将近|左右|上下|approximately|about|around|roughly|"
    r"nearly|almost|close to|some)\s*(?:为|达|人民币)?\s*$",
    re.I,
)
OVER = re.compile(
    r"(?:超过|逾|超|突破|高于|不低于|more than|over|above|exceed(?:ed|s|ing)?|at least)\s*$", re.I
)
UNDER = re.compile(r"(?:不足|不到|低于|少于|less than|under|below|fewer than)\s*$", re.I)
LIMIT_AFTER = re.compile(r"^\s*(?:以上|以下|以内|以外|左右|~|以来|or more|or less|or above)")

_FILLER_ZH = _any(
    "主营 整体 总体 公司 本公司 集团 企业 报告期 报告期内 期内 全年 年度 当年 当期 "
    "当前 本期 本月 本年 本年度 今年 单月 单季 月末 期末 年末 末 月 年 季度 上半年 "
    "下半年 "
    "第一季度 第二季度 第三季度 第四季度 一季度 二季度 三季度 四季度 上月 上期 "
    "上年 去年 上年同期 去年同期 同期 同比 环比 累计 本年累计 年初 期初 较 比 相比 "
    "与 "
    "实现 录得 达到 达 为 是 约为 约 仅为 仅 仅有 高达 多达 低至 只有 则 也 亦 均 "
    "分别 分别为 已 已经 了 又 再 更 均为 至 到 由 从 自 的 之 其 其中 及 和 以及 "
    "并 且 但 但是 而 却 虽 虽然 尽管 同时 此外 另外 其次 首先 然而 因此 "
    "大幅 大幅度 显著 明显 小幅 略微 略有 略 微 微幅 急剧 快速 迅速 持续 进一步 "
    "继续 强劲 稳步 温和 基本 有所 异常 剧烈 飞速 突然 仍 仍然 依然 依旧 大 暴 猛 "
    "净 逐步 单边 直接 出现 呈现 保持 维持 处于 在 有 "
    "改善 恶化 好转 优化 转为 转 扭亏为盈 扭亏 由负转正 由正转负 由亏转盈 由盈转亏 "
    "亏损 盈利 转正 转负 实际 合计 总计 总额 总量 总 余额 金额 规模 水平 净额 数额 "
    "数 值 数据 指标 方面 情况 幅度 增幅 降幅 涨幅 跌幅 增速 增长率 变动率 变动 "
    "变化 波动 差异 变动幅度 率 速度 "
    "推动 带动 拉动 导致 致使 使得 使 令 来自 源于 主要 主要是 主要为 主要因 "
    "主要由于 由于 因 得益于 受益于 受 反映 显示 表明 表现为 表现 体现 说明 意味着 "
    "尤其 特别是 特别 例如 如 即 等 计算 公式 计算得 元 人民币 万元 亿元 百万元 "
    "千元 单位 口径 期间 发生 发生额 发生数 期末数 本期发生 本期发生数 期末余额 "
    "账面 账面价值 结果 核心 关键 财务 报表 披露 数字 "
    "支出 成本 控制 成效 得 回升 反弹 修复 扩张 收入端 利润端 每 股 同步 反而 却 "
    "竟 竟然 高 低 偏 较高 较低 高企 多 少 走 呈 了 上 下 当 期 该 此 这 一 "
    "存货余额 突出 严重 隐忧 存在 承压 拖累 未达标 低于预期 流入 流出 净流入 "
    "净流出 同向 反向 双双 两者 相较 相较于 相对 对比 参考 报 报收 收于 约合 折合 "
    "首 次 首次 创 创下 历史新高 新高 攀至 攀升 良好 持平 峰值 配置合理 合理 反常 "
    "现象 通过 以 确认 列示 基于 度 驱动 因素 远超 额 例 持有 同样 负向 极度 可观 "
    "亮眼 突增 骤增 集中"
)
_FILLER_EN = _any(
    "the a an its our their his this that these those company company's group "
    "group's total overall consolidated reported and but while with as of at in "
    "for on to by from was were is are has had been be being stood came come "
    "amounted reached reaching totaled totalled totaling recorded posted delivered "
    "generated achieved remained stayed "
    "year month quarter fiscal period ended ending end annual full half first "
    "second third fourth prior previous last same compared versus vs against "
    "year-on-year year-over-year yoy mom qoq month-on-month quarter-on-quarter "
    "respectively also only just about approximately around roughly nearly almost "
    "some over more than less under significantly sharply slightly modestly "
    "strongly substantially considerably marginally steadily further still again "
    "increase increased increasing decrease decreased rise rose rising fell fall "
    "falling grew growth declined decline dropped drop down up higher lower "
    "improved improvement narrowed widened expanded contracted climbed surged "
    "jumped gained change changed rate ratio level which when it resulting result "
    "driven leading meaning reflecting giving making puts implying implies i.e. "
    "e.g. net cash balance amount figure value percentage point points basis "
    "percent RMB CNY USD EUR million billion thousand yuan times days x pp bps we "
    "however meanwhile hence thus moreover overall than because so then both after "
    "before during through turning turned swing swung profit loss inflow outflow",
    start=r"(?<![A-Za-z'])",
    end=r"(?![A-Za-z])",
)
_EN_MONTHS = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*\b|\bQ[1-4]\b|"
    r"\bFY\b|\bH[12]\b",
    re.I,
)
_LEFT = re.compile(r"[\u4e00-\u9fffA-Za-z]+")


@cache
def leftover(text: str) -> str:
    """The words of `text` that are on no list: what may change the meaning of a number.

    >>> leftover("同比大幅下降"), leftover("华东地区的"), leftover("for the year was")
    ('', '华东地区', '')
    """
    rest = UP.sub(" ", DOWN.sub(" ", text))
    for pattern in (YOY, MOM, OPENING, RATE, YTD, SINGLE):
        rest = pattern.sub(" ", rest)
    rest = _EN_MONTHS.sub(" ", _FILLER_EN.sub(" ", _FILLER_ZH.sub(" ", rest)))
    return " ".join(_LEFT.findall(rest))


class Labels:
    """Finds the longest known names in a text.

    >>> [(s, e, k) for s, e, k in Labels({"净利润": "a", "净利润率": "b", "net sales": "c"})
    ...     .find("净利润率 and Net sales")]
    [(0, 4, 'b'), (9, 18, 'c')]
    """

    def __init__(self, names: dict[str, str]) -> None:
        """`names`: casefolded name to key."""
        self._names = {name: key for name, key in names.items() if len(name) >= 2}
        # Names are looked up by length, so that a thousand names that begin alike cost no more
        # than one of each length.
        lengths: dict[str, set[int]] = {}
        for name in self._names:
            lengths.setdefault(name[:2], set()).add(len(name))
        self._lengths = {start: sorted(n, reverse=True) for start, n in lengths.items()}
        self._starts = _starts_of({start[0] for start in lengths})

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and key of each name, left to right, without overlaps."""
        low = text.lower()
        free = 0
        for match in self._starts.finditer(low):
            i = match.start()
            if i < free:
                continue
            for length in self._lengths.get(low[i : i + 2], ()):
                name = low[i : i + length]
                key = self._names.get(name) if len(name) == length else None
                if (
                    key is not None
                    and not (
                        name.endswith("现金流") and low[i + length : i + length + 1] in {"出", "入"}
                    )
                    and _whole(low, i, i + length)
                ):
                    yield i, i + length, key
                    free = i + length
                    break


def _starts_of(firsts: set[str]) -> re.Pattern[str]:
    """Where a name that begins with one of these may begin: none does inside a Latin word."""
    latin = {c for c in firsts if c.isascii() and c.isalnum()}
    kinds = [("(?<![A-Za-z0-9])", latin), ("", firsts - latin)]
    return re.compile(
        "|".join(f"{before}[{re.escape(''.join(sorted(c)))}]" for before, c in kinds if c) or "(?!)"
    )


def _whole(text: str, start: int, end: int) -> bool:
    first, last = text[start], text[end - 1]
    if (
        first.isascii()
        and first.isalnum()
        and start
        and text[start - 1].isascii()
        and text[start - 1].isalnum()
    ):
        return False
    return not (
        last.isascii()
        and last.isalnum()
        and end < len(text)
        and text[end].isascii()
        and text[end].isalnum()
    )


_COMPANY_TAIL = re.compile(
    r"(?:股份有限公司|有限责任公司|集团有限公司|有限公司|集团公司|股份公司|集团|公司).*$"
)
_BUSINESS = re.compile(r"(?:医药|药业|科技|商业|实业|贸易|电子|控股|集团|股份|销售)+$")
_PLACE_TAIL = re.compile(r"(?:壮族自治区|回族自治区|维吾尔自治区|自治区|省|市)$")


def aliases(label: str) -> Iterable[str]:
    """How prose shortens the name of a customer, region or segment.

    >>> sorted(aliases("华禾嘉泰医药有限公司"))
    ['华禾嘉泰', '华禾嘉泰医药', '华禾嘉泰医药有限公司']
    >>> sorted(aliases("辽宁省"))
    ['辽宁', '辽宁省']
    """
    found = {label}
    core = _COMPANY_TAIL.sub("", label)
    if core != label:
        bare = re.sub(r"\([^()]*\)", "", core)
        found |= {core, bare, _BUSINESS.sub("", core), _BUSINESS.sub("", bare)}
    found.add(_PLACE_TAIL.sub("", label))
    return {name for name in found if len(name) >= 2}
