// The drawing pad: black ink on white paper, cut out and centred as the training pictures are.

const STROKES = [
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
export function drawing(canvas, form, changed) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const size = canvas.width;
  let last = null,
    used = false;

  function clear() {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, size, size);
    pen.strokeStyle = "#000";
    pen.lineWidth = size / 11;
    pen.lineCap = "round";
    pen.lineJoin = "round";
    used = false;
  }

  function line(from, to) {
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    used = true;
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
    last = at(event);
    line(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last) {
      const now = at(event);
      line(last, now);
      last = now;
    }
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, () => {
      if (last) {
        last = null;
        changed();
      }
    });

  function bounds() {
    // of the ink
    const { data } = pen.getImageData(0, 0, size, size);
    let [left, top, right, bottom] = [size, size, 0, 0];
    for (let i = 0; i < data.length; i += 4) {
      if (data[i] > 128) continue;
      const x = (i / 4) % size,
        y = Math.floor(i / 4 / size);
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    return [left, top, right - left + 1, bottom - top + 1];
  }

  /** Return the ink, centred in a square that it fills from top to bottom, as a PNG. */
  function picture() {
    const [x, y, w, h] = bounds(),
      side = Math.max(w, h);
    const target = document.createElement("canvas");
    target.width = target.height = 256;
    const copy = target.getContext("2d");
    copy.fillStyle = "#fff";
    copy.fillRect(0, 0, 256, 256);
    const scale = 256 / side;
    copy.drawImage(
      canvas,
      x,
      y,
      w,
      h,
      (256 - w * scale) / 2,
      (256 - h * scale) / 2,
      w * scale,
      h * scale,
    );
    return new Promise((resolve) => target.toBlob(resolve, "image/png"));
  }

  clear();
  return {
    picture,
    empty: () => !used,
    clear: () => {
      clear();
    },
    example: () => {
      clear();
      for (const stroke of STROKES)
        stroke.slice(1).forEach((to, i) =>
          line(
            stroke[i].map((v) => (v * size) / 100),
            to.map((v) => (v * size) / 100),
          ),
        );
      changed();
    },
  };
}
