// The drawing pad: strokes on white paper, drawn anew for the model as its training pictures are.

const PEN = 0.14; // width of the line that the model sees, in sides of the picture
const SIDE = 256; // of that picture, in pixels

const EXAMPLE = [
  // an example: a three, in hundredths of the pad
  [
    [30, 22],
    [45, 13],
    [62, 16],
    [68, 30],
    [60, 43],
    [46, 48],
  ],
  [
    [46, 48],
    [64, 52],
    [71, 67],
    [62, 83],
    [44, 88],
    [29, 79],
  ],
];

/** Make a canvas a drawing pad; `changed` is called after every stroke. */
export function drawingPad(canvas, changed) {
  const pen = canvas.getContext("2d");
  const size = canvas.width;
  let strokes = [],
    drawing = false;

  function style(target, side, width) {
    target.fillStyle = "#fff";
    target.fillRect(0, 0, side, side);
    target.strokeStyle = "#000";
    target.lineWidth = width;
    target.lineCap = "round";
    target.lineJoin = "round";
  }

  function clear() {
    style(pen, size, size / 11);
    strokes = [];
  }

  function trace(target, points) {
    target.beginPath();
    target.moveTo(...points[0]);
    for (const [x, y] of points) target.lineTo(x + 0.01, y);
    target.stroke();
  }

  function extend(point) {
    const stroke = strokes.at(-1);
    stroke.push(point);
    trace(pen, stroke.slice(-2));
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * size,
      ((event.clientY - box.top) / box.height) * size,
    ];
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drawing = true;
    strokes.push([]);
    extend(at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drawing) extend(at(event));
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, () => {
      if (drawing) {
        drawing = false;
        changed();
      }
    });

  /** Return the strokes as a PNG: however large, wherever and how thick, they fill the frame. */
  function picture() {
    const [xs, ys] = [0, 1].map((i) => strokes.flat().map((point) => point[i]));
    const [left, right, top, bottom] = [
      Math.min(...xs),
      Math.max(...xs),
      Math.min(...ys),
      Math.max(...ys),
    ];
    const scale = ((1 - PEN) * SIDE) / Math.max(right - left, bottom - top, 1);
    const target = document.createElement("canvas");
    target.width = target.height = SIDE;
    const copy = target.getContext("2d");
    style(copy, SIDE, PEN * SIDE);
    for (const stroke of strokes)
      trace(
        copy,
        stroke.map(([x, y]) => [
          (x - (left + right) / 2) * scale + SIDE / 2,
          (y - (top + bottom) / 2) * scale + SIDE / 2,
        ]),
      );
    return new Promise((resolve) => target.toBlob(resolve, "image/png"));
  }

  clear();
  return {
    picture,
    empty: () => !strokes.length,
    clear,
    example: () => {
      clear();
      for (const stroke of EXAMPLE) {
        strokes.push([]);
        for (const point of stroke) extend(point.map((v) => (v * size) / 100));
      }
      changed();
    },
  };
}
