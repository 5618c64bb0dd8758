// The card of a model file and its proof, in Node and in a browser; docs/card.md describes both.

const KEY = "rtl.card";

// Return the card that an .onnx file holds; `bytes` is a Uint8Array of the whole file.
export function readCard(bytes) {
  // The file ends with its metadata: field 1 is the key, field 2 the text, with its length.
  const key = [0x0a, KEY.length, ...new TextEncoder().encode(KEY), 0x12];
  let start = bytes.length - key.length;
  while (start >= 0 && !key.every((byte, index) => bytes[start + index] === byte)) start -= 1;
  if (start < 0) throw new Error("no card: rtl did not export this file");
  let [position, length, shift] = [start + key.length, 0, 0];
  do {
    length += (bytes[position] & 127) * 2 ** shift;
    shift += 7;
  } while (bytes[position++] & 128);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(position, position + length)));
}

// Return one of the four generated images as uint8 RGB: the formula waves-1.
function generated(n, size) {
  const pixels = new Uint8Array(size * size * 3);
  for (let y = 0, i = 0; y < size; y += 1)
    for (let x = 0; x < size; x += 1)
      for (let c = 0; c < 3; c += 1, i += 1)
        pixels[i] = (x * (3 + n) + y * (5 + 2 * n) + Math.floor((x * y) / 16) + 85 * c) % 256;
  return pixels;
}

// Put an image into the centre of a black square; what the graph crops is what was put there.
function padded(pixels, size, side) {
  const first = (side - size) / 2;
  const border = Math.floor(first) + (first % 1 ? Math.floor(first) % 2 : 0); // a half to even
  const square = new Uint8Array(side * side * 3);
  for (let y = 0; y < size; y += 1)
    square.set(pixels.subarray(y * size * 3, (y + 1) * size * 3), ((border + y) * side + border) * 3);
  return square;
}

// Compare the runtime of this device with the logits in the card, for a file with the input `image`:
// return the relative difference and what is allowed. `ort` is onnxruntime-node or onnxruntime-web.
export async function checkProof(ort, session, card) {
  const { mode, size, resize_size } = card.preprocessing;
  const side = mode === "squash" ? size : resize_size;
  let [difference, largest] = [0, 1];
  for (const [n, expected] of card.proof.logits.entries()) {
    const image = new ort.Tensor("uint8", padded(generated(n, size), size, side), [side, side, 3]);
    const { logits } = await session.run({ image });
    expected.forEach((value, index) => {
      // NaN is a difference too.
      const off = Math.abs(value - logits.data[index]);
      difference = off <= difference ? difference : off;
      largest = Math.max(largest, Math.abs(value));
    });
  }
  return { difference: difference / largest, tolerance: card.proof.tolerance };
}

// Return {label, probability} of one image, single-label; `pixels` are uint8 RGB, upright.
export async function predict(ort, session, card, pixels, width, height) {
  const image = new ort.Tensor("uint8", pixels, [height, width, 3]);
  const { probabilities } = await session.run({ image });
  const values = Array.from(probabilities.data);
  const best = values.indexOf(Math.max(...values));
  return { label: card.classes[best], probability: values[best], probabilities: values };
}
