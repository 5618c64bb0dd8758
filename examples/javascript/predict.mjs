// Label images in Node: node predict.mjs model.image.onnx photo.jpg …
// npm install onnxruntime-node sharp

import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-node";
import sharp from "sharp";
import { checkProof, predict, readCard } from "./card.mjs";

const [model, ...photos] = process.argv.slice(2);
const bytes = await readFile(model);
const card = readCard(bytes);
const session = await ort.InferenceSession.create(bytes);

const proof = await checkProof(ort, session, card);
console.log(JSON.stringify(proof));
if (!(proof.difference <= proof.tolerance)) {
  console.error(`${model}: off by ${proof.difference} here, allowed ${proof.tolerance}`);
  process.exit(6);
}
for (const photo of photos) {
  // autoOrient applies the EXIF orientation; ignoreIcc leaves the colours as they are stored.
  const { data, info } = await sharp(photo, { ignoreIcc: true })
    .autoOrient()
    .flatten({ background: "#ffffff" })
    .toColourspace("srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  const found = await predict(ort, session, card, new Uint8Array(data), info.width, info.height);
  console.log(JSON.stringify({ file: photo, ...found }));
}
