// Classifies one image with a compressed model in ONNX Runtime.
//
// usage: node classify.mjs MODEL.onnx IMAGE.f32
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

// packages of the folder that the program is started in
const ort = createRequire(path.resolve('package.json'))('onnxruntime-node')

const [model, image] = process.argv.slice(2)
const session = await ort.InferenceSession.create(model)
const bytes = fs.readFileSync(image)
const pixels = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
const input = new ort.Tensor('float32', pixels, [1, 1, 28, 28])
const logits = Array.from((await session.run({ [session.inputNames[0]]: input }))[session.outputNames[0]].data)
const best = logits.indexOf(Math.max(...logits))
console.log(`class ${best}, logit ${logits[best].toFixed(3)}`)
