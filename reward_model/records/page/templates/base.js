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

/* On paper nothing can be opened: what is folded is printed unfolded, but not what is folded within. */
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")].filter((folded) => !folded.parentElement.closest("details"));
  for (const folded of unfolded) folded.open = true;
});
addEventListener("afterprint", () => {
  for (const folded of unfolded) folded.open = false;
});
