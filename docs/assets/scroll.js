// Marks the tables and pictures that are wider than the screen; site.css then shows a hint above them.
const WIDE = ".md-typeset__scrollwrap, .drawing";

function mark(one) {
  one.classList.remove("scrolls"); // with it a table is wider
  one.classList.toggle("scrolls", one.scrollWidth > one.clientWidth + 1);
}

const sizes = new ResizeObserver((seen) => seen.forEach((one) => mark(one.target)));

document$.subscribe(() => document.querySelectorAll(WIDE).forEach((one) => sizes.observe(one)));
