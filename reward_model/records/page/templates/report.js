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
