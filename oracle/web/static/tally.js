// The half of a tally stick that the browser cuts, as oracle/web/pictures.py cuts the other.
import { unhex } from "./encoding.js";

const WIDTH = 640;

export function notches(digest) {
  const step = WIDTH / 32;
  return Array.from(unhex(digest), (byte, at) => {
    const middle = (at + 0.5) * step,
      half = 2 + (byte & 15) * 0.45,
      deep = 4 + (byte >> 4) * 1.2;
    return `M${middle - half} 0L${middle} ${deep}L${middle + half} 0Z`;
  }).join("");
}

/** Cut the lower half of a stick with a digest and put the halves together. */
export function join(stick, computed, fits) {
  stick.querySelector(".foil path").setAttribute("d", notches(computed));
  stick.classList.toggle("fits", fits);
  stick.classList.toggle("differs", !fits);
}

/** Take the halves apart again. */
export function part(stick) {
  stick.querySelector(".foil path").setAttribute("d", "");
  stick.classList.remove("fits", "differs");
}
