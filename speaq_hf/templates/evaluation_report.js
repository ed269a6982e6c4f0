"use strict";
(() => {
  const CARDS_PER_PAGE = 10;
  const HIT = 0;
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const byId = id => document.getElementById(id);

  /** An HTML element with a class, a text and children. */
  function element(tag, className = "", text = "", children = []) {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    node.append(...children);
    return node;
  }

  function svgElement(tag, attributes, text = "") {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  }

  // Recall per predicate ----------------------------------------------------------------------------------------------

  function showRecall() {
    const column = `${byId("recall-constraint").value}@${byId("recall-k").value}`;
    const recalls = data.models.map(model => model.recall[byId("recall-protocol").value][column]);
    const longest = Math.max(1e-9, ...recalls.flat());
    byId("recall-longest").textContent = `${(100 * longest).toFixed(1)} %`;
    for (const bar of document.querySelectorAll(".bar")) {
      bar.querySelectorAll(".line").forEach((line, model) => {
        const recall = recalls[model][bar.dataset.predicate];
        line.querySelector(".track div").style.width = `${100 * (recall ?? 0) / longest}%`;
        line.querySelector("span").textContent = recall === null ? "–" : (100 * recall).toFixed(1);
      });
    }
  }

  // Which images fit ---------------------------------------------------------------------------------------------------

  const valueOf = id => byId(id)?.value ?? "";
  const isNumber = text => text !== "";

  function readFilter() {
    return {
      search: valueOf("search").trim().toLowerCase(),
      predicate: valueOf("predicate"),
      outcome: valueOf("outcome"),
      instead: valueOf("instead"),
      model: valueOf("model"),
    };
  }

  function tripletText(image, [subject, object, predicate]) {
    const name = row => data.objects[image.objects[row][0]];
    return `${name(subject)} ${data.predicates[predicate]} ${name(object)}`;
  }

  function outcomeFits([outcome, , row], filter) {
    const key = data.outcomes[outcome].key;
    if (filter.outcome === "missed" ? outcome === HIT : filter.outcome && filter.outcome !== key) return false;
    return !isNumber(filter.instead) || (key === "wrong_predicate" && row[2] === Number(filter.instead));
  }

  function modelsFit(outcomes, filter) {
    if (filter.model.includes(">")) {
      const [better, worse] = filter.model.split(">").map(Number);
      return outcomes[better][0] === HIT && outcomes[worse][0] !== HIT && [better, worse].some(i => outcomeFits(outcomes[i], filter));
    }
    if (isNumber(filter.model)) return outcomeFits(outcomes[Number(filter.model)], filter);
    return outcomes.some(outcome => outcomeFits(outcome, filter));
  }

  /** The numbers of the annotated triplets that fit. */
  function fittingTriplets(image, filter) {
    const named = !filter.search || image.name.toLowerCase().includes(filter.search);
    const numbers = image.triplets.map((_, number) => number);
    return numbers.filter(number => {
      const triplet = image.triplets[number];
      if (isNumber(filter.predicate) && triplet[2] !== Number(filter.predicate)) return false;
      if (!named && !tripletText(image, triplet).toLowerCase().includes(filter.search)) return false;
      return modelsFit(image.models.map(model => model.outcomes[number]), filter);
    });
  }

  function fittingImages(filter) {
    const asksForTriplets = Object.entries(filter).some(([name, value]) => name !== "search" && value);
    const found = [];
    for (const image of data.images) {
      const triplets = fittingTriplets(image, filter);
      const fits = triplets.length || (!asksForTriplets && image.name.toLowerCase().includes(filter.search));
      if (fits) found.push({ image, matched: new Set(asksForTriplets || filter.search ? triplets : []) });
    }
    return found;
  }

  // One image ----------------------------------------------------------------------------------------------------------

  /** Names of objects; those of a class that occurs more than once get a number. */
  function numberedNames(objects) {
    const totals = {}, seen = {};
    for (const [label] of objects) totals[label] = (totals[label] ?? 0) + 1;
    return objects.map(([label]) => {
      seen[label] = (seen[label] ?? 0) + 1;
      return totals[label] > 1 ? `${data.objects[label]} ${seen[label]}` : data.objects[label];
    });
  }

  /** A picture whose boxes can be chosen: `show()` draws the usual ones, `show([[object, color], …])` these only. */
  class Picture {
    constructor(image, objects, usual) {
      this.objects = objects;
      this.names = numberedNames(objects);
      this.usual = usual;
      const [width, height] = image.size;
      this.width = width;
      this.svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}` });
      this.node = element("div", "picture");
      this.node.style.width = `${width}px`;
      this.node.style.aspectRatio = `${width} / ${height}`;
      if (image.picture) {
        const picture = element("img");
        picture.src = image.picture;
        picture.alt = image.name;
        this.node.append(picture);
      }
      this.node.append(this.svg);
      this.show();
    }

    show(boxes = this.usual) {
      const area = ([number]) => this.objects[number][3] * this.objects[number][4];
      const sorted = [...boxes].sort((a, b) => area(b) - area(a));  // small boxes stay visible on top
      this.svg.replaceChildren(...sorted.map(box => this.box(...box)), ...sorted.filter(box => !box[2]).map(box => this.label(...box)));
    }

    box(number, color, faint = false) {
      const [, x, y, width, height] = this.objects[number];
      return svgElement("rect", { x, y, width, height, stroke: color, "stroke-opacity": faint ? 0.45 : 1, "stroke-dasharray": faint ? "3 3" : "none" });
    }

    label(number, color) {
      const [, x, y] = this.objects[number];
      const name = this.names[number];
      const left = Math.max(2, Math.min(x + 2, this.width - 6.2 * name.length));
      return svgElement("text", { x: left, y: Math.max(11, y + 11), stroke: color }, name);
    }
  }

  const style = getComputedStyle(document.documentElement);
  const SUBJECT = style.getPropertyValue("--subject"), OBJECT = style.getPropertyValue("--object");
  const HIT_COLOR = style.getPropertyValue("--hit"), TRUE_COLOR = "#3f4a57", FAINT_COLOR = "#dfe4ea";
  const ends = row => row ? [[row[0], SUBJECT], [row[1], OBJECT]] : undefined;

  function tripletNode(names, [subject, object, predicate]) {
    const predicateNode = element("b", "", ` ${data.predicates[predicate]} `);
    return element("span", "", "", [names[subject], predicateNode, names[object]]);
  }

  function pointsAt(item, show, rest) {
    item.tabIndex = 0;
    for (const name of ["mouseenter", "focus"]) item.addEventListener(name, show);
    for (const name of ["mouseleave", "blur"]) item.addEventListener(name, rest);
  }

  function outcomeNode([number, place, row], model) {
    const outcome = data.outcomes[number];
    const instead = outcome.key === "wrong_predicate" ? `: ${data.predicates[row[2]]}` : "";
    const text = number === HIT ? `✓ #${place + 1}` : `✗ ${outcome.name}${instead}`;
    const node = element("span", "chip", text);
    node.style.setProperty("--color", outcome.color);
    if (data.models.length === 1) return node;
    const verdict = element("span", "verdict", "", [modelKey(model), node]);
    verdict.title = data.models[model].name;
    return element("span", "", " ", [verdict]);  // the blank lets the line break
  }

  function modelKey(model) {
    const key = element("span", "key");
    key.style.setProperty("--color", data.models[model].color);
    return key;
  }

  function truePanel(image, matched, pictures) {
    const own = pictures[0];
    const items = image.triplets.map((triplet, number) => {
      const outcomes = image.models.map(model => model.outcomes[number]);
      const hit = outcomes.every(([outcome]) => outcome === HIT);
      const item = element("li", hit ? "hit" : outcomes.some(([outcome]) => outcome === HIT) ? "" : "miss");
      item.classList.toggle("matched", matched.has(number));
      item.append(tripletNode(own.names, triplet), ...outcomes.map(outcomeNode));
      const show = () => {
        own.show(ends(triplet));
        outcomes.forEach(([, , row], model) => pictures[model + 1].show(ends(row)));
      };
      pointsAt(item, show, () => pictures.forEach(picture => picture.show()));
      return item;
    });
    return panel(element("h4", "", "True graph"), own, element("ul", "triplets", "", items));
  }

  function modelPanel(model, number, picture) {
    const items = model.rows.map(([place, subject, object, predicate, score, hit]) => {
      const row = [subject, object, predicate];
      const item = element("li", hit ? "hit" : "");
      item.append(element("span", "place", `${place + 1}`), tripletNode(picture.names, row));
      if (score !== null) item.append(element("span", "score", score.toFixed(2)));
      pointsAt(item, () => picture.show(ends(row)), () => picture.show());
      return item;
    });
    const heading = element("h4", "", "", data.models.length > 1 ? [modelKey(number), data.models[number].name] : ["Predicted graph"]);
    return panel(heading, picture, element("ol", "triplets ranked", "", items));
  }

  function panel(heading, picture, list) {
    return element("div", "panel", "", [heading, picture.node, list]);
  }

  /** Objects of hits with their names, all others faint. */
  function usualBoxes(model) {
    const hits = new Set(model.rows.filter(row => row[5]).flatMap(row => [row[1], row[2]]));
    return model.objects.map((_, number) => hits.has(number) ? [number, HIT_COLOR] : [number, FAINT_COLOR, true]);
  }

  function card({ image, matched }) {
    const pictures = [
      new Picture(image, image.objects, image.objects.map((_, number) => [number, TRUE_COLOR])),
      ...image.models.map(model => new Picture(image, model.objects, usualBoxes(model))),
    ];
    const found = image.models.map(model => model.outcomes.filter(([outcome]) => outcome === HIT).length);
    const summary = element("span", "", `${found.join(" and ")} of ${image.triplets.length} hit`);
    const panels = [truePanel(image, matched, pictures), ...image.models.map((model, i) => modelPanel(model, i, pictures[i + 1]))];
    return element("div", "card", "", [element("h3", "", image.name, [summary]), element("div", "panels", "", panels)]);
  }

  // The pages of images ------------------------------------------------------------------------------------------------

  let found = [];
  let first = 0;

  function showPage() {
    const last = Math.min(first + CARDS_PER_PAGE, found.length);
    const range = found.length ? `${first + 1}–${last} of ${found.length} images` : "No image fits.";
    byId("cards").replaceChildren(...found.slice(first, last).map(card));
    for (const suffix of ["", "-below"]) {
      byId(`range${suffix}`).textContent = range;
      byId(`previous${suffix}`).disabled = first === 0;
      byId(`next${suffix}`).disabled = last === found.length;
    }
  }

  function applyFilter() {
    found = fittingImages(readFilter());
    first = 0;
    showPage();
  }

  function turnPage(step) {
    first += step * CARDS_PER_PAGE;
    showPage();
    byId("images").scrollIntoView();
  }

  /** Shows the images behind a number of a table or of the heat map. */
  function showImagesOf({ predicate, outcome, instead = "", model }) {
    byId("filters").reset();
    byId("predicate").value = predicate;
    byId("outcome").value = outcome;
    byId("instead").value = instead;
    if (byId("model")) byId("model").value = model;
    applyFilter();
    byId("images").scrollIntoView();
  }

  function startBrowser() {
    const filters = byId("filters");
    filters.addEventListener("input", applyFilter);
    filters.addEventListener("submit", event => event.preventDefault());
    filters.addEventListener("reset", () => setTimeout(applyFilter));  // after the fields are empty
    for (const suffix of ["", "-below"]) {
      byId(`previous${suffix}`).addEventListener("click", () => turnPage(-1));
      byId(`next${suffix}`).addEventListener("click", () => turnPage(1));
    }
    document.body.classList.add("clickable");
    for (const node of document.querySelectorAll(".link")) node.addEventListener("click", () => showImagesOf(node.dataset));
    applyFilter();
  }

  for (const name of ["protocol", "k", "constraint"]) byId(`recall-${name}`).addEventListener("input", showRecall);
  showRecall();
  if (data.images.length) startBrowser();
})();
