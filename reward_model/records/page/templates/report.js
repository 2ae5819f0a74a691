/* Frames as high as what they hold, so that one page scrolls; and links into them. */
const frames = [...document.querySelectorAll("iframe")];
function fit(frame) {
  const root = frame.contentDocument && frame.contentDocument.documentElement;
  if (!root) return;
  const body = frame.contentDocument.body;
  const high = Math.max(body.scrollHeight, body.getBoundingClientRect().height);
  frame.style.height = `${Math.ceil(high) + 8}px`;
}
for (const frame of frames) {
  const ready = () => {
    if (!frame.contentDocument || !frame.contentDocument.body) return;
    fit(frame);
    new ResizeObserver(() => fit(frame)).observe(frame.contentDocument.body);
  };
  frame.addEventListener("load", ready);
  if (frame.contentDocument && frame.contentDocument.readyState === "complete") ready();
}
for (const link of document.querySelectorAll("[data-section]")) {
  link.addEventListener("click", (event) => {
    const frame = frames[Number(link.dataset.page) - 1];
    const found = frame.contentDocument && frame.contentDocument.getElementById(link.dataset.section);
    if (!found) return;
    event.preventDefault();
    found.scrollIntoView();
  });
}

/* A frame is one piece on paper, cut where the sheet ends; what it holds flows. */
addEventListener("beforeprint", () => {
  for (const frame of frames) {
    const page = frame.contentDocument;
    if (!page || !page.body) continue;
    const flow = document.createElement("div");
    flow.className = "printed";
    const root = flow.attachShadow({ mode: "open" });
    for (const part of [...page.head.querySelectorAll("style"), ...page.body.children]) {
      if (part.tagName !== "SCRIPT") root.append(part.cloneNode(true));
    }
    for (const folded of root.querySelectorAll("details")) {
      if (!folded.parentElement || !folded.parentElement.closest("details")) folded.open = true;
    }
    frame.after(flow);
  }
});
addEventListener("afterprint", () => {
  for (const flow of document.querySelectorAll(".printed")) flow.remove();
});
