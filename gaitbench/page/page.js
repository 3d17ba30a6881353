"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const value = (id) => (byId(id) ? byId(id).value : "0");
  const SVG = "http://www.w3.org/2000/svg";

  // which run and which probes

  function choose() {
    const run = value("run"), group = value("group");
    for (const part of all("[data-run], [data-group]")) {
      const { run: ofRun, group: ofGroup } = part.dataset;
      part.hidden = (ofRun !== undefined && ofRun !== run) || (ofGroup !== undefined && ofGroup !== group);
    }
    const none = byId("no-panel");
    if (none) none.hidden = all("#probes article").some((article) => !article.hidden);
    drawMap();
    show();
  }
  for (const id of ["run", "group"]) if (byId(id)) byId(id).addEventListener("change", choose);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());

  // colours of the page

  const themes = ["", "light", "dark"], names = ["as the system", "light", "dark"];
  let theme = 0;
  byId("theme").addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    document.documentElement.dataset.theme = themes[theme];
    byId("theme").textContent = `Colours: ${names[theme]}`;
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  function repaint() { drawMap(); show(); }
  const tint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // map of embeddings

  function options(select, words, kept) {
    select.replaceChildren(...words.map(([key, word]) => new Option(word, key)));
    if (words.some(([key]) => key === kept)) select.value = kept;
  }
  function colourOf(at, count) {
    return `hsl(${Math.round((330 * at) / Math.max(1, count))} 70% ${tint("--tone")})`;
  }
  function drawMap() {
    if (!byId("map")) return;
    const map = data.maps[value("run")];
    byId("no-map").hidden = Boolean(map);
    for (const part of all("#map .side, #map .player, #map-told")) part.hidden = !map;
    if (!map) return;
    options(byId("colour"), Object.keys(map.labels).map((name) => [name, name]), byId("colour").value);
    const { names: groups, codes } = map.labels[byId("colour").value];
    options(byId("only"), [["", "all"], ...groups.map((name, at) => [String(at), name])], byId("only").value);
    const only = byId("only").value;
    const shown = map.x.length, part = shown < map.total ? `${shown} of ${map.total}` : `${shown}`;
    byId("map-told").textContent =
      `${part} walks on the two axes along which embeddings vary most (principal components), ` +
      `which hold ${map.shares[0]} % and ${map.shares[1]} % of the variance.`;
    const [width, height] = map.size, svg = byId("points");
    svg.setAttribute("viewBox", `-20 -20 ${width + 40} ${height + 40}`);
    const sums = groups.map(() => [0, 0, 0]);
    const points = codes.map((code, at) => {
      const x = map.x[at], y = map.y[at];
      sums[code][0] += 1; sums[code][1] += x; sums[code][2] += y;
      const chosen = only === "" || only === String(code);
      const point = document.createElementNS(SVG, "circle");
      point.setAttribute("cx", x);
      point.setAttribute("cy", height - y);
      point.setAttribute("r", chosen ? 7 : 4);
      point.setAttribute("fill", chosen ? colourOf(code, groups.length) : tint("--grid"));
      point.setAttribute("fill-opacity", chosen ? 0.85 : 0.7);
      const title = document.createElementNS(SVG, "title");
      title.textContent = Object.values(map.labels).map((of) => of.names[of.codes[at]]).join(", ");
      point.append(title);
      return [chosen, point];
    });
    // those that are meant lie on top
    svg.replaceChildren(...[false, true].flatMap((top) => points.filter(([chosen]) => chosen === top).map(([, point]) => point)));
    byId("groups").tBodies[0].replaceChildren(...sums.map(([count, x, y], at) => {
      const row = document.createElement("tr"), name = document.createElement("th");
      const dot = document.createElement("span");
      name.scope = "row"; name.className = "word";
      dot.className = "dot"; dot.style.background = colourOf(at, groups.length);
      name.append(dot, groups[at]);
      row.append(name, ...[count, Math.round(x / count), Math.round(y / count)].map((told) => {
        const cell = document.createElement("td");
        cell.textContent = told;
        return cell;
      }));
      return row;
    }));
  }
  for (const id of ["colour", "only"]) if (byId(id)) byId(id).addEventListener("change", () => {
    if (id === "colour") byId("only").value = "";
    drawMap();
  });

  // moving figures

  const FPS = 25, still = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = 0, speed = 1, playing = false, last = 0;
  function show() {
    const ink = ["--left", "--right", "--middle"].map(tint);
    for (const canvas of all("canvas[data-walk]")) {
      if (canvas.offsetParent === null) continue;
      const walk = data.walks[canvas.dataset.walk], limbs = data.skeletons[walk.skeleton];
      const points = walk.frames[Math.floor(frame) % walk.frames.length];
      const scale = Math.min((canvas.width - 20) / walk.size[0], (canvas.height - 20) / walk.size[1]);
      const left = (canvas.width - walk.size[0] * scale) / 2, top = (canvas.height - walk.size[1] * scale) / 2;
      const pen = canvas.getContext("2d");
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.lineWidth = 4;
      pen.lineCap = "round";
      for (const [a, b, side] of limbs) {
        if (points[2 * a] < 0 || points[2 * b] < 0) continue;
        pen.strokeStyle = ink[side];
        pen.beginPath();
        pen.moveTo(left + points[2 * a] * scale, top + points[2 * a + 1] * scale);
        pen.lineTo(left + points[2 * b] * scale, top + points[2 * b + 1] * scale);
        pen.stroke();
      }
    }
    for (const slider of all(".frame")) slider.value = Math.floor(frame) % (Number(slider.max) + 1);
  }
  function step(now) {
    if (!playing) return;
    const before = Math.floor(frame);
    frame += (Math.min(now - last, 200) / 1000) * FPS * speed;
    last = now;
    if (Math.floor(frame) !== before) show();
    requestAnimationFrame(step);
  }
  function play(wanted) {
    if (wanted && !playing) requestAnimationFrame((now) => { last = now; step(now); });
    playing = wanted;
    for (const button of all(".play")) button.textContent = playing ? "Pause" : "Play";
  }
  for (const button of all(".play")) button.addEventListener("click", () => play(!playing));
  for (const select of all(".speed")) select.addEventListener("change", () => {
    speed = Number(select.value);
    for (const other of all(".speed")) other.value = select.value;
  });
  for (const slider of all(".frame")) slider.addEventListener("input", () => {
    play(false);
    frame = Number(slider.value);
    show();
  });
  still.addEventListener("change", () => { if (still.matches) play(false); });

  choose();
  play(!still.matches && data.walks.length > 0);
})();
