(() => {
  const { pairs: all, names } = pageData();
  const at = (id) => document.getElementById(id);
  const kind = at("kind"), search = at("search"), only = at("only");
  let shown = all, index = 0;

  /* Element with text and children; text from the data is only ever text. */
  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    for (const child of children) if (child !== null && child !== undefined && child !== "") element.append(child);
    return element;
  }

  function side(title, segments, cut, tag, language) {
    const text = make("div", "text marked");
    text.tabIndex = 0;
    if (language) text.lang = language;
    const tags = { changed: tag, planted: "mark" };
    for (const [what, part] of segments)
      text.append(what === "same" ? part : make(tags[what], "", part));
    if (cut) text.append(make("span", "faint", `\n[${say("{n} more characters", { n: cut.toLocaleString("en") })}]`));
    return make("section", "side", make("h4", "", title), text);
  }

  function scores(pair) {
    if (!pair.scores.length) return make("p", "faint", say("This pair has no scores."));
    const head = make("tr", "", ...[say("dimension"), say("chosen"), say("rejected"), say("gap")].map((t) => make("th", "", t)), make("th", "words", say("reasons")));
    const rows = pair.scores.map((score) => {
      const [high, low] = score.levels;
      const gap = high === null || low === null ? "–" : String(high - low);
      const [first, second] = score.reasons;
      const reasons = make("td", "words");
      if (first && first === second) reasons.append(first);
      else for (const [name, text] of [[say("chosen"), first], [say("rejected"), second]])
        if (text) reasons.append(make("div", "", make("b", "", `${name}: `), text));
      const aimed = pair.targets.includes(score.dimension) ? ` (${say("target")})` : "";
      return make("tr", "", make("td", "", (names[score.dimension] || score.dimension) + aimed), make("td", "", String(high ?? "–")), make("td", "", String(low ?? "–")), make("td", "", gap), reasons);
    });
    const table = make("table", "", make("thead", "", head), make("tbody", "", ...rows));
    const scroll = make("div", "scroll", table);
    scroll.tabIndex = 0;
    return scroll;
  }

  function draw() {
    const box = at("pair");
    at("position").textContent = shown.length ? say("{n} of {all}", { n: index + 1, all: shown.length }) : say("none");
    at("previous").disabled = index <= 0;
    at("next").disabled = index >= shown.length - 1;
    if (!shown.length) return box.replaceChildren(make("p", "", say("No pair fits.")));
    const pair = shown[index];
    const severity = pair.severity ? `${say(", ")}${say("severity {n}", { n: pair.severity })}` : "";
    const prompt = make("pre", "text", pair.prompt);
    prompt.tabIndex = 0;
    if (pair.prompt_cut) prompt.append(make("span", "faint", `\n[${say("{n} more characters", { n: pair.prompt_cut.toLocaleString("en") })}]`));
    const key = (tag, text) => make("span", "", make(tag, "", text));
    const legend = make("p", "key marked", key("del", say("only in chosen")), key("ins", say("only in rejected")), pair.planted.length ? key("mark", say("planted error")) : null);
    box.replaceChildren(
      make("h3", "", `${say("Line {n}", { n: pair.line })} · ${names[pair.kind] || pair.kind}${severity}`),
      make("p", "faint", [pair.id, ...pair.about].filter(Boolean).join(" · ")),
      pair.problems.length ? make("div", "note bad", pair.problems.join(say("; "))) : "",
      pair.planted.length ? make("div", "note", `${say("Planted:")} ` + pair.planted.map((e) => `${names[e.error] || e.error}: ${e.was} → ${e.now}`).join(say("; "))) : "",
      scores(pair),
      pair.assessment ? make("p", "faint", pair.assessment) : "",
      legend,
      make("div", "sides", side(say("chosen"), pair.chosen, pair.cut[0], "del", pair.language), side(say("rejected"), pair.rejected, pair.cut[1], "ins", pair.language)),
      pair.prompt ? make("details", "", make("summary", "", say("Prompt")), prompt) : "",
    );
  }

  const text = (segments) => segments.map((s) => s[1]).join("");
  const haystack = all.map((p) => [p.line, p.id, p.kind, ...p.about, text(p.chosen), text(p.rejected)].join("\n").toLowerCase());
  function filter() {
    const words = search.value.trim().toLowerCase();
    shown = all.filter((p, i) => (!kind.value || p.kind === kind.value) && (!only.checked || p.problems.length) && (!words || haystack[i].includes(words)));
    index = 0;
    draw();
  }
  function move(step) {
    const next = index + step;
    if (next >= 0 && next < shown.length) { index = next; draw(); }
  }
  function follow() {
    const line = /^#pair-(\d+)$/.exec(location.hash);
    if (!line) return;
    const found = all.findIndex((p) => p.line === Number(line[1]));
    if (found < 0) return;
    kind.value = ""; search.value = ""; only.checked = false;
    shown = all; index = found; draw();
    at("pairs").scrollIntoView();
  }

  const counts = new Map();
  for (const pair of all) counts.set(pair.kind, (counts.get(pair.kind) ?? 0) + 1);
  for (const [name, count] of [...counts].sort()) kind.append(new Option(`${names[name] || name} (${count})`, name));
  at("controls").hidden = false;
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  kind.addEventListener("change", filter);
  only.addEventListener("change", filter);
  search.addEventListener("input", filter);
  at("previous").addEventListener("click", () => move(-1));
  at("next").addEventListener("click", () => move(1));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, .scroll")) return;
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  addEventListener("hashchange", follow);
  draw();
  follow();
})();
