const about = pageData();
const part = (id) => document.getElementById(id);

function make(tag, words, name) {
  const element = document.createElement(tag);
  if (words !== undefined) element.textContent = words;
  if (name) element.className = name;
  return element;
}

function tile(number, what) {
  const element = make("li");
  element.append(make("b", number), make("span", what));
  return element;
}

function bars(chances, likely) {
  const list = make("ul", undefined, "bars");
  chances.forEach((chance, level) => {
    const item = make("li", undefined, level === likely ? "likely" : "");
    const space = make("div", undefined, "space");
    const bar = make("div", undefined, "bar");
    bar.style.height = `${(100 * chance).toFixed(1)}%`;
    space.append(bar);
    item.append(space, make("div", level, "level"), make("div", `${Math.round(100 * chance)}%`));
    item.title = `${say("level {n}", { n: level })}: ${(100 * chance).toFixed(1)}%`;
    list.append(item);
  });
  return list;
}

function show(score, language) {
  const tiles = part("tiles"), heads = part("heads"), notes = part("notes");
  [tiles, heads, notes].forEach((element) => element.replaceChildren());
  const note = (words) => notes.append(make("p", words, "note fair"));
  if (score.reward === null) {
    tiles.append(tile("–", say("no reward")));
    note(say("No opinion: {reason}.", { reason: score.reason }));
  } else {
    const sds = Object.values(score.uncertainty);
    const mean = sds.reduce((sum, sd) => sum + sd, 0) / sds.length;
    tiles.append(tile(score.reward.toFixed(3), say("reward, 0 to 1")));
    tiles.append(tile(`± ${mean.toFixed(2)}`, say("mean uncertainty, in levels")));
    if (score.spread !== undefined) tiles.append(tile(`± ${score.spread.toFixed(3)}`, say("between models")));
  }
  if (score.prompt_truncated) note(say("The prompt was not read whole: it gives way where it does not fit."));
  if (score.response_truncated) note(say("The report did not fit: its middle was not judged."));
  for (const [name, level] of Object.entries(score.levels)) {
    const head = make("div", undefined, "head");
    const title = make("h3", (about.dimensions[name] || {})[language] || name);
    const sd = score.uncertainty[name].toFixed(2);
    title.append(make("b", `${level.toFixed(2)} ± ${sd}`));
    head.append(title, bars(score.probabilities[name], score.predicted[name]));
    heads.append(head);
  }
  explain(score.evidence);
  const known = score.sentences && score.sentences.passages.length;
  part("sentences").hidden = !known;
  if (known) {
    const titles = Object.entries(about.dimensions).map(([name, said]) => [name, said[language] || name]);
    drawPassages(part("passages"), score.sentences, Object.fromEntries(titles));
  }
  part("result").hidden = false;
}

/* Why, in the language of the page. */
function reason(words) {
  for (const [english, said] of about.reasons) {
    const holes = [];
    const pattern = english.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{(\w+)\}/g, (_, hole) => {
      holes.push(hole);
      return "(.+)";
    });
    const fits = new RegExp(`^${pattern}$`, "s").exec(words);
    if (fits) return said.replace(/\{(\w+)\}/g, (_, hole) => fits[1 + holes.indexOf(hole)]);
  }
  return words;
}

function explain(evidence) {
  part("evidence").hidden = !evidence;
  if (!evidence) return;
  part("account").textContent = evidence.text;
  const colour = { verified: "good", wrong: "bad", unverifiable: "faint" };
  part("claims").replaceChildren(...evidence.claims.map((claim) => {
    const row = make("tr");
    const found = make("td", undefined, "name");
    found.append(make("span", { verified: say("verified"), wrong: say("wrong"), unverifiable: say("unverifiable") }[claim.status] || claim.status, `badge ${colour[claim.status]}`));
    row.append(make("td", claim.text), found, make("td", reason(claim.reason), "words"));
    return row;
  }));
}

async function ask(sentences) {
  const response = part("response").value;
  const headers = { "content-type": "application/json" };
  if (part("key")) headers.authorization = `Bearer ${part("key").value}`;
  const body = {
    prompt: part("prompt").value, response, risk: Number(part("risk").value) || 0, explain: true,
    sentences,
  };
  const began = performance.now();
  const answer = await fetch("v1/score", { method: "POST", headers, body: JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${answer.status}: ${said.error.message}`);
  show(said.scores[0], about.language || (/[\u4e00-\u9fff]/.test(response) ? "zh" : "en"));
  return say("scored in {n} ms", { n: Math.round(performance.now() - began) });
}

async function score(sentences) {
  const status = part("status"), buttons = [part("go"), part("why")];
  buttons.forEach((button) => { button.disabled = true; });
  status.className = "faint";
  status.textContent = sentences ? say("scoring without each sentence …") : say("scoring …");
  try {
    status.textContent = await ask(sentences);
  } catch (error) {
    part("result").hidden = true;
    status.className = "bad";
    status.textContent = error.message;
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

part("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  score(false);
});
part("why").addEventListener("click", () => score(true));

document.querySelectorAll("[data-example]").forEach((button) => {
  button.addEventListener("click", () => {
    const [prompt, response] = about.examples[button.dataset.example];
    part("prompt").value = prompt;
    part("response").value = response;
  });
});
