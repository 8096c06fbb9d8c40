// Elements from text that is never taken for HTML, and how numbers are written.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null));
  return node;
}

function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function theme(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)}\u00a0%`;
const count = (number) => number.toLocaleString("en-US");
const number = (value) => (value === null ? "–" : String(+value.toPrecision(4)));
const signed = (value, text) => (value > 0 ? "+" : value < 0 ? "−" : "±") + text(Math.abs(value));

// A name that may be broken after each underscore.
const breakable = (name) => name.split("_").flatMap((part, index) => (index ? ["_", element("wbr"), part] : [part]));

function table(caption, heads, rows, attributes = {}) {
  return scrolling(element("div", { class: "scroll", role: "region", "aria-label": caption, ...attributes },
    element("table", {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, rows.map(([first, ...rest]) => element("tr", {},
        element("th", { scope: "row" }, first), rest.map((cell) => element("td", {}, cell))))))));
}

// What is too wide for its place scrolls, and only then has the keyboard to reach it.
function scrolling(node) {
  return keepDrawn(node, () => {
    if (node.scrollWidth > node.clientWidth) node.tabIndex = 0;
    else node.removeAttribute("tabindex");
  });
}

// Draws again when the element gets another width, and when light and dark change.
const redrawn = [];
function keepDrawn(node, draw) {
  let width = 0;
  const again = (force) => {
    const found = Math.floor(node.clientWidth);
    if (found > 0 && (force || found !== width)) {
      width = found;
      draw(found);
    }
  };
  new ResizeObserver(() => again(false)).observe(node);
  redrawn.push({ node, again });
  return node;
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { node, again } of redrawn) if (node.isConnected) again(true);
});
