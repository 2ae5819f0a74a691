"use strict";
/* What the page was given, or null. Texts in it are data: put them in with textContent only. */
function pageData() {
  const island = document.getElementById("page-data");
  return island ? JSON.parse(island.textContent) : null;
}
