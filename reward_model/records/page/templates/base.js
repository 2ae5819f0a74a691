"use strict";
/* What the page was given, or null. Texts in it are data: put them in with textContent only. */
function pageData() {
  const island = document.getElementById("page-data");
  return island ? JSON.parse(island.textContent) : null;
}

/* A phrase in the language of the page, `{name}` filled from `values`. */
const pageWords = JSON.parse((document.getElementById("page-words") || { textContent: "{}" }).textContent);
function say(english, values) {
  return (pageWords[english] || english).replace(/\{(\w+)\}/g, (whole, name) => (values && name in values ? values[name] : whole));
}

/* On paper nothing can be opened: what is folded is printed unfolded. */
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
