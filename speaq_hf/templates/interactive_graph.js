  const SVG = "http://www.w3.org/2000/svg";
  const HIGHEST_PICTURE = 560, LOWEST_PICTURE = 60, SMALLEST_SCALE = 0.7, LONGEST_NAME = 170;  // pixels, but for the scale
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = id => document.getElementById(id);
  const bestScore = Math.max(0, ...data.relations.map(relation => relation[3]));

  /** An SVG element; attributes that start with -- are style properties. */
  function svg(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("--")) node.style.setProperty(name, value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  const ruler = document.createElement("canvas").getContext("2d");
  function textWidth(text, size, weight = 400) {
    ruler.font = `${weight} ${size}px ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
    return ruler.measureText(text).width;
  }

  /** The text, without its middle where it is too long to be read at a glance; names may differ in the number at their end. */
  function shortened(text, size, weight) {
    const letters = Array.from(text), tail = letters.slice(-5).join("");
    let short = text;
    for (let kept = letters.length - 6; kept > 0 && textWidth(short, size, weight) > LONGEST_NAME; kept--) {
      short = `${letters.slice(0, kept).join("").trimEnd()}…${tail}`;
    }
    return short;
  }

  const formatScore = score => score === 0 || score >= 0.001 ? score.toFixed(3) : score.toExponential(0);
  const objectStyle = i => ({ "--color": data.colors[i], "--text": data.textColors[i] });
  const sentence = ([subject, object, predicate]) => `${data.names[subject]} ${predicate} ${data.names[object]}`;

  // What is shown -------------------------------------------------------------------------------------------------------

  const threshold = () => bestScore * Number(byId("threshold").value) / 100;

  /** Numbers of the relations and objects that the sliders leave. */
  function shownParts() {
    const fitting = data.relations.flatMap((relation, i) => relation[3] >= threshold() ? [i] : []);
    const relations = fitting.slice(0, Number(byId("count").value));
    const inRelation = new Set(relations.flatMap(i => data.relations[i].slice(0, 2)));
    const objects = data.objects.map((_, i) => i).filter(i => byId("isolated").checked || inRelation.has(i));
    return { relations, objects };
  }

  let shown;

  function update() {
    shown = shownParts();
    const count = byId("count-value"), all = data.relations.length;
    count.textContent = `${shown.relations.length} of ${data.total}`;
    byId("threshold-value").textContent = formatScore(threshold());
    byId("note").textContent = note(all);
    byId("table").hidden = !shown.relations.length;
    byId("rows").replaceChildren(...shown.relations.map(tableRow));
    if (!isShown(pinned)) pinned = null;
    draw();
  }

  function note(all) {
    if (!data.total) return "No relation was found.";
    if (!shown.relations.length) return "No relation is left: lower the score.";
    return all < data.total ? `The best ${all} of ${data.total} relations are on this page.` : "";
  }

  function draw() {
    drawPicture(byId("picture").clientWidth);
    drawGraph(byId("graph").clientWidth);
    byId("graph").hidden = !shown.objects.length;
    mark();
  }

  // The picture with its boxes ------------------------------------------------------------------------------------------

  function drawPicture(width) {
    const [imageWidth, imageHeight] = data.size;
    const scale = Math.min(width / imageWidth, HIGHEST_PICTURE / imageHeight);
    const height = Math.max(imageHeight * scale, LOWEST_PICTURE);
    const left = (width - imageWidth * scale) / 2, top = (height - imageHeight * scale) / 2;
    const frame = { x: left, y: top, width: imageWidth * scale, height: imageHeight * scale };
    const picture = data.image ? svg("image", { ...frame, href: data.image, preserveAspectRatio: "none" }) : svg("rect", { ...frame, class: "blank" });
    const toPage = ([, , x1, y1, x2, y2]) => ({ x: left + x1 * scale, y: top + y1 * scale, width: (x2 - x1) * scale, height: (y2 - y1) * scale });
    const boxes = shown.objects.map(i => ({ i, ...toPage(data.objects[i]) }));
    boxes.sort((a, b) => b.width * b.height - a.width * a.height);  // small ones, and their names, stay visible on top
    const tags = placeTags(boxes, [width, height]);
    const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Image with ${boxes.length} boxes` },
      picture, ...boxes.map(drawBox), ...tags);
    byId("picture").replaceChildren(drawing);
  }

  function drawBox({ i, ...frame }) {
    const title = svg("title", {}, `${data.names[i]} (${formatScore(data.objects[i][1])})`);
    return svg("g", { class: "box", "data-key": `o${i}`, ...objectStyle(i) }, title, svg("rect", { class: "halo", ...frame }), svg("rect", frame));
  }

  /** Names of the boxes at free places; one that would cover another is shown when its box is pointed at. */
  function placeTags(boxes, room) {
    const placed = [];
    return [...boxes].reverse().map(box => {  // the smallest box has the fewest places
      const name = shortened(data.names[box.i], 11), size = [textWidth(name, 11) + 8, 16];
      const candidates = tagPlaces(box, size, room);
      const place = candidates.find(candidate => !placed.some(other => overlaps(candidate, other)));
      const { x, y } = place ?? candidates[0];
      if (place) placed.push(place);
      return svg("g", { class: place ? "tag" : "tag crowded", "data-key": `o${box.i}`, ...objectStyle(box.i) },
        svg("rect", { x, y, width: size[0], height: size[1], rx: 2 }), svg("text", { x: x + size[0] / 2, y: y + size[1] / 2 }, name));
    });
  }

  function tagPlaces(box, [width, height], room) {
    const columns = [box.x, box.x + box.width - width, box.x + (box.width - width) / 2];
    const rows = [box.y, box.y - height, box.y + box.height, box.y + box.height - height];
    // Inside a low box, the name would hide much of the object.
    if (box.height < 4 * height) rows.unshift(rows.splice(1, 1)[0]);
    for (let y = box.y + height; y < box.y + box.height - height; y += height) rows.push(y);
    const inside = (value, most) => Math.max(0, Math.min(value, most));
    return rows.flatMap(y => columns.map(x => ({ x: inside(x, room[0] - width), y: inside(y, room[1] - height), width, height })));
  }

  const overlaps = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

  // The graph -----------------------------------------------------------------------------------------------------------

  function drawGraph(width) {
    const { objects, relations } = shown;
    const place = new Map(objects.map((object, i) => [object, i]));
    const names = objects.map(i => shortened(data.names[i], 12, 600)), predicates = relations.map(i => shortened(data.relations[i][2], 12));
    const sizes = [...names.map(name => [textWidth(name, 12, 600) + 18, 26]), ...predicates.map(name => [textWidth(name, 12) + 8, 18])];
    const ends = relations.map(i => data.relations[i].slice(0, 2).map(object => place.get(object)));
    const edges = ends.flatMap(([subject, object], i) => [[subject, objects.length + i], [objects.length + i, object]]);
    const middles = objects.map(i => middleOf(data.objects[i]));
    const start = [...middles, ...ends.map(pair => [0, 1].map(axis => (middles[pair[0]][axis] + middles[pair[1]][axis]) / 2))];
    const room = [width - 24, Math.max(320, byId("picture").clientHeight - 24)];
    const { centers, size } = layoutGraph({ sizes, edges, start, room });
    const arrows = ends.map((pair, i) => drawEdge(relations[i], pair.map(end => [centers[end], sizes[end]]), centers[objects.length + i]));
    const labels = relations.map((relation, i) => drawPredicate(relation, predicates[i], centers[objects.length + i], sizes[objects.length + i]));
    const nodes = objects.map((object, i) => drawNode(object, names[i], centers[i], sizes[i]));
    const scale = Math.max(SMALLEST_SCALE, Math.min(1, room[0] / size[0]));
    const attributes = { width: size[0] * scale, height: size[1] * scale, viewBox: `-2 -2 ${size[0] + 4} ${size[1] + 4}`, role: "group" };
    byId("graph").replaceChildren(svg("svg", { ...attributes, "aria-label": "Scene graph" }, ...arrows, ...labels, ...nodes));
  }

  function middleOf([, , x1, y1, x2, y2]) {
    return [(x1 + x2) / 2 / data.size[0], (y1 + y2) / 2 / data.size[1]];
  }

  function drawNode(object, name, [x, y], [width, height]) {
    const title = svg("title", {}, `${data.names[object]} (${formatScore(data.objects[object][1])})`);
    const attributes = { class: "node", "data-key": `o${object}`, tabindex: 0, role: "button", "aria-label": data.names[object], ...objectStyle(object) };
    return svg("g", attributes, title, svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 6 }), svg("text", { x, y }, name));
  }

  function drawPredicate(relation, text, [x, y], [width, height]) {
    const title = svg("title", {}, `${sentence(data.relations[relation])} (${formatScore(data.relations[relation][3])})`);
    const label = svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 4 });
    return svg("g", { class: "predicate", "data-key": `r${relation}` }, title, label, svg("text", { x, y }, text));
  }

  /** A curve subject -> predicate label -> object with its arrow head; better relations are thicker. */
  function drawEdge(relation, [from, to], middle) {
    const start = leave(from, middle), tip = leave(to, middle);
    const control = [0, 1].map(axis => 2 * middle[axis] - (start[axis] + tip[axis]) / 2);
    const length = Math.hypot(tip[0] - control[0], tip[1] - control[1]) || 1;
    const [dx, dy] = [(tip[0] - control[0]) / length, (tip[1] - control[1]) / length];
    const base = [tip[0] - 8 * dx, tip[1] - 8 * dy];
    const head = [tip, [base[0] - 4 * dy, base[1] + 4 * dx], [base[0] + 4 * dy, base[1] - 4 * dx]];
    const curve = `M${start} Q${control} ${base}`, thickness = 1 + 1.2 * data.relations[relation][3] / (bestScore || 1);
    return svg("g", { class: "edge", "data-key": `r${relation}` },
      svg("path", { d: curve, class: "wide" }), svg("path", { d: curve, "stroke-width": thickness }), svg("polygon", { points: head.join(" ") }));
  }

  /** Where the line from the middle of a rectangle to a point crosses its edge. */
  function leave([[x, y], [width, height]], target) {
    const dx = target[0] - x, dy = target[1] - y;
    const step = Math.min(1, width / 2 / Math.abs(dx), height / 2 / Math.abs(dy));
    return [x + dx * step, y + dy * step];
  }

  // The table -----------------------------------------------------------------------------------------------------------

  function tableRow(number) {
    const [subject, object, predicate, score] = data.relations[number];
    const row = document.createElement("tr");
    const texts = [number + 1, data.names[subject], predicate, data.names[object], formatScore(score)];
    row.append(...texts.map(text => Object.assign(document.createElement("td"), { textContent: text })));
    [[1, subject], [3, object]].forEach(([column, end]) => {
      row.cells[column].className = "chip";
      row.cells[column].style.setProperty("--color", data.colors[end]);
    });
    row.dataset.key = `r${number}`;
    row.tabIndex = 0;
    return row;
  }

  // Links between box, node and row -------------------------------------------------------------------------------------

  let pointed = null, pinned = null;  // keys: "o3" is object 3, "r5" relation 5

  const isShown = key => shown[key?.[0] === "r" ? "relations" : "objects"].includes(Number(key?.slice(1)));

  /** Keys that belong to what is pointed at: a relation has two objects, an object its relations and their other ends. */
  function linkedKeys(key) {
    const number = Number(key.slice(1));
    const relations = key[0] === "r" ? [number] : shown.relations.filter(i => data.relations[i].slice(0, 2).includes(number));
    const objects = relations.flatMap(i => data.relations[i].slice(0, 2));
    return new Set([key, ...relations.map(i => `r${i}`), ...objects.map(i => `o${i}`)]);
  }

  function mark() {
    const key = pointed ?? pinned;
    const linked = key ? linkedKeys(key) : new Set();
    for (const node of document.querySelectorAll("[data-key]")) node.classList.toggle("hot", linked.has(node.dataset.key));
    for (const node of document.querySelectorAll(".panel svg")) node.classList.toggle("active", linked.size > 0);
    for (const node of document.querySelectorAll(".node")) node.setAttribute("aria-pressed", node.dataset.key === pinned);
  }

  /** Scrolls the table, and nothing else, to the first row that is marked. */
  function showFirstRow() {
    const row = document.querySelector("tr.hot"), table = byId("table");
    if (row) table.scrollTop = row.offsetTop - row.offsetHeight;
  }

  const keyOf = event => event.target.closest?.("[data-key]")?.dataset.key ?? null;
  const inTable = event => byId("table").contains(event.target);

  function point(key, event) {
    if (key === pointed) return;
    pointed = key;
    mark();
    if (key && !inTable(event)) showFirstRow();
  }

  function pin(event) {
    const key = keyOf(event);
    if (!key && event.target.closest("form")) return;
    pinned = key === pinned ? null : key;
    mark();
    if (pinned && !inTable(event)) showFirstRow();
  }

  function pressKey(event) {
    if (event.key === "Escape") pinned = pointed = null, mark();
    if (!["Enter", " "].includes(event.key) || !keyOf(event)) return;
    event.preventDefault();
    pin(event);
  }

  // Downloads -----------------------------------------------------------------------------------------------------------

  function save(content, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = `${data.fileName}.${name}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  /** What is shown as a line of our prediction files, as `speaq evaluate` reads them. */
  function shownGraph() {
    const objects = shown.objects.map(i => data.objects[i]), place = new Map(shown.objects.map((object, i) => [object, i]));
    const relations = shown.relations.map(i => data.relations[i]);
    return {
      image_id: data.fileName,
      image_size: [data.size[1], data.size[0]],
      boxes: objects.map(object => object.slice(2)),
      labels: objects.map(object => object[0]),
      scores: objects.map(object => object[1]),
      relations: relations.map(([subject, object, predicate]) => [place.get(subject), place.get(object), predicate]),
      relation_scores: relations.map(relation => relation[3]),
    };
  }

  /** Picture and graph beside each other in one drawing that needs no style from elsewhere. */
  function wholeDrawing() {
    const parts = [...document.querySelectorAll(".panel:not([hidden]) > svg")].map(node => node.cloneNode(true));
    const sizes = parts.map(part => ["width", "height"].map(name => Number(part.getAttribute(name))));
    const margin = 12, width = sizes.reduce((sum, size) => sum + size[0] + margin, margin);
    const height = Math.max(...sizes.map(size => size[1])) + 2 * margin;
    let x = margin;
    parts.forEach((part, i) => {
      part.setAttribute("x", x);
      part.setAttribute("y", (height - sizes[i][1]) / 2);
      x += sizes[i][0] + margin;
    });
    const style = svg("style", {}, document.querySelector("style").textContent);
    const paper = svg("rect", { width, height, style: "fill: var(--paper)" });
    const theme = document.documentElement.dataset.theme;
    return { width, height, drawing: svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "data-theme": theme }, style, paper, ...parts) };
  }

  async function savePng() {
    const { width, height, drawing } = wholeDrawing();
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(drawing))}`;
    await picture.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(content => save(content, "png"));
  }

  // In a page of others -------------------------------------------------------------------------------------------------

  /** The frame around this page, where the page outside may be touched. */
  function outerFrame() {
    try { return window.frameElement; } catch { return null; }
  }

  /** The colour behind the frame: of the innermost element around it that has one, else white. */
  function colorBehind(frame) {
    for (let node = frame.parentElement; node; node = node.parentElement) {
      const color = node.ownerDocument.defaultView.getComputedStyle(node).backgroundColor;
      const alpha = color.match(/[\d.]+/g)?.[3] ?? 1;
      if (alpha > 0.5) return color;
    }
    return "rgb(255, 255, 255)";
  }

  const isDarkColor = color => {
    const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 110;
  };

  /** Dark or light like the page outside, whose own switch is not the system's; else like the system. */
  function takeColors(frame) {
    const root = document.documentElement, paper = frame && colorBehind(frame);
    const dark = paper ? isDarkColor(paper) : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "dark" : "light";
    if (paper) root.style.setProperty("--paper", paper);
  }

  function followPage() {
    const frame = outerFrame();
    takeColors(frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(takeColors, 0, frame));
    if (!frame) return;
    // The frame becomes as high as its content: nothing has to be scrolled twice. A scroll bar that came and went would
    // change the width, and with it the height.
    document.documentElement.classList.add("framed");
    const fit = () => frame.style.height = `${Math.ceil(document.documentElement.getBoundingClientRect().height)}px`;
    new ResizeObserver(fit).observe(document.documentElement);
  }

  function start() {
    const many = data.relations.length;
    Object.assign(byId("count"), { max: Math.max(1, many), value: Math.min(data.shown, many), disabled: many < 2 });
    byId("threshold").disabled = !bestScore;
    byId("isolated").checked = !many;
    byId("panels").classList.toggle("stacked", data.size[0] > 2.5 * data.size[1]);
    byId("controls").addEventListener("input", update);
    byId("controls").addEventListener("submit", event => event.preventDefault());
    byId("save-png").addEventListener("click", savePng);
    byId("save-json").addEventListener("click", () => save(new Blob([JSON.stringify(shownGraph())], { type: "application/json" }), "json"));
    // A finger taps, which is a click; what it touches on its way is not pointed at.
    document.addEventListener("pointerover", event => event.pointerType === "mouse" && point(keyOf(event), event));
    document.documentElement.addEventListener("pointerleave", event => point(null, event));
    document.addEventListener("focusin", event => event.target.matches(":focus-visible") && point(keyOf(event), event));
    document.addEventListener("focusout", event => point(null, event));
    document.addEventListener("click", pin);
    document.addEventListener("keydown", pressKey);
    let width = 0;
    new ResizeObserver(() => {
      if (byId("panels").clientWidth === width) return;
      width = byId("panels").clientWidth;
      draw();
    }).observe(byId("panels"));
    followPage();
    update();
  }

  start();
