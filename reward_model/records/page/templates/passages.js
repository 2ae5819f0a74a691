/* A text whose passages are shaded by what they do to one number of its score.
   `explained` is the JSON of an Explanation, `titles` name its dimensions for people. */
function drawPassages(place, explained, titles) {
  const add = (parent, tag, words, name) => {
    const element = document.createElement(tag);
    if (words !== undefined) element.textContent = words;
    if (name) element.className = name;
    parent.append(element);
    return element;
  };
  const title = (key) => titles[key] || (key === "reward" ? say("reward") : key);
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  const characters = [...explained.text];
  place.replaceChildren();
  const bar = add(place, "p", undefined, "passages-bar");
  const label = add(bar, "label", say("Shaded by its effect on "));
  const select = add(label, "select");
  for (const key of ["reward", ...Object.keys(explained.levels)]) {
    add(select, "option", title(key)).value = key;
  }
  add(bar, "span", say("raises it"), "passage up full");
  add(bar, "span", say("lowers it"), "passage down full");
  const text = add(place, "div", undefined, "text");
  text.tabIndex = 0;
  text.setAttribute("role", "region");
  text.setAttribute("aria-label", say("the text, its sentences shaded"));
  let end = 0;
  const marks = explained.passages.map((passage) => {
    text.append(characters.slice(end, passage.start).join(""));
    end = passage.end;
    return add(text, "span", characters.slice(passage.start, end).join(""), "passage");
  });
  text.append(characters.slice(end).join(""));
  const most = add(place, "ol", undefined, "passages-most");
  const sum = add(place, "p", undefined, "faint");
  for (const note of explained.notes) add(place, "p", say("{sentence}.", { sentence: note[0].toUpperCase() + note.slice(1) }), "faint");

  const draw = () => {
    const key = select.value, name = title(key);
    const effect = (passage) => (key === "reward" ? passage.reward : passage.levels[key]) ?? null;
    const sizes = explained.passages.map((passage) => Math.abs(effect(passage) ?? 0));
    const largest = Math.max(...sizes, 0);
    marks.forEach((mark, i) => {
      const value = effect(explained.passages[i]);
      const shown = value !== null && sizes[i] >= 0.05 * largest && sizes[i] >= 0.0005;
      mark.className = `passage${shown ? (value > 0 ? " up" : " down") : ""}`;
      mark.style.setProperty("--share", shown ? `${Math.round((55 * sizes[i]) / largest)}%` : "0%");
      mark.title = value === null ? say("the rest has no score") : `${name} ${signed(value)}`;
    });
    const order = sizes.map((size, i) => i).sort((a, b) => sizes[b] - sizes[a]);
    most.replaceChildren();
    for (const i of order.slice(0, 5).filter((at) => sizes[at] >= 0.0005)) {
      const words = [...explained.passages[i].text.trim()];
      const row = add(most, "li");
      add(row, "b", signed(effect(explained.passages[i])));
      row.append(` ${words.slice(0, 90).join("")}${words.length > 90 ? "…" : ""}`);
    }
    const total = key === "reward" ? explained.reward : explained.levels[key];
    sum.textContent =
      say("Together these effects make {sum}; leaving out everything makes {whole}. They need not add up: sentences say things twice, and lean on each other.", { sum: signed(total.passages), whole: signed(total.whole) });
  };
  select.addEventListener("change", draw);
  draw();
}
