const { explanations, titles } = pageData();
document.querySelectorAll("[data-explanation]").forEach((place) => {
  drawPassages(place, explanations[place.dataset.explanation], titles);
});
