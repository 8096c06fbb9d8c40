// The page: its sections, and which experiment is shown.

const DATA = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const one = experimentSection(DATA.experiments, DATA.changes);
const sections = [DATA.changes ? changesSection(DATA.changes) : null, overviewSection(DATA), drawingSection(DATA.experiments), one.made];
main.replaceChildren(...sections.filter((each) => each !== null));
document.querySelector("nav").append(...sections.filter((each) => each !== null).map((each) => element("a", { href: `#${each.id}` }, each.firstChild.textContent.split(":")[0])));

function follow(scroll) {
  const shown = location.hash.startsWith("#/") && one.show(location.hash.slice(2));
  if (shown && scroll) {
    one.made.scrollIntoView();
    // From a link elsewhere the keyboard goes on here, as after any link.
    one.made.querySelector("[aria-pressed=true]").focus({ preventScroll: true });
  }
  return shown;
}
addEventListener("hashchange", () => follow(true));
if (!follow(true) && DATA.experiments.length) one.show(DATA.experiments[0].name);
